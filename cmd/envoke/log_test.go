package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"envoke/internal/testrig"
)

// TestLogMasksKeys: in messages, texts and errors, whatever the format, in groups too.
func TestLogMasksKeys(t *testing.T) {
	const secret = "ek_0aZ9bY8cX7dW_s3cr3t"
	for _, format := range []string{"text", "json"} {
		var out testrig.Text
		logger, _, err := newLogger(&out, "info", format)
		if err != nil {
			t.Fatal(err)
		}
		logger.Info("a message", "text", "a "+secret, "error", errors.New("b "+secret), "number", 1, "nothing", nil,
			slog.Group("group", "text", "c "+secret))
		got := out.String()
		if strings.Contains(got, "s3cr3t") || strings.Count(got, "ek_0aZ9bY8cX7dW_***") != 3 {
			t.Errorf("%s: %s", format, got)
		}
	}
}
