package main

import (
	"strings"
	"testing"
)

func TestChosen(t *testing.T) {
	all, err := chosen("")
	if err != nil || len(all) < 6 {
		t.Errorf("all cases: %d, %v", len(all), err)
	}
	some, err := chosen("mixed,nodejs-busy")
	if got := strings.Join(names(some), " "); err != nil || got != "nodejs-busy mixed" {
		t.Errorf("two cases: %s, %v", got, err)
	}
	if _, err := chosen("mixt"); err == nil || !strings.Contains(err.Error(), `"mixt"`) {
		t.Errorf("a case that is not there: %v", err)
	}
}
