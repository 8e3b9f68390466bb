package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func never() error { return errors.New("not ready") }

func TestWaitForAProcessThatEnds(t *testing.T) {
	p, err := startProcess(t.Context(), group{"test", Other}, []string{"sh", "-c", "echo the port is taken; exit 3"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	err = p.waitFor(t.Context(), never)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "the port is taken") {
		t.Errorf("the error does not say why: %v", err)
	}
}

func TestWaitForEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, err := startProcess(t.Context(), group{"test", Interpreter}, []string{"sleep", "60"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	err = p.waitFor(ctx, func() error {
		cancel()
		return never()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestStartProcessThatIsNotThere(t *testing.T) {
	if _, err := startProcess(t.Context(), group{"test", Envoy}, []string{"/nonexistent/envoy"}); err == nil {
		t.Error("no error")
	}
}

func TestOutputKeepsTheEnd(t *testing.T) {
	var o output
	for range 3 * keptOutput / 4 {
		_, _ = o.Write([]byte("abcd"))
	}
	_, _ = o.Write([]byte("the end\n"))
	if got := o.String(); len(got) > keptOutput || !strings.HasSuffix(got, "abcdthe end") {
		t.Errorf("%d bytes are kept, with the end %q", len(got), got[len(got)-20:])
	}
}
