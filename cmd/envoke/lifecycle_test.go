package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestComponentsStopFromTheTopDown(t *testing.T) {
	l := newLifecycle(slog.New(slog.DiscardHandler))
	var order []string
	for _, name := range []string{"ground", "middle", "top"} {
		l.start(name, func(ctx context.Context) error {
			<-ctx.Done()
			order = append(order, name) // safe: one stops before the next is told to
			return ctx.Err()
		})
	}
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"top", "middle", "ground"}, order); diff != "" {
		t.Fatal(diff)
	}
}

func TestAComponentThatEndsEarlyEndsTheWait(t *testing.T) {
	l := newLifecycle(slog.New(slog.DiscardHandler))
	l.start("sound", func(ctx context.Context) error { <-ctx.Done(); return nil })
	l.start("broken", func(context.Context) error { return errors.New("no more paper") })
	err := l.wait(t.Context())
	if err == nil || !strings.Contains(err.Error(), "broken: no more paper") {
		t.Fatalf("wait returned %v", err)
	}
	if err := l.stop(); err == nil {
		t.Fatal("stop lost the component's error")
	}
}
