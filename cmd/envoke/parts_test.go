package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestGreeting(t *testing.T) {
	const greeting = "\nEnvoke listens.\n\nRun a function:\n"
	for _, test := range []struct{ format, stdout string }{{"text", greeting + "\n"}, {"json", ""}} {
		var stdout, stderr bytes.Buffer
		logger, _, err := newLogger(&stderr, "info", test.format)
		if err != nil {
			t.Fatal(err)
		}
		e := &environment{config: &Config{LogFormat: test.format}, logger: logger}
		e.greet(&stdout, greeting)
		if stdout.String() != test.stdout {
			t.Errorf("%s: stdout %q, want %q", test.format, stdout.String(), test.stdout)
		}
		if test.format != "json" {
			continue
		}
		var record struct{ Msg, Greeting string }
		if err := json.Unmarshal(stderr.Bytes(), &record); err != nil || record.Greeting != "Envoke listens." {
			t.Errorf("the record is %s (%v)", stderr.String(), err)
		}
	}
}
