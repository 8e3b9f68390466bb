package storetest

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"envoke/internal/faas"
)

func testKey(t *testing.T, open Open) {
	place := t.TempDir()
	keys := make(chan string)
	const openers = 4
	for range openers {
		go func() {
			var key faas.SessionKey
			defer func() { keys <- string(key) }() // also where open ends the goroutine
			store := open(t, place)
			defer store.Close()
			var err error
			if key, err = store.SessionKey(t.Context()); err != nil {
				t.Error(err)
			}
		}()
	}
	first := <-keys
	if len(first) != 32 {
		t.Errorf("the key has %d bytes, want 32", len(first))
	}
	for range openers - 1 {
		if <-keys != first {
			t.Error("two openers have different keys")
		}
	}
	store := open(t, place)
	defer store.Close()
	if again, err := store.SessionKey(t.Context()); err != nil || string(again) != first {
		t.Errorf("the key changed when the store was opened again (error %v)", err)
	}
}

func testSessions(t *testing.T, open Open) {
	place := t.TempDir()
	store := open(t, place)
	own, script := newSession("own", "return 1")
	script.CompileOptions = json.RawMessage(`{"target": "x"}`)
	own.Limits = faas.Limits{CPU: 300 * time.Millisecond, Output: 100, Concurrency: 2, Rate: 20}
	own.UserID, own.Timeout, own.MemoryMB, own.Network, own.Context = "ada", 1500*time.Millisecond, 64, faas.Egress, json.RawMessage(`{"big": 12345678901234567890}`)
	own.CreatedAt, own.ExpiresAt, own.CompileStatus = epoch, epoch.Add(time.Hour), faas.CompilePending
	mustCreate(t, store, own, script)

	registered := faas.Function{Name: faas.Name{Language: faas.NodeJS, Title: "f"}, Script: faas.NewScript(faas.NodeJS, "return 2", nil)}
	mustPut(t, store, registered)
	other, _ := newSession("f", "return 2")
	other.Version, other.Context, other.Schema = 1, nil, json.RawMessage(`{"type": "object"}`)
	other.Environment = faas.Environment{"MODE": {Text: "é"}, "DB": {Secret: "DB_URL"}}
	mustCreate(t, store, other, nil)

	check := func(when string) {
		t.Helper()
		equal(t, "session of its own script "+when, mustFind(t, store, own.ID), own)
		equal(t, "session of a function "+when, mustFind(t, store, other.ID), other)
		got, err := store.FindScript(t.Context(), script.Digest)
		wantCode(t, "find script", err, "")
		equal(t, "script "+when, got, *script)
	}
	check("as created")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = open(t, place)
	defer store.Close()
	check("after opening again")
	if err := store.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// testSessionText: text comes back as it went in, whatever it holds.
func testSessionText(t *testing.T, open Open) {
	store := fresh(t, open)
	for name, text := range map[string]string{
		"empty":   "",
		"quotes":  `'";--\`,
		"unicode": "häß 日本語 🙂 \u2028 e\u0301",
		"markup":  "<script>&amp;%00",
		"large":   strings.Repeat("x", 1<<20),
	} {
		session, script := newSession("t", text)
		session.UserID = text
		session.Context, _ = json.Marshal(map[string]string{"text": text})
		mustCreate(t, store, session, script)
		equal(t, name+" session", mustFind(t, store, session.ID), session)
		got, err := store.FindScript(t.Context(), session.Digest)
		wantCode(t, name, err, "")
		equal(t, name+" script", got, *script)
	}
}

// testJSON: JSON comes back as it went in, byte by byte, and not as somebody would write it
// who has understood it.
func testJSON(t *testing.T, open Open) {
	store := fresh(t, open)
	for name, text := range map[string]string{
		"numbers":   `{"n":[12345678901234567890123456789012345678901234567890.10,1E400,-0,1.0,0.1e-999999]}`,
		"order":     `{"b":1,"a":{"z":1,"y":2}}`,
		"twice":     `{"a":1,"a":2}`,
		"spaces":    "{ \"a\" :\t[ 1 ,\n2 ] }",
		"escapes":   `{"a":"\u0000\u00e9\ud83d\ude42\/\ud800"}`,
		"not ASCII": `{"ключ":"é"}`,
		"deep":      `{"a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`,
		"null":      `null`,
	} {
		raw := json.RawMessage(text)
		f := newFunction("f", "return "+strconv.Quote(name))
		f.Script = f.Script.With(raw)
		f.Schema, f.Examples = raw, raw
		stored := mustPut(t, store, f)
		session, _ := newSession("f", "")
		session.Digest, session.Context, session.Schema, session.Version = f.Script.Digest, raw, raw, stored.Version
		mustCreate(t, store, session, nil)
		build := faas.Build{Error: raw}
		wantCode(t, name, store.SetBuild(t.Context(), session.ID, faas.CompileError, build), "")
		found, function := mustFind(t, store, session.ID), mustFindFunction(t, store, "nodejs-f")
		for what, got := range map[string]json.RawMessage{
			"context": found.Context, "schema of the session": found.Schema, "error": found.Build.Error,
			"schema": function.Schema, "examples": function.Examples, "dependencies": function.Script.Dependencies,
		} {
			if string(got) != text {
				t.Errorf("%s: the %s came back as %.80q, not %.80q", name, what, got, text)
			}
		}
	}
}

func testSessionErrors(t *testing.T, open Open) {
	store := fresh(t, open)
	session, script := newSession("t", "return 1")
	mustCreate(t, store, session, script)

	again, other := session, faas.NewScript(faas.NodeJS, "return 'never stored'", nil)
	again.Digest, again.UserID = other.Digest, "mallory"
	wantCode(t, "create a taken id", store.CreateSession(t.Context(), again, &other), faas.Conflict)
	equal(t, "the first session", mustFind(t, store, session.ID), session)
	_, err := store.FindScript(t.Context(), other.Digest)
	wantCode(t, "find the script of a session that was refused", err, faas.NotFound)

	orphan, _ := newSession("t", "return 'nobody stored this'")
	wantCode(t, "create without a script", store.CreateSession(t.Context(), orphan, nil), faas.NotFound)
	for _, id := range []faas.SessionID{orphan.ID, "", "' OR 1=1 --", "%", faas.SessionID(strings.ToUpper(string(session.ID)))} {
		_, err = store.FindSession(t.Context(), id)
		wantCode(t, "find session "+string(id), err, faas.NotFound)
		wantCode(t, "delete session "+string(id), store.DeleteSession(t.Context(), faas.Actor{}, id), faas.NotFound)
	}
	_, err = store.FindScript(t.Context(), "")
	wantCode(t, "find no script", err, faas.NotFound)
}

// testBuilds: the build of a session's code is as it was last set, and ends the session if it
// failed.
func testBuilds(t *testing.T, open Open) {
	store := fresh(t, open)
	session, script := newSession("t", "return 1")
	other, _ := newSession("t", "return 1")
	mustCreate(t, store, session, script)
	mustCreate(t, store, other, script)
	for _, step := range []struct {
		compile faas.CompileStatus
		build   faas.Build
		status  faas.SessionStatus
	}{
		{faas.CompilePending, faas.Build{Step: "compiling", Since: epoch}, faas.Active},
		{faas.CompileSuccess, faas.Build{}, faas.Active},
		{faas.CompileError, faas.Build{Error: json.RawMessage(`{"code":"X","message":"é"}`)}, faas.Failed},
	} {
		wantCode(t, "set build", store.SetBuild(t.Context(), session.ID, step.compile, step.build), "")
		session.CompileStatus, session.Build, session.Status = step.compile, step.build, step.status
		equal(t, string(step.compile), mustFind(t, store, session.ID), session)
		equal(t, "another session", mustFind(t, store, other.ID), other)
	}
	gone, _ := newSession("t", "return 1")
	wantCode(t, "set the build of no session", store.SetBuild(t.Context(), gone.ID, faas.CompileSuccess, faas.Build{}), faas.NotFound)
}

func testDeleteSession(t *testing.T, open Open) {
	store := fresh(t, open)
	first, script := newSession("t", "return 'shared'")
	second, _ := newSession("t", "return 'shared'")
	mustCreate(t, store, first, script)
	mustCreate(t, store, second, script)

	wantCode(t, "delete", store.DeleteSession(t.Context(), faas.Actor{}, first.ID), "")
	_, err := store.FindSession(t.Context(), first.ID)
	wantCode(t, "find a deleted session", err, faas.NotFound)
	wantCode(t, "delete again", store.DeleteSession(t.Context(), faas.Actor{}, first.ID), faas.NotFound)
	_, err = store.FindScript(t.Context(), script.Digest)
	wantCode(t, "find a script still in use", err, "")

	wantCode(t, "delete the last", store.DeleteSession(t.Context(), faas.Actor{}, second.ID), "")
	_, err = store.FindScript(t.Context(), script.Digest)
	wantCode(t, "find a script nobody uses", err, faas.NotFound)
}

func testSweepSessions(t *testing.T, open Open) {
	store := fresh(t, open)
	_, shared := newSession("", "return 'of a function too'")
	mustPut(t, store, faas.Function{Name: faas.Name{Language: faas.NodeJS, Title: "f"}, Script: *shared})
	var ids []faas.SessionID
	for i := range 5 {
		session, script := newSession("t", "return 'of its own'")
		if i == 0 {
			session, script = newSession("t", shared.Source)
		}
		session.CreatedAt, session.ExpiresAt = epoch, epoch.Add(time.Duration(i)*time.Minute)
		mustCreate(t, store, session, script)
		ids = append(ids, session.ID)
	}
	for _, step := range []struct {
		limit, want int
		gone        []faas.SessionID // in all
	}{
		{limit: 3, want: 3, gone: ids[:3]},
		{limit: 3, want: 1, gone: ids[:4]}, // the fifth expires at the very time asked for
		{limit: 3, want: 0, gone: ids[:4]},
	} {
		got, err := store.SweepSessions(t.Context(), epoch.Add(4*time.Minute), step.limit)
		wantCode(t, "sweep", err, "")
		equal(t, "swept", got, step.want)
		for i, id := range ids {
			code := faas.NotFound
			if i >= len(step.gone) {
				code = ""
			}
			_, err := store.FindSession(t.Context(), id)
			wantCode(t, "find after the sweep", err, code)
		}
	}
	own := faas.DigestOf(faas.NodeJS, "return 'of its own'", nil)
	_, err := store.FindScript(t.Context(), own)
	wantCode(t, "the script that one session still runs", err, "")
	wantCode(t, "delete it", store.DeleteSession(t.Context(), faas.Actor{}, ids[4]), "")
	_, err = store.FindScript(t.Context(), own)
	wantCode(t, "the script that none runs", err, faas.NotFound)
	_, err = store.FindScript(t.Context(), shared.Digest)
	wantCode(t, "the script of a function", err, "")
}
