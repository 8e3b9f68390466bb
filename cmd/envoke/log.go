package main

import (
	"fmt"
	"io"
	"log/slog"

	"envoke/internal/faas"
)

// newLogger writes lines of the given level and up. The level may be changed later.
func newLogger(w io.Writer, level, format string) (*slog.Logger, *slog.LevelVar, error) {
	least := new(slog.LevelVar)
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, nil, fmt.Errorf("LOG_LEVEL is %q: it must be debug, info, warn or error", level)
	}
	options := &slog.HandlerOptions{Level: least, ReplaceAttr: maskKeys}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), least, nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), least, nil
	}
	return nil, nil, fmt.Errorf("LOG_FORMAT is %q: it must be text or json", format)
}

// maskKeys takes secrets of API keys out of texts and errors: callers' and functions' words are
// in some of them.
func maskKeys(_ []string, a slog.Attr) slog.Attr {
	var text string
	switch a.Value.Kind() {
	case slog.KindString:
		text = a.Value.String()
	case slog.KindAny:
		err, ok := a.Value.Any().(error)
		if !ok {
			return a
		}
		text = err.Error()
	default:
		return a
	}
	if masked := faas.MaskKeySecrets(text); masked != text {
		a.Value = slog.StringValue(masked)
	}
	return a
}
