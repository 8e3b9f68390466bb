package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"envoke/internal/client"
	"envoke/internal/routing"
)

func (a *app) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Declare upstreams and routes to them and to functions",
		Long: `Declare upstreams (services that exist) and routes to them and to functions, in YAML or JSON.
It takes a key of the scope admin, of the default namespace; validate and schema take none.`,
	}
	c.AddCommand(a.configValidate(), a.configDiff(), a.configApply(), a.configGet(), a.configVersions(), a.configRollback(), a.configSchema())
	return c
}

func (a *app) configValidate() *cobra.Command {
	var checks routing.Checks
	c := &cobra.Command{
		Use:   "validate <file>...",
		Short: "Tell all faults of files of routes, without a server",
		Long: `Tell all faults of a file of upstreams and routes, each with its line and column. Several
files, and folders of them, are one declaration together, as ROUTES_FILE has them.`,
		Example: `  envoke config validate routes.yaml
  envoke config validate --files /etc/envoke/routes`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return takes("<file>...")(c, args)
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			texts, err := routing.ReadFiles(args...)
			if err != nil {
				return misuse("%w", err)
			}
			declared, faults := routing.ParseAll(checks, texts...)
			if len(faults) > 0 {
				return faultsIn(c, faults)
			}
			fmt.Fprintf(c.OutOrStdout(), "no faults; upstreams: %d, routes: %d, listeners: %d\n",
				len(declared.Upstreams), len(declared.Routes), len(declared.Listeners))
			return nil
		},
	}
	c.Flags().BoolVar(&checks.Files, "files", false, "read the files that are named for TLS too, as the server does")
	return c
}

// faultsIn prints faults, a line each, and is the error of them.
func faultsIn(c *cobra.Command, faults routing.Faults) error {
	for _, f := range faults {
		fmt.Fprintln(c.ErrOrStderr(), clean(f.Error()))
	}
	if len(faults) == 1 {
		return errors.New("there is a fault")
	}
	return fmt.Errorf("there are faults: %d", len(faults))
}

// withFaults prints what a server has found wrong with a file, in the file's name.
func withFaults(c *cobra.Command, file string, err error) error {
	var reply *client.ReplyError
	if !errors.As(err, &reply) {
		return err
	}
	found, _ := reply.Details["faults"].([]any)
	var faults routing.Faults
	for _, one := range found {
		fault, _ := one.(map[string]any)
		text := func(name string) string { s, _ := fault[name].(string); return s }
		number := func(name string) int { n, _ := fault[name].(float64); return int(n) }
		faults = append(faults, routing.Fault{File: file, Line: number("line"), Column: number("column"), Field: text("field"), Message: text("message")})
	}
	if len(faults) == 0 {
		return err
	}
	return faultsIn(c, faults)
}

// readConfig reads a file of routes, or standard input, and checks it before it is sent.
func readConfig(c *cobra.Command, path string) (raw []byte, err error) {
	var texts []routing.Text
	if path == "-" {
		raw, err = io.ReadAll(io.LimitReader(c.InOrStdin(), routing.MaxDocument+1))
		texts = []routing.Text{{Name: "standard input", Raw: raw}}
	} else if found, statErr := os.Stat(path); statErr == nil && found.IsDir() {
		return nil, misuse("%s is a folder: one file is sent", path)
	} else {
		texts, err = routing.ReadFiles(path)
	}
	if err != nil {
		return nil, misuse("%w", err)
	}
	if _, faults := routing.ParseAll(routing.Checks{}, texts...); len(faults) > 0 {
		return nil, faultsIn(c, faults)
	}
	return texts[0].Raw, nil
}

func (a *app) configDiff() *cobra.Command {
	c := &cobra.Command{
		Use:   "diff <file>",
		Short: "Show what a file of routes would change",
		Long: `Show what a file of upstreams and routes would change of what was applied before: + is new,
- is gone, ~ has changed. Nothing is changed. What files of the server or Kubernetes declare is
no part of it.`,
		Example: `  envoke config diff routes.yaml
  cat routes.yaml | envoke config diff -`,
		Args: takes("<file>"),
	}
	a.bindOutput(c.Flags())
	return a.remote(c, func(c *cobra.Command, server *client.Client, args []string) error {
		raw, err := readConfig(c, args[0])
		if err != nil {
			return err
		}
		put, err := server.TryConfig(c.Context(), raw)
		if err != nil {
			return withFaults(c, args[0], err)
		}
		return a.showChanges(c, put)
	})
}

