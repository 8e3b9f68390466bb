package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"envoke/internal/testrig"
)

// load is callers of all kinds, until its context ends.
type load struct {
	plain, checked, made, read *tally
	others                     *tally // in other languages; nil: none
	stop                       context.CancelFunc
	callers                    sync.WaitGroup
}

// callOthers starts hosts of the other languages, and callers of a function in each.
func (f *fleet) callOthers(t *testing.T, l *load) {
	t.Helper()
	_, python := f.startHostOf(t, "python")
	_, rust := f.startHostOf(t, "rust")
	f.awaitHost(t, python, true)
	f.awaitHost(t, rust, true)
	ctx, stop := context.WithCancel(t.Context())
	end := l.stop
	l.others, l.stop = &tally{}, func() { stop(); end() }
	initialize := func(body, name string) string {
		var session struct {
			ID string `json:"request_id"`
		}
		r := f.send(t, http.MethodPost, "/api/v1/initialize", body, "Language-Title", name)
		if err := json.Unmarshal(r.body, &session); err != nil || session.ID == "" {
			t.Fatalf("initialize of %s: %d %s", name, r.status, r.body)
		}
		return f.base + "/api/v1/execute/" + session.ID
	}
	inPython := initialize(`{"script_content":"result = params['n'] + 1"}`, "python-next")
	inRust := initialize(`{}`, "rust-data_validator")
	l.callers.Go(func() { l.others.call(ctx, inPython) })
	l.callers.Go(func() { l.others.ask(ctx, http.MethodPost, inRust, `{"params":{"data":{},"rules":{}}}`) })
}

// all are the tallies of all callers.
func (l *load) all() []*tally {
	all := []*tally{l.plain, l.checked, l.made, l.read}
	if l.others != nil {
		all = append(all, l.others)
	}
	return all
}

func (f *fleet) load(t *testing.T) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{plain: &tally{}, checked: &tally{}, made: &tally{}, read: &tally{}, stop: stop}
	for range 4 {
		id := f.initialize(t, "return event.params.n + 1")
		url := f.base + "/api/v1/execute/" + id
		l.callers.Go(func() { l.plain.call(ctx, url) })
		l.callers.Go(func() { l.checked.call(ctx, url, "X-Cache-Control", "no-cache") })
		l.callers.Go(func() {
			l.read.ask(ctx, http.MethodGet, f.base+"/api/v1/sessions/"+id, "")
		})
	}
	l.callers.Go(func() {
		l.made.ask(ctx, http.MethodPost, f.base+"/api/v1/initialize", `{"script_content":"return 1"}`, "Language-Title", "nodejs-load")
	})
	t.Cleanup(func() { l.stop(); l.callers.Wait() })
	return l
}

// ask counts a success and anything else.
func (a *tally) ask(ctx context.Context, method, url, body string, headers ...string) {
	for ctx.Err() == nil {
		r, err := send(method, url, body, headers...)
		a.mu.Lock()
		switch {
		case err != nil:
			a.wrong = err
		case r.status != http.StatusOK:
			a.away++
			a.wrong = fmt.Errorf("%s %s: %d %s", method, url, r.status, r.body)
		default:
			a.good++
		}
		a.mu.Unlock()
	}
}

// more waits for so many more answers of each kind.
func (l *load) more(t *testing.T, n int) {
	t.Helper()
	plain, checked, made, read := l.plain.ok(), l.checked.ok(), l.made.ok(), l.read.ok()
	testrig.Eventually(t, "more answers", func() bool {
		return l.plain.ok() >= plain+n && l.checked.ok() >= checked+n && l.made.ok() >= made+n/20 && l.read.ok() >= read+n/4
	})
}

// end stops the callers and tells how many requests failed, and an error where one did in
// another way than by 503.
func (l *load) end() (refused int, err error) {
	l.stop()
	l.callers.Wait()
	for _, a := range l.all() {
		refused += a.refused()
		err = errors.Join(err, a.err())
	}
	return refused, err
}

// lost is how many calls were refused so far.
func (l *load) lost() int { return l.plain.refused() + l.checked.refused() + l.made.refused() }

func (l *load) String() string {
	return fmt.Sprintf("answered: %d plain, %d by ext_proc, %d initializes, %d reads", l.plain.ok(), l.checked.ok(), l.made.ok(), l.read.ok())
}
