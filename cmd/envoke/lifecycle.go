package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// lifecycle runs components that stand on each other: they are started from the
// ground up and stopped from the top down, each only when the one above it has
// returned. Every component has a deadline of its own for stopping.
type lifecycle struct {
	logger     *slog.Logger
	components []*component
	failed     chan error
}

type component struct {
	name   string
	cancel context.CancelFunc
	done   chan error
}

func newLifecycle(logger *slog.Logger) *lifecycle {
	return &lifecycle{logger: logger, failed: make(chan error, 1)}
}

// start runs serve until stop ends its context. If it returns earlier, wait
// returns.
func (l *lifecycle) start(name string, serve func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	c := &component{name: name, cancel: cancel, done: make(chan error, 1)}
	l.components = append(l.components, c)
	go func() {
		err := serve(ctx)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil
		}
		if ctx.Err() == nil {
			select {
			case l.failed <- endedEarly(name, err):
			default: // another component was first
			}
		}
		c.done <- err
	}()
}

func endedEarly(name string, err error) error {
	if err == nil {
		err = errors.New("it ended by itself")
	}
	return fmt.Errorf("%s: %w", name, err)
}

// wait blocks until ctx ends (nil) or a component fails (its error).
func (l *lifecycle) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-l.failed:
		return err
	}
}

// until asks again and again, until the answer is nil. It gives up when ctx ends,
// with the last answer, or when a component fails, with that error.
func (l *lifecycle) until(ctx context.Context, ask func(context.Context) error) error {
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for {
		answer := ask(ctx)
		if answer == nil {
			return nil
		}
		select {
		case <-pause.C:
		case err := <-l.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", answer)
		}
	}
}

// stop ends the components in reverse order and joins their errors.
func (l *lifecycle) stop() error {
	var all error
	for _, c := range slices.Backward(l.components) {
		l.logger.Debug("stopping", slog.String("component", c.name))
		c.cancel()
		if err := <-c.done; err != nil {
			all = errors.Join(all, fmt.Errorf("stop %s: %w", c.name, err))
		}
	}
	l.components = nil
	return all
}
