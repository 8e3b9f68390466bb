package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"envoke/internal/client"
	"envoke/internal/faas"
)

func (a *app) sessionsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "sessions",
		Short: "Show and end sessions",
		Long:  "Show and end sessions: what initialize makes, code with a context that lives for an hour.",
	}
	c.AddCommand(a.sessionsList(), a.sessionsGet(), a.sessionsDelete())
	return c
}

func (a *app) sessionsList() *cobra.Command {
	var wanted listing
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the scripts of live sessions, newest first",
		Long:    "List the scripts of live sessions, newest first. Their ids are known to those who made them only.",
		Example: "  envoke sessions list",
		Args:    takes(),
	}
	return a.listing(c, &wanted, func() { wanted.query.Type = faas.Dynamic })
}

func (a *app) sessionsGet() *cobra.Command {
	c := &cobra.Command{
		Use:     "get <id>",
		Short:   "Show a session: how often it ran, when it expires",
		Example: "  envoke sessions get 0190a6f0-…",
		Args:    takes("<id>"),
	}
	a.bindOutput(c.Flags())
	return a.administers(c, func(c *cobra.Command, server *client.Client, args []string) error {
		session, err := server.Session(c.Context(), args[0])
		if err != nil {
			return err
		}
		return a.show(c, session, func(w io.Writer) { describeSession(w, session) })
	})
}

func describeSession(w io.Writer, s client.Session) {
	executed := "never"
	if s.LastExecutedAt != nil {
		executed = at(*s.LastExecutedAt)
	}
	for _, row := range [][2]string{
		{"Session", clean(s.RequestID)},
		{"Function", clean(s.LanguageTitle)},
		{"Status", clean(string(s.Status))},
		{"Code", describeBuild(s)},
		{"Created", at(s.CreatedAt)},
		{"Expires", at(s.ExpiresAt)},
		{"Executed", fmt.Sprintf("%d times, last %s", s.ExecutionCount, executed)},
	} {
		fmt.Fprintf(w, "%s:\t%s\n", row[0], row[1])
	}
}

// describeBuild tells how far a session's code is, in a line.
func describeBuild(s client.Session) string {
	status := orDash(s.CompileStatus)
	if s.CompileStep != nil && s.CompileSince != nil {
		return fmt.Sprintf("%s, %s since %s", status, clean(*s.CompileStep), at(*s.CompileSince))
	}
	var failed struct{ Message string }
	if json.Unmarshal(s.CompileError, &failed) == nil && failed.Message != "" {
		return status + ": " + clean(failed.Message)
	}
	return status
}

func (a *app) sessionsDelete() *cobra.Command {
	return a.administers(&cobra.Command{
		Use:     "delete <id>",
		Aliases: []string{"rm"},
		Short:   "End a session",
		Example: "  envoke sessions delete 0190a6f0-…",
		Args:    takes("<id>"),
	}, func(c *cobra.Command, server *client.Client, args []string) error {
		if err := server.DeleteSession(c.Context(), args[0]); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%s is deleted\n", args[0])
		return nil
	})
}
