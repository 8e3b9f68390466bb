package bundle_test

import (
	"context"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/bundle"
)

// A request that comes to a host before the host has reached control waits for that, within
// its own time.
func TestTheFirstRequestsWaitForControl(t *testing.T) {
	c := newControl(t)
	session := c.create(t)
	b := bundle.New(options(t, c.path))
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := b.Session(short, session.ID); err == nil || faas.AsError(err).Code != faas.Unavailable {
		t.Errorf("with no time to wait: %v, want %s", err, faas.Unavailable)
	}
	found := make(chan error, 1)
	go func() { _, err := b.Session(t.Context(), session.ID); found <- err }()
	testrig.Serve(t, b.Serve)
	if err := <-found; err != nil {
		t.Errorf("before control was reached: %v", err)
	}
}
