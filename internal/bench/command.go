package bench

import (
	"context"
	"errors"
)

// The servers of ours that a run starts as processes of their own, by the first
// argument of Config.Self.
const (
	ProxyCommand  = "reverse-proxy"
	WazeroCommand = "wazero"
)

// Command returns the server that arguments ask for, or nil where they ask for none.
func Command(args []string) func(context.Context) error {
	if len(args) == 0 {
		return nil
	}
	need := func(n int, serve func(context.Context) error) func(context.Context) error {
		if len(args) != 1+n {
			return func(context.Context) error { return errors.New(args[0] + " has the wrong number of arguments") }
		}
		return serve
	}
	switch args[0] {
	case ProxyCommand: // where it listens, and its upstream
		return need(2, func(ctx context.Context) error { return ServeProxy(ctx, args[1], args[2]) })
	case WazeroCommand: // where it listens
		return need(1, func(ctx context.Context) error { return ServeWazero(ctx, args[1]) })
	}
	return nil
}
