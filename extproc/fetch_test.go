package extproc

import (
	"strconv"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"envoke/internal/resultcache"
)

// An answer is made once for each second of an entry's age.
func TestRepliesAreMadeOnce(t *testing.T) {
	entry := &resultcache.Entry{Status: 200, Body: []byte("1"), Made: time.Now().Add(-90 * time.Minute)}
	ageOf := func(answer *extprocv3.ProcessingResponse) string {
		for _, h := range answer.GetImmediateResponse().GetHeaders().GetSetHeaders() {
			if h.GetHeader().GetKey() == "age" {
				return string(h.GetHeader().GetRawValue())
			}
		}
		return ""
	}
	alone := &fetch{exchange: &exchange{}}
	first, second := alone.hit(entry), alone.hit(entry)
	if second != first && alone.hit(entry) != second { // unless a second ended just then
		t.Error("an answer was made twice")
	}
	if got, _ := strconv.Atoi(ageOf(first)); got < 90*60 || got > 90*60+5 {
		t.Errorf("age %d", got)
	}
	entry.Reply.Store(&resultcache.Reply{Age: 7, Message: first})
	if again := alone.hit(entry); again == first {
		t.Error("an answer of another age was given")
	}
	if behind := (&fetch{inFilter: true}).hit(entry); len(behind.GetImmediateResponse().GetHeaders().GetSetHeaders()) != 3 {
		t.Errorf("behind the filter: %v", behind)
	}
}
