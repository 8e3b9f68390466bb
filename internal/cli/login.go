package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"envoke/internal/client"
	"envoke/internal/faas"
)

func (a *app) loginCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "login",
		Short: "Store an API key for the calls that follow",
		Long: `Store an API key for the calls that follow. It is read from standard input, or asked for
on a terminal; never from the command line, which others can see. The server is asked
whether it takes the key before it is stored, for its address alone, in
$XDG_CONFIG_HOME/envoke/credentials.json (mode 0600).`,
		Example: `  envoke login --address https://envoke.example
  cat key.txt | envoke login`,
		Args: takes(),
	}
	a.bindServer(c.Flags())
	c.RunE = func(c *cobra.Command, _ []string) error {
		server, err := a.anonymous()
		if err != nil {
			return err
		}
		defer server.Close()
		key, err := readKey(c, server.Base())
		if err != nil {
			return err
		}
		server.UseKey(key)
		if _, err := server.Functions(c.Context(), faas.FunctionQuery{PerPage: 1}); err != nil && !isForbidden(err) {
			return fmt.Errorf("nothing was stored: %w", err)
		}
		stored, err := a.credentials()
		if err != nil {
			return err
		}
		stored.Addresses[canonical(server.Base())] = credential{APIKey: key}
		if err := stored.store(); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%s takes the key; it is stored in %s\n", server.Base(), stored.path)
		return nil
	}
	return c
}

// isForbidden tells whether a key is known, although it may not do what was asked.
func isForbidden(err error) bool {
	var reply *client.ReplyError
	return errors.As(err, &reply) && reply.Code == faas.Forbidden
}

func readKey(c *cobra.Command, base string) (string, error) {
	if file, ok := c.InOrStdin().(interface{ Fd() uintptr }); ok && isTerminal(c.InOrStdin()) {
		fmt.Fprintf(c.ErrOrStderr(), "API key for %s: ", base)
		key, err := readHidden(c.Context(), int(file.Fd()))
		fmt.Fprintln(c.ErrOrStderr())
		if err != nil {
			return "", err
		}
		return checkKey("what was typed", key)
	}
	raw, err := readAtMost(c.InOrStdin(), "standard input", maxKeyFile)
	if err != nil {
		return "", fmt.Errorf("read the API key: %w", err)
	}
	return checkKey("standard input", string(raw))
}

func (a *app) logoutCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "logout",
		Short:   "Forget the API key that login stored",
		Long:    "Forget the API key that login stored for the address. The key itself stays valid: envoke keys revoke ends it.",
		Example: "  envoke logout --address https://envoke.example",
		Args:    takes(),
	}
	a.bindServer(c.Flags())
	c.RunE = func(c *cobra.Command, _ []string) error {
		server, err := a.anonymous()
		if err != nil {
			return err
		}
		defer server.Close()
		stored, err := a.credentials()
		if err != nil {
			return err
		}
		address := canonical(server.Base())
		if _, ok := stored.Addresses[address]; !ok {
			fmt.Fprintf(c.OutOrStdout(), "no key was stored for %s\n", server.Base())
			return nil
		}
		delete(stored.Addresses, address)
		if err := stored.store(); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "the key for %s is forgotten\n", server.Base())
		return nil
	}
	return c
}
