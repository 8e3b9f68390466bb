package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"envoke/internal/client"
	"envoke/internal/faas"
)

func (a *app) secretsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "secrets",
		Short: "Set, list and delete secrets for functions' environments",
		Long: `Set, list and delete secrets. A function that you own gets one where its environment names
it: {"DB": {"secret": "DB_URL"}}. Nobody gets to see its value again, you neither.`,
	}
	c.AddCommand(a.secretsSet(), a.secretsList(), a.secretsDelete())
	return c
}

func (a *app) secretsSet() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "set <NAME>",
		Short: "Set a secret, a new one or one that exists",
		Long: `Set a secret to what comes on standard input, without the newline at its end, or to what a
file holds, as it is. The command line is no place for it: others can read that, and shells
keep it.`,
		Example: `  printf %s "$DB_URL" | envoke secrets set DB_URL
  envoke secrets set TLS_KEY --from-file key.pem`,
		Args: takes("<NAME>"),
	}
	c.Flags().StringVar(&file, "from-file", "", "file that holds the value")
	return a.remote(c, func(c *cobra.Command, server *client.Client, args []string) error {
		value, err := readSecret(c, file)
		if err != nil {
			return err
		}
		if err := server.PutSecret(c.Context(), args[0], value); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%s is set\n", args[0])
		return nil
	})
}

// readSecret reads the value of a secret. Its errors hold nothing of it.
func readSecret(c *cobra.Command, path string) (string, error) {
	in := c.InOrStdin()
	switch {
	case path != "":
		file, err := os.Open(path)
		if err != nil {
			return "", misuse("%w", err)
		}
		defer func() { _ = file.Close() }()
		in = file
	case isTerminal(in):
		return "", misuse("the value is read from standard input, and this is a terminal, which would show it: pipe it in, or name a file by --from-file")
	}
	raw, err := io.ReadAll(io.LimitReader(in, faas.MaxSecret+2)) // and a newline
	if err != nil {
		return "", fmt.Errorf("read the value: %w", err)
	}
	if path == "" {
		raw = bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
	}
	switch {
	case len(raw) > faas.MaxSecret:
		return "", misuse("the value is longer than %d bytes", faas.MaxSecret)
	case !utf8.Valid(raw):
		return "", misuse("the value is no text in UTF-8: write it in base64, and have the function decode it")
	}
	return string(raw), nil
}

func (a *app) secretsList() *cobra.Command {
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List your secrets by name, without their values",
		Example: "  envoke secrets list",
		Args:    takes(),
	}
	a.bindOutput(c.Flags())
	return a.remote(c, func(c *cobra.Command, server *client.Client, _ []string) error {
		found, err := server.Secrets(c.Context())
		if err != nil {
			return err
		}
		return a.show(c, found, func(w io.Writer) {
			fmt.Fprintln(w, "NAME\tOWNER\tCREATED\tUPDATED")
			for _, s := range found.Secrets {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", clean(s.Name), orDash(s.Owner), at(s.CreatedAt), at(s.UpdatedAt))
			}
		})
	})
}

func (a *app) secretsDelete() *cobra.Command {
	return a.remote(&cobra.Command{
		Use:     "delete <NAME>",
		Aliases: []string{"rm"},
		Short:   "Delete a secret; functions that name it fail from then on",
		Example: "  envoke secrets delete DB_URL",
		Args:    takes("<NAME>"),
	}, func(c *cobra.Command, server *client.Client, args []string) error {
		if err := server.DeleteSecret(c.Context(), args[0]); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%s is deleted\n", args[0])
		return nil
	})
}
