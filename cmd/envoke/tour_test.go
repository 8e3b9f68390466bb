package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestTour runs the README's tour word by word, but for the two addresses.
func TestTour(t *testing.T) {
	i := shared(t)
	addresses := strings.NewReplacer("http://127.0.0.1:9000", i.base, "http://127.0.0.1:9001", i.operators)
	steps := tour(t)
	for n, got := range inOneShell(t, steps, addresses) {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(steps[n].want), "…", ".*")
		if !regexp.MustCompile("^" + pattern + "$").MatchString(got) {
			t.Errorf("%s\ngot  %s\nwant %s", steps[n].command, got, steps[n].want)
		}
	}
}

// step is one "$ command" of the tour with the output that follows it.
type step struct{ command, want string }

var console = regexp.MustCompile("(?s)```console\n(.*?)```")

func tour(t *testing.T) (steps []step) {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range console.FindAllStringSubmatch(string(readme), -1) {
		for _, part := range strings.Split("\n"+block[1], "\n$ ")[1:] {
			command, want, _ := strings.Cut(part, "\n")
			steps = append(steps, step{command, strings.TrimSpace(want)})
		}
	}
	if len(steps) < 10 {
		t.Fatalf("found only %d commands in the tour", len(steps))
	}
	return steps
}

// inOneShell runs the commands as somebody would paste them and returns what each
// printed.
func inOneShell(t *testing.T, steps []step, addresses *strings.Replacer) []string {
	t.Helper()
	const mark = "=== end of a step ==="
	var script strings.Builder
	for _, step := range steps {
		fmt.Fprintf(&script, "%s\necho; echo '%s'\n", addresses.Replace(step.command), mark)
	}
	out, err := exec.Command("bash", "-uc", script.String()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	outputs := strings.Split(string(out), mark)
	for n := range outputs {
		outputs[n] = strings.TrimSpace(outputs[n])
	}
	return outputs[:len(steps)]
}
