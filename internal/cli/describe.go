package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"envoke/internal/client"
	"envoke/internal/faas"
)

func (a *app) describeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "describe <name>",
		Short: "Show a function with its aliases, schema, examples and code",
		Long:  "Show a function with its aliases, schema, examples and code. A name may say which version: nodejs-hello@3, or nodejs-hello:stable for an alias.",
		Example: `  envoke describe nodejs-calculator
  envoke describe nodejs-calculator@1 -o json`,
		Args:              takes("<name>"),
		ValidArgsFunction: a.completeNames,
	}
	a.bindOutput(c.Flags())
	return a.administers(c, func(c *cobra.Command, server *client.Client, args []string) error {
		function, err := server.Describe(c.Context(), args[0])
		if err != nil {
			return err
		}
		if a.output == asJSON {
			return printJSON(c.OutOrStdout(), function)
		}
		aliases, err := server.Aliases(c.Context(), function.LanguageTitle)
		if err != nil {
			return err
		}
		return a.show(c, function, func(w io.Writer) { describe(w, function, aliases) })
	})
}

func describe(w io.Writer, f client.Description, aliases []client.NamedAlias) {
	for _, row := range [][2]string{
		{"Name", clean(f.LanguageTitle)},
		{"Version", orDash(f.Version)},
		{"Aliases", listAliases(aliases)},
		{"Description", first(clean(f.Description), "-")},
		{"Tags", list(f.Tags)},
		{"Cached for", seconds(f.CacheTTLSeconds)},
		{"Environment", listEnvironment(f.Environment)},
		{"Owner", orDash(f.UserID)},
		{"Created", at(f.CreatedAt)},
		{"Updated", at(f.LastUpdatedAt)},
	} {
		fmt.Fprintf(w, "%s:\t%s\n", row[0], row[1])
	}
	for _, part := range []struct {
		title string
		value json.RawMessage
	}{
		{"Compile options", f.CompileOptions}, {"Schema", f.Schema}, {"Examples", f.Examples},
	} {
		if len(part.value) > 0 && string(part.value) != "null" {
			fmt.Fprintf(w, "\n%s:\n", part.title)
			_ = indent(w, part.value) // it was decoded: it is JSON
		}
	}
	if f.Language == faas.Rust && isTargeted(f.CompileOptions) {
		fmt.Fprintf(w, "\nCode: a module of %d bytes in base64\n", len(f.ScriptContent))
		return
	}
	fmt.Fprintf(w, "\nCode:\n%s\n", cleanLines(f.ScriptContent))
}

// listEnvironment writes names, and of which secrets their values are.
func listEnvironment(environment map[string]*client.SecretRef) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		if ref := environment[name]; ref != nil {
			name += " (secret " + ref.Secret + ")"
		}
		all = append(all, clean(name))
	}
	return first(strings.Join(all, ", "), "-")
}

// seconds writes a time that may be none.
func seconds(n *int) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprintf("%d s", *n)
}

func isTargeted(options json.RawMessage) bool {
	var o struct{ Target string }
	return json.Unmarshal(options, &o) == nil && o.Target != ""
}

// listAliases writes each as name=version, with what goes to other versions.
func listAliases(aliases []client.NamedAlias) string {
	var all []string
	for _, alias := range aliases {
		text := fmt.Sprintf("%s=%d", clean(alias.Name), alias.Version)
		var others []string
		for _, version := range slices.Sorted(maps.Keys(alias.Weights)) {
			others = append(others, fmt.Sprintf("%d %% to %s", alias.Weights[version], clean(version)))
		}
		if len(others) > 0 {
			text += " (" + strings.Join(others, ", ") + ")"
		}
		all = append(all, text)
	}
	return first(strings.Join(all, ", "), "-")
}
