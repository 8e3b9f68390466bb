package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// healthTimeout bounds the question: the operators' port answers within a second.
const healthTimeout = 3 * time.Second

func healthCommand(s streams) *cobra.Command {
	return withSettings(&cobra.Command{
		Use:   "health",
		Short: "Tell whether the part of Envoke on this machine can take requests",
		Long:  "Tell whether the part of Envoke on this machine can take requests, as its operators' port says (/readyz): exit code 0, or 1 and the reason.\nIt is what a container's health check runs.",
	}, []string{}, func(ctx context.Context, given settings) error {
		if err := given.config.load(given.all, s.getenv); err != nil {
			return err
		}
		return askReady(ctx, given.config.AdminPort, s.stdout)
	})
}

func askReady(ctx context.Context, port int, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	url := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) + "/readyz"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("nothing answers on port %d of this machine: %w", port, err)
	}
	defer func() { _ = reply.Body.Close() }()
	var status struct{ Status, Reason string }
	raw, err := io.ReadAll(io.LimitReader(reply.Body, 64<<10))
	if err == nil {
		err = json.Unmarshal(raw, &status)
	}
	if err == nil && status.Status == "" {
		err = errors.New("it says no status")
	}
	switch {
	case err != nil:
		return fmt.Errorf("port %d of this machine is not that of Envoke's operators: %w", port, err)
	case reply.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", status.Status, status.Reason)
	}
	fmt.Fprintln(out, status.Status)
	return nil
}
