package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"envoke/internal/client"
	"envoke/internal/faas"
)

func (a *app) auditCommand() *cobra.Command {
	var (
		query        faas.AuditQuery
		since, until string
		all          bool
	)
	c := &cobra.Command{
		Use:   "audit",
		Short: "Show who has changed what, newest first",
		Long: "Show who has changed what: functions, versions, aliases, API keys and secrets. It takes a key of the scope admin.\n\nThe actions are " +
			strings.Join(texts(faas.Actions()), ", ") + ".",
		Example: `  envoke audit --user ci --since 24h
  envoke audit --target nodejs-shop --all
  envoke audit --action key.create --since 2026-11-01T00:00:00Z -o json`,
		Args: takes(),
	}
	f := c.Flags()
	f.StringVar(&query.UserID, "user", "", "only what this user has changed")
	f.StringVar((*string)(&query.Action), "action", "", "only this, such as key.create")
	f.StringVar(&query.Target, "target", "", "only what was changed of this name or id")
	f.StringVar(&since, "since", "", "only then and later: a time (RFC 3339), or how long ago, such as 24h")
	f.StringVar(&until, "until", "", "only before then, written likewise")
	f.IntVar(&query.Page, "page", 1, fmt.Sprintf("which page of %d", perPage))
	f.BoolVar(&all, "all", false, "all pages")
	a.bindOutput(f)
	return a.administers(c, func(c *cobra.Command, server *client.Client, _ []string) (err error) {
		if all && c.Flags().Changed("page") {
			return misuse("--page and --all exclude each other")
		}
		if query.Since, err = moment("--since", since); err != nil {
			return err
		}
		if query.Until, err = moment("--until", until); err != nil {
			return err
		}
		page, err := readChanges(c.Context(), server, query, all)
		if err != nil {
			return err
		}
		err = a.show(c, page, func(w io.Writer) { showChanges(w, page.Entries) })
		if left := page.Total - len(page.Entries); left > 0 && a.output == table {
			fmt.Fprintf(c.ErrOrStderr(), "page %d: %d of %d changes; --page and --all show the others\n", page.Page, len(page.Entries), page.Total)
		}
		return err
	})
}

// moment is a time, or one so long ago.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return time.Now().Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return at, misuse("%s must be a time as 2026-11-30T12:00:00Z, or how long ago, as 24h", flag)
	}
	return at, nil
}

// readChanges reads one page, or all of them as one. What is changed meanwhile moves older
// changes to later pages: what was read before is not read again.
func readChanges(ctx context.Context, server *client.Client, query faas.AuditQuery, all bool) (client.ChangePage, error) {
	if query.PerPage = perPage; !all {
		return server.Changes(ctx, query)
	}
	whole := client.ChangePage{Page: 1}
	query.PerPage = mostAll
	for query.Page = 1; ; query.Page++ {
		page, err := server.Changes(ctx, query)
		if err != nil {
			return whole, err
		}
		for _, e := range page.Entries {
			if n := len(whole.Entries); n == 0 || e.Number < whole.Entries[n-1].Number {
				whole.Entries = append(whole.Entries, e)
			}
		}
		whole.Total, whole.PerPage = page.Total, len(whole.Entries)
		if query.Page*mostAll >= page.Total || len(page.Entries) == 0 {
			return whole, nil
		}
	}
}

func showChanges(w io.Writer, changes []client.Change) {
	fmt.Fprintln(w, "AT\tUSER\tACTION\tTARGET\tPROOF\tADDRESS\tDETAILS")
	for _, c := range changes {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", at(c.At), clean(changedBy(&c)), clean(string(c.Action)), clean(c.Target),
			clean(orDash(c.Proof)), clean(orDash(c.Address)), clean(string(c.Details)))
	}
}

// changedBy is who has changed it, with the namespace of that one where it is another than that of
// what was changed.
func changedBy(c *client.Change) string {
	if c.UserOf == c.Namespace {
		return orDash(c.UserID)
	}
	return orDash(c.UserID) + " in " + c.UserOf
}
