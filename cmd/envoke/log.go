package main

import (
	"fmt"
	"io"
	"log/slog"
)

// newLogger writes lines of the given level and up. The level may be changed later.
func newLogger(w io.Writer, level, format string) (*slog.Logger, *slog.LevelVar, error) {
	least := new(slog.LevelVar)
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, nil, fmt.Errorf("LOG_LEVEL is %q: it must be debug, info, warn or error", level)
	}
	options := &slog.HandlerOptions{Level: least}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), least, nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), least, nil
	}
	return nil, nil, fmt.Errorf("LOG_FORMAT is %q: it must be text or json", format)
}