// showChanges prints what changes.
func (a *app) showChanges(c *cobra.Command, put client.ConfigPut) error {
	if a.output == asJSON {
		return printJSON(c.OutOrStdout(), put)
	}
	if len(put.Changes) == 0 {
		fmt.Fprintln(c.OutOrStdout(), "nothing changes")
		return nil
	}
	var text strings.Builder
	routing.WriteChanges(&text, put.Changes)
	_, err := fmt.Fprint(c.OutOrStdout(), cleanLines(text.String()))
	return err
}

func (a *app) configGet() *cobra.Command {
	var version int
	c := &cobra.Command{
		Use:   "get",
		Short: "Print the routes that were applied, and what has become of them",
		Long: `Print the text that was applied last, as it was. What has become of it, and of what other
sources declare, goes to standard error, or with -o json beside it.`,
		Example: `  envoke config get
  envoke config get --version 3`,
		Args: takes(),
	}
	c.Flags().IntVar(&version, "version", 0, "another version (default: the current one)")
	a.bindOutput(c.Flags())
	return a.remote(c, func(c *cobra.Command, server *client.Client, _ []string) error {
		if version != 0 {
			found, err := server.ConfigVersion(c.Context(), version)
			if err != nil {
				return err
			}
			return a.showText(c, found, found.Document)
		}
		found, err := server.Config(c.Context())
		if err != nil {
			return err
		}
		if a.output == table {
			showStanding(c.ErrOrStderr(), &found)
		}
		text := ""
		if found.Document != nil {
			text = *found.Document
		}
		return a.showText(c, found, text)
	})
}

// showText prints a document as it is, or all that is known as JSON.
func (a *app) showText(c *cobra.Command, all any, text string) error {
	if a.output == asJSON {
		return printJSON(c.OutOrStdout(), all)
	}
	if isTerminal(c.OutOrStdout()) {
		text = cleanLines(text)
	}
	_, err := fmt.Fprint(c.OutOrStdout(), text)
	return err
}

// showStanding tells what has become of all that is declared.
func showStanding(w io.Writer, found *client.Config) {
	fmt.Fprintf(w, "version %d: %s\n", found.Version, clean(string(found.Status)))
	if found.Message != nil {
		fmt.Fprintln(w, cleanLines(*found.Message))
	}
	for _, s := range found.Sources {
		refused := ""
		if s.Refused {
			refused = ", and what it declares now is refused"
		}
		fmt.Fprintf(w, "from %s: upstreams: %d, routes: %d, listeners: %d%s\n", clean(s.Source), s.Upstreams, s.Routes, s.Listeners, refused)
		for _, f := range s.Faults {
			fmt.Fprintln(w, "  "+clean(f.Error()))
		}
	}
}

func (a *app) configVersions() *cobra.Command {
	c := &cobra.Command{
		Use:     "versions",
		Short:   "List what was applied, newest first",
		Long:    "List what was applied, newest first. The one marked * is the current one.",
		Example: "  envoke config versions",
		Args:    takes(),
	}
	a.bindOutput(c.Flags())
	return a.remote(c, func(c *cobra.Command, server *client.Client, _ []string) error {
		found, err := server.ConfigVersions(c.Context())
		if err != nil {
			return err
		}
		return a.show(c, found, func(w io.Writer) {
			fmt.Fprintln(w, "VERSION\tAPPLIED\tBY\tBYTES\tDIGEST")
			for _, v := range found.Versions {
				mark := " "
				if v.IsCurrent {
					mark = "*"
				}
				digest := clean(v.Digest)
				fmt.Fprintf(w, "%s%d\t%s\t%s\t%d\t%s\n", mark, v.Version, at(v.CreatedAt), orDash(v.CreatedBy), v.Bytes, digest[:min(len(digest), shortDigest)])
			}
		})
	})
}

func (a *app) configSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of files of routes, for editors",
		Long: `Print the JSON Schema (draft 2020-12) of files of upstreams and routes. Editors take it by a
first line such as: # yaml-language-server: $schema=routing.schema.json`,
		Example: "  envoke config schema",
		Args:    takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(routing.Schema())
			return err
		},
	}
}
