package main

import (
	"encoding/binary"
	"strings"
	"testing"
)

// A panic ends a callback and not the filter: requests go on, and are counted.
func TestPanics(t *testing.T) {
	bothForms(t, func(t *testing.T, plugin plugin) {
		e := newEnvoy(plugin, 1)
		e.upstream = numbered()
		e.ask(post(session), "1")
		for slot, kept := range e.Shared { // its headers become more than it has bytes
			at := fixedSize + int(binary.LittleEndian.Uint32([]byte(kept.Value[18:])))
			kept.Value = kept.Value[:at] + "\xff\xff\xff\x00" + kept.Value[at+4:]
			e.Shared[slot] = kept
		}
		for range 4 {
			if _, hit := e.ask(post(session), "1"); hit {
				t.Error("an answer of what is damaged")
			}
		}
		if got := e.Counters["envoke_filter_panics"]; got != 4 {
			t.Errorf("%d panics are counted", got)
		}
		if len(e.Log) != 3 || !strings.Contains(e.Log[2], "panic 4 in the filter") || !strings.Contains(e.Log[2], "out of range") || !strings.Contains(e.Log[2], "Pairs.With:") {
			t.Errorf("Envoy's log has %q", e.Log)
		}
		e.ask(post(session+"?other"), "1") // takes the damaged one's place
		if _, hit := e.ask(post(session+"?other"), "1"); !hit {
			t.Error("nothing is kept any more")
		}
	})
}
