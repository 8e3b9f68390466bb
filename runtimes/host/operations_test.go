package host

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"envoke/internal/faas"
	"envoke/runtimes/pool"
)

// What is made by one protocol runs by the other.
func TestOperationsMeetHTTP(t *testing.T) {
	r := newRig(t, pool.Options{})
	script := "return [params, context.a]"
	made, err := r.Initialize(t.Context(), Initialization{LanguageTitle: "nodejs-a", Script: &script, Context: []byte(`{"a":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.result(t, made.ID, "2"); got != "[2,1]" {
		t.Errorf("by HTTP: %s", got)
	}
	id := r.initialize(t, "return [params, context.a]")
	for context, want := range map[string]string{"": "[2,null]", `{"a":3}`: "[2,3]"} {
		got, err := r.Execute(t.Context(), Execution{Session: id, Params: []byte("2"), Context: []byte(context)})
		if err != nil || string(got.JSON) != want {
			t.Errorf("context %s: %s, %v, want %s", context, got.JSON, err, want)
		}
	}
	if got := r.result(t, id, "2"); got != "[2,null]" {
		t.Errorf("a call's context stayed: %s", got)
	}
}

// Large payloads share one bound of memory with the bodies that come by HTTP, and give
// it back.
func TestLargeExecutionsShareTheBudget(t *testing.T) {
	r := newRig(t, pool.Options{})
	id := r.initialize(t, "return params.length")
	large := []byte(`"` + strings.Repeat("x", keepBuffer) + `"`)
	var taken buffer
	if err := r.bodies.hold(t.Context(), &taken, largeBodies-keepBuffer); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := r.Execute(t.Context(), Execution{Session: id, Params: large})
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("it did not wait for room: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	taken.holdOnly(0)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if !r.bodies.budget.TryAcquire(largeBodies) {
		t.Error("it kept some of the room")
	}
}

// FuzzValue sees that what is let through is one value of JSON, so that it cannot
// smuggle members into the event that it becomes a part of.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{``, ` `, `1`, `{"a":1}`, `1,"context":{}`, `{}{}`, `"\ud800"`, "\"\xff\"", `{"a":1,"a":2}`, `[`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := value("params", raw)
		if err != nil {
			wantCode(t, err, faas.InvalidRequest)
			return
		}
		if len(got) == 0 {
			return
		}
		event := jsontext.Value(`{"params":` + string(got) + `,"context":{}}`)
		var params, context []byte
		if err := members(event, member{"params", &params}, member{"context", &context}); err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		if string(params) != string(got) || string(context) != "{}" {
			t.Errorf("%q became params %q, context %q", raw, params, context)
		}
	})
}
