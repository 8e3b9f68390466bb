package envoy

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
)

// logFormat is "level|logger|message"; Envoy escapes line breaks in the message.
const logFormat = "%l|%n|%v"

// maxLogLine bounds a line of Envoy's log; what is longer is cut into several.
const maxLogLine = 16 << 10

// logWriter turns Envoy's log into slog lines and remembers the last fault, which
// is why Envoy ended when it ends by itself.
type logWriter struct {
	logger *slog.Logger

	mu    sync.Mutex // guards what follows
	rest  []byte     // a line whose end has not come yet
	fault string
	quiet bool // Envoy was told to stop: that it says so is no warning
}

// stopping makes all that follows fit for debugging only.
func (w *logWriter) stopping() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.quiet = true
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	for {
		end := bytes.IndexByte(w.rest, '\n')
		switch {
		case end >= 0:
			w.line(string(w.rest[:end]))
			w.rest = w.rest[end+1:]
		case len(w.rest) > maxLogLine:
			w.line(string(w.rest))
			w.rest = nil
		default:
			return len(p), nil
		}
	}
}

// flush logs a last line that has no end.
func (w *logWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rest) > 0 {
		w.line(string(w.rest))
		w.rest = nil
	}
}

func (w *logWriter) lastFault() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fault
}

func (w *logWriter) line(line string) {
	name, rest, ok := strings.Cut(line, "|")
	level, known := slogLevels[name]
	if !ok || !known {
		if line = strings.TrimSpace(line); line != "" {
			w.logger.Warn(line) //nolint:sloglint // Envoy's text
		}
		return
	}
	source, message, _ := strings.Cut(rest, "|")
	message = strings.TrimSuffix(message, `\n`)
	if level >= slog.LevelError {
		w.fault = message
	}
	if w.quiet && level < slog.LevelError {
		level = slog.LevelDebug
	}
	w.logger.LogAttrs(context.Background(), level, message, slog.String("logger", source)) //nolint:sloglint // Envoy's text
}

var slogLevels = map[string]slog.Level{
	"trace":    slog.LevelDebug,
	"debug":    slog.LevelDebug,
	"info":     slog.LevelInfo,
	"warning":  slog.LevelWarn,
	"error":    slog.LevelError,
	"critical": slog.LevelError,
	"off":      slog.LevelDebug,
}
