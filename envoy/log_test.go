package envoy

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestLogWriter(t *testing.T) {
	for _, tt := range []struct {
		name   string
		writes []string
		want   []string // level and message of each line
		fault  string
	}{
		{"levels", []string{"info|main|a\nwarning|config|b\nerror|x|c\n"}, []string{"INFO a", "WARN b", "ERROR c"}, "c"},
		{"split", []string{"in", "fo|main", "|one\ninfo|main|t", "wo\n"}, []string{"INFO one", "INFO two"}, ""},
		{"bars in the message", []string{"critical|main|a|b|c\n"}, []string{"ERROR a|b|c"}, "a|b|c"},
		{"not Envoy's format", []string{"Segmentation fault\n", "\n", "a|b|c\n"}, []string{"WARN Segmentation fault", "WARN a|b|c"}, ""},
		{"no end", []string{"info|main|last"}, []string{"INFO last"}, ""},
		{"far too long", []string{strings.Repeat("x", maxLogLine+1)}, []string{"WARN " + strings.Repeat("x", maxLogLine+1)}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			w := &logWriter{logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: levelAndMessage}))}
			for _, text := range tt.writes {
				if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
					t.Fatalf("wrote %d, %v", n, err)
				}
			}
			w.flush()
			got := strings.NewReplacer("level=", "", "msg=", "", `"`, "").Replace(out.String())
			if want := strings.Join(tt.want, "\n") + "\n"; got != want {
				t.Errorf("logged\n%swant\n%s", got, want)
			}
			if got := w.lastFault(); got != tt.fault {
				t.Errorf("fault %q, want %q", got, tt.fault)
			}
		})
	}
}

func levelAndMessage(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.LevelKey || a.Key == slog.MessageKey {
		return a
	}
	return slog.Attr{}
}
