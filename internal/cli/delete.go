package cli

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"envoke/internal/client"
)

func (a *app) deleteCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:               "delete <name>",
		Aliases:           []string{"rm"},
		Short:             "Delete a function with all its versions and aliases",
		Example:           "  envoke delete nodejs-hello --yes",
		Args:              takes("<name>"),
		ValidArgsFunction: a.completeNames,
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return a.administers(c, func(c *cobra.Command, server *client.Client, args []string) error {
		if !yes {
			if err := confirm(c, "Delete "+args[0]+" with all its versions? [y/N] "); err != nil {
				return err
			}
		}
		if err := server.Delete(c.Context(), args[0]); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%s is deleted\n", args[0])
		return nil
	})
}

// confirm asks a person. A program has to say --yes.
func confirm(c *cobra.Command, question string) error {
	if !isTerminal(c.InOrStdin()) {
		return misuse("nobody is there to ask: say --yes")
	}
	fmt.Fprint(c.ErrOrStderr(), question)
	answer, _ := bufio.NewReader(c.InOrStdin()).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return misuse("nothing was deleted")
}
