package storetest

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"envoke/internal/faas"
)

func newRetained(t *testing.T, store Store, title, context string) faas.SessionID {
	t.Helper()
	session, script := newSession(title, "return 1")
	session.Retain, session.Context = true, json.RawMessage(context)
	mustCreate(t, store, session, script)
	return session.ID
}

func testRetainedContexts(t *testing.T, open Open) {
	store := open(t, t.TempDir())
	defer store.Close()
	id := newRetained(t, store, "kept", `{"n": 1}`)
	if found := mustFind(t, store, id); !found.Retain {
		t.Error("the session is not a retained one any more")
	}
	soon := time.Now().Add(time.Minute)
	take := func(host string, until time.Time, want string, code faas.Code) {
		t.Helper()
		got, err := store.TakeContext(t.Context(), id, host, until)
		wantCode(t, "take for "+host, err, code)
		if string(got) != want {
			t.Errorf("%s took %s, want %s", host, got, want)
		}
	}
	put := func(host, left string, code faas.Code) {
		t.Helper()
		var raw json.RawMessage
		if left != "" {
			raw = json.RawMessage(left)
		}
		wantCode(t, "put of "+host, store.PutContext(t.Context(), id, host, raw), code)
	}
	put("a", `{"n": 5}`, faas.Conflict) // it took nothing
	take("a", soon, `{"n": 1}`, "")
	take("b", soon, "", faas.Conflict)
	put("b", `{"n": 6}`, faas.Conflict)
	take("a", soon, `{"n": 1}`, "") // the answer was lost
	put("a", `{"n": 2}`, "")
	put("a", `{"n": 2}`, "") // here too
	take("b", soon, `{"n": 2}`, "")
	put("a", `{"n": 9}`, faas.Conflict)
	put("b", "", "")
	take("c", time.Now().Add(-time.Second), `{"n": 2}`, "") // its time is over
	take("d", soon, `{"n": 2}`, "")
	put("c", `{"n": 7}`, faas.Conflict)
	put("d", `{"n": 3}`, "")
	if got := string(mustFind(t, store, id).Context); got != `{"n": 3}` {
		t.Errorf("the session's context is %s", got)
	}

	other, script := newSession("other", "return 1")
	mustCreate(t, store, other, script)
	for name, id := range map[string]faas.SessionID{"no session": "nope", "another session": other.ID} {
		code := faas.NotFound
		if id == other.ID {
			code = faas.InvalidRequest
		}
		_, err := store.TakeContext(t.Context(), id, "a", soon)
		wantCode(t, "take of "+name, err, code)
		wantCode(t, "put of "+name, store.PutContext(t.Context(), id, "a", nil), code)
	}
}

// testOneHostTakesAContext: of hosts that want it at once, one gets it.
func testOneHostTakesAContext(t *testing.T, open Open) {
	store := open(t, t.TempDir())
	defer store.Close()
	id := newRetained(t, store, "kept", `{}`)
	var all sync.WaitGroup
	var took atomic.Int32
	for i := range 16 {
		all.Go(func() {
			_, err := store.TakeContext(t.Context(), id, fmt.Sprint(i), time.Now().Add(time.Minute))
			if err == nil {
				took.Add(1)
				return
			}
			wantCode(t, "take", err, faas.Conflict)
		})
	}
	all.Wait()
	if took.Load() != 1 {
		t.Errorf("%d hosts took the context", took.Load())
	}
}
