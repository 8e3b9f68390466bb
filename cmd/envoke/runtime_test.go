package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"envoke/runtimes/pool"
)

// What a function prints when nobody knows for which request is still somebody's.
func TestLogLineNamesItsOwner(t *testing.T) {
	var out bytes.Buffer
	e := &environment{logger: slog.New(slog.NewTextHandler(&out, nil))}
	e.logLine(pool.LogLine{Digest: "abc", Owner: "session:1", Level: slog.LevelWarn, Text: "last words"})
	want := `level=WARN msg="function output" owner=session:1 digest=abc text="last words"`
	if !strings.Contains(out.String(), want) {
		t.Errorf("got %s, want %s", out.String(), want)
	}
}
