package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"envoke/internal/client"
	"envoke/internal/faas"
	"envoke/internal/logs"
)

// followPause is between two questions for what is new. Rows are stored a tenth of a
// second after their request.
const followPause = 300 * time.Millisecond

func (a *app) logsCommand() *cobra.Command {
	var (
		query   faas.RequestLogQuery
		session string
		follow  bool
	)
	c := &cobra.Command{
		Use:   "logs [name]",
		Short: "Show the last requests and what functions printed",
		Long: `Show the last requests, of one function where a name is given, and below each what
the function printed in it, and why it failed.

This asks the operators' port of the server, which listens on its own machine only. It
has the rows that are stored (LOG_RETENTION_HOURS; the last 100,000 are searched), and
the last 10,000 lines that functions printed since it was started. With the parts in
processes of their own, control has the requests alone: what functions print is in
the log of their host.`,
		Example: `  envoke logs
  envoke logs nodejs-hello --follow
  envoke logs --status 500 --limit 10 -o json`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return takes("[name]")(c, args)
			}
			return nil
		},
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			query.LanguageTitle, query.SessionID = strings.Join(args, ""), faas.SessionID(session)
			if follow {
				return a.follow(c, query)
			}
			last, err := a.printLogs(c, query)
			if err == nil && last == 0 {
				_, _ = fmt.Fprintln(c.ErrOrStderr(), "no request is stored that matches")
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&a.operators, "operators", "", "URL of the operators' port (default $ENVOKE_OPERATORS_URL, else "+defaultOperators+")")
	f.StringVar(&session, "session", "", "only requests of this session")
	f.StringVar(&query.RequestID, "request-id", "", "only the request of this X-Request-ID")
	f.IntVar(&query.StatusCode, "status", 0, "only requests answered with this status")
	f.IntVar(&query.Limit, "limit", 50, "how many, the newest; 1000 at most")
	f.BoolVarP(&follow, "follow", "f", false, "go on until Ctrl-C")
	a.bindAddress(f) // for the completion of names
	a.bindOutput(f)
	return c
}

// byExtProc is what Envoy's access log says of answers of ext_proc.
const byExtProc = "envoke"

// follow prints what is new until somebody stops it, which is no failure.
func (a *app) follow(c *cobra.Command, query faas.RequestLogQuery) error {
	err := a.followUntilDone(c, query)
	if c.Context().Err() != nil {
		return nil
	}
	return err
}

func (a *app) followUntilDone(c *cobra.Command, query faas.RequestLogQuery) error {
	ctx := c.Context()
	// What is stored by now need not be searched again and again where nothing of it
	// is wanted.
	newest, err := a.readLogs(ctx, faas.RequestLogQuery{Limit: 1})
	if err != nil {
		return err
	}
	tick := time.NewTicker(followPause)
	defer tick.Stop()
	for {
		last, err := a.printLogs(c, query)
		if err != nil {
			return err
		}
		query.After = max(query.After, last)
		for _, e := range newest {
			query.After = max(query.After, e.ID)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// printLogs prints what the query selects and returns the id of the last entry, or 0.
func (a *app) printLogs(c *cobra.Command, query faas.RequestLogQuery) (last int64, err error) {
	entries, err := a.readLogs(c.Context(), query)
	if err != nil {
		return 0, err
	}
	for i := range entries {
		if err := a.printEntry(c.OutOrStdout(), &entries[i]); err != nil {
			return last, err
		}
		last = entries[i].ID
	}
	return last, nil
}

func (a *app) readLogs(ctx context.Context, query faas.RequestLogQuery) ([]logs.Entry, error) {
	base := first(a.operators, a.Getenv("ENVOKE_OPERATORS_URL"), defaultOperators)
	return client.Logs(ctx, base, query)
}

func (a *app) printEntry(w io.Writer, e *logs.Entry) error {
	if a.output == asJSON {
		return json.NewEncoder(w).Encode(e)
	}
	what := first(e.LanguageTitle, e.Method+" "+e.Path)
	_, err := fmt.Fprintf(w, "%s  %d  %-10s  %s  %.1f ms  %s\n",
		at(e.Time), e.StatusCode, e.Operation, clean(what), e.DurationMS, clean(e.RequestID))
	if reason := reasonOf(e); reason != "" {
		fmt.Fprintf(w, "    ✗ %s\n", reason)
	}
	for _, line := range e.Output {
		fmt.Fprintf(w, "    %-5s  %s\n", clean(line.Level), clean(line.Text))
	}
	return err
}

// reasonOf says why a request failed: what its caller was told, else what Envoy says.
func reasonOf(e *logs.Entry) string {
	switch {
	case e.StatusCode < http.StatusBadRequest:
		return ""
	case e.Error != nil:
		return fmt.Sprintf("%s (%s from %s)", clean(e.Error.Message), clean(string(e.Error.Code)), clean(string(e.Error.Component)))
	case e.ErrorDetails == byExtProc:
		return "refused by extproc, before a host was asked"
	case e.ErrorDetails != "":
		return clean(e.ErrorDetails) + " (Envoy)"
	}
	return ""
}
