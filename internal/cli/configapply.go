package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"envoke/internal/client"
	"envoke/internal/routing"
)

// The pauses between questions what has become of routes: callers are counted.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = 2 * time.Second
)

func (a *app) configApply() *cobra.Command {
	var (
		dryRun  bool
		timeout time.Duration
	)
	c := &cobra.Command{
		Use:   "apply <file>",
		Short: "Have a file of routes served",
		Long: `Show what a file of upstreams and routes changes, have it take the place of what was applied
before, and wait until Envoy serves it. Where Envoy refuses it, its own words are shown and the
exit code is 1: what was live before goes on then, and the next apply may mend it.`,
		Example: `  envoke config apply routes.yaml
  envoke config apply routes.yaml --dry-run`,
		Args: takes("<file>"),
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "show what it changes, and change nothing")
	bindWait(c, &timeout)
	a.bindOutput(c.Flags())
	return a.remote(c, func(c *cobra.Command, server *client.Client, args []string) error {
		raw, err := readConfig(c, args[0])
		if err != nil {
			return err
		}
		put, err := server.TryConfig(c.Context(), raw)
		if err == nil && !dryRun {
			put, err = server.PutConfig(c.Context(), raw, put.Version) // the version that it was compared with
		}
		if err != nil {
			return withFaults(c, args[0], err)
		}
		if err := a.showChanges(c, put); err != nil || dryRun {
			return err
		}
		return a.awaitLive(c, server, put.Version, timeout)
	})
}

func bindWait(c *cobra.Command, timeout *time.Duration) {
	c.Flags().DurationVar(timeout, "timeout", 30*time.Second, "how long to wait until Envoy serves it; 0: not at all")
}

func (a *app) configRollback() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:     "rollback <version>",
		Short:   "Have an earlier version of routes served",
		Long:    "Make an earlier version the current one, show what that changes, and wait until Envoy serves it. It keeps its number.",
		Example: "  envoke config rollback 2",
		Args:    takes("<version>"),
	}
	bindWait(c, &timeout)
	a.bindOutput(c.Flags())
	return a.remote(c, func(c *cobra.Command, server *client.Client, args []string) error {
		version, err := parseVersion(args[0])
		if err != nil {
			return err
		}
		put, err := server.RollbackConfig(c.Context(), version)
		if err != nil {
			return withFaults(c, fmt.Sprintf("version %d", version), err)
		}
		if err := a.showChanges(c, put); err != nil {
			return err
		}
		return a.awaitLive(c, server, put.Version, timeout)
	})
}

// awaitLive waits until Envoy serves a version, or has refused it.
func (a *app) awaitLive(c *cobra.Command, server *client.Client, version int, timeout time.Duration) error {
	if timeout == 0 {
		fmt.Fprintf(c.ErrOrStderr(), "version %d is applied; envoke config get tells what becomes of it\n", version)
		return nil
	}
	ctx, cancel := context.WithTimeout(c.Context(), timeout)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		found, err := server.Config(ctx)
		switch {
		case err != nil && ctx.Err() != nil && c.Context().Err() == nil:
			return notLive(version, timeout)
		case err != nil:
			return err
		case found.Version != version:
			return fmt.Errorf("version %d was applied meanwhile, in place of version %d", found.Version, version)
		case found.Status == routing.Live:
			fmt.Fprintf(c.ErrOrStderr(), "version %d is live\n", version)
			return nil
		case found.Status == routing.Refused && found.Taken == version:
			return fmt.Errorf("version %d is refused, and what was live before goes on: %w", version, errors.New(cleanLines(orDash(found.Message))))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			if err := c.Context().Err(); err != nil {
				return err
			}
			return notLive(version, timeout)
		}
	}
}

func notLive(version int, timeout time.Duration) error {
	return fmt.Errorf("version %d is applied, and Envoy has not said within %s that it serves it: envoke config get tells what becomes of it", version, timeout)
}
