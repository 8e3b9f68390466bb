package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"envoke/internal/testrig"
)

// terminal is a pseudo-terminal: what a person types and sees, and what a program has.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// TestReadHidden: what is typed is not shown, and afterwards it is again, also where nobody
// typed anything.
func TestReadHidden(t *testing.T) {
	person, program := terminal(t)
	type answer struct {
		line string
		err  error
	}
	ask := func(ctx context.Context) chan answer {
		asked := make(chan answer, 1)
		go func() {
			line, err := readHidden(ctx, int(program.Fd()))
			asked <- answer{line, err}
		}()
		testrig.Eventually(t, "what is typed is hidden", func() bool { return !echoes(t, program) })
		return asked
	}
	asked := ask(t.Context())
	if _, err := person.WriteString("hidden\nshown"); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got.err != nil || strings.TrimSpace(got.line) != "hidden" || !echoes(t, program) {
		t.Errorf("%+v, and what is typed is shown again: %v", got, echoes(t, program))
	}
	if _, err := program.WriteString("done"); err != nil {
		t.Fatal(err)
	}
	seen := make([]byte, 100)
	n, err := person.Read(seen)
	if err != nil || strings.Contains(string(seen[:n]), "hidden") {
		t.Errorf("the person sees %q, %v", seen[:n], err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	asked = ask(ctx)
	cancel()
	if got := <-asked; !errors.Is(got.err, context.Canceled) || !echoes(t, program) {
		t.Errorf("after Ctrl-C: %+v, and what is typed is shown again: %v", got, echoes(t, program))
	}
}
