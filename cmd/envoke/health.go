package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"envoke/internal/cli"
)

// healthTimeout bounds the question: the operators' port answers within a second.
const healthTimeout = 3 * time.Second

// operatorsVariable says where the operators' port is, for `envoke logs` too.
const operatorsVariable = "ENVOKE_OPERATORS_URL"

func healthCommand(s streams) *cobra.Command {
	return withSettings(&cobra.Command{
		Use:   "health",
		Short: "Tell whether the part of Envoke on this machine can take requests",
		Long: "Tell whether the part of Envoke on this machine can take requests, as its operators' port says (/readyz): exit code 0, or 1 and the reason.\n" +
			"The port is --admin-port, else that of $ENVOKE_OPERATORS_URL, else ADMIN_PORT. It is what a container's health check runs.",
	}, []string{}, func(ctx context.Context, given settings) error {
		base := ""
		if !given.all.Changed("admin-port") {
			base = strings.TrimSuffix(s.getenv(operatorsVariable), "/")
		}
		if err := given.config.load(given.all, s.getenv); err != nil {
			return err
		}
		if base == "" {
			base = "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(given.config.AdminPort))
		} else if at, err := url.Parse(base); err != nil || at.Host == "" {
			return cli.Misuse("%s: %q is no URL, such as http://127.0.0.1:9001", operatorsVariable, base)
		}
		return askReady(ctx, base, s.stdout)
	})
}

func askReady(ctx context.Context, base string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("nothing answers at %s: say by --admin-port or %s where the operators' port is: %w", base, operatorsVariable, err)
	}
	defer func() { _ = reply.Body.Close() }()
	var status struct{ Status, Reason, Scheme string }
	raw, err := io.ReadAll(io.LimitReader(reply.Body, 64<<10))
	if err == nil {
		err = json.Unmarshal(raw, &status)
	}
	if err == nil && status.Status == "" {
		err = errors.New("it says no status")
	}
	switch {
	case err != nil:
		return fmt.Errorf("the port of %s is not that of Envoke's operators: %w", base, err)
	case reply.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", status.Status, status.Reason)
	}
	if status.Scheme == "https" {
		status.Status += ", by https"
	}
	fmt.Fprintln(out, status.Status)
	return nil
}
