package cli

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"envoke/internal/client"
)

// shortDigest is as much of a digest as people compare.
const shortDigest = 12

func (a *app) versionsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:               "versions <name>",
		Short:             "List a function's versions, newest first",
		Long:              "List a function's versions, newest first. The one marked * is what runs under the bare name.",
		Example:           "  envoke versions nodejs-hello",
		Args:              takes("<name>"),
		ValidArgsFunction: a.completeNames,
	}
	a.bindOutput(c.Flags())
	return a.administers(c, func(c *cobra.Command, server *client.Client, args []string) error {
		found, err := server.Versions(c.Context(), args[0])
		if err != nil {
			return err
		}
		return a.show(c, found, func(w io.Writer) {
			fmt.Fprintln(w, "VERSION\tALIASES\tCREATED\tBY\tDIGEST")
			for _, v := range found.Versions {
				mark := " "
				if v.IsCurrent {
					mark = "*"
				}
				digest := clean(string(v.Digest))
				fmt.Fprintf(w, "%s%d\t%s\t%s\t%s\t%s\n", mark, v.Version, list(v.Aliases), at(v.CreatedAt),
					orDash(v.CreatedBy), digest[:min(len(digest), shortDigest)])
			}
		})
	})
}

func (a *app) rollbackCommand() *cobra.Command {
	c := &cobra.Command{
		Use:               "rollback <name> <version>",
		Short:             "Make an earlier version the current one",
		Example:           "  envoke rollback nodejs-hello 2",
		Args:              takes("<name>", "<version>"),
		ValidArgsFunction: a.completeNames,
	}
	a.bindOutput(c.Flags())
	return a.administers(c, func(c *cobra.Command, server *client.Client, args []string) error {
		version, err := parseVersion(args[1])
		if err != nil {
			return err
		}
		function, err := server.Rollback(c.Context(), args[0], version)
		if err != nil {
			return err
		}
		return a.show(c, function, func(w io.Writer) {
			fmt.Fprintf(w, "%s is version %s now\n", clean(function.LanguageTitle), orDash(function.Version))
		})
	})
}

func (a *app) aliasCommand() *cobra.Command {
	var (
		weights map[string]int
		forget  bool
	)
	c := &cobra.Command{
		Use:   "alias <name> <alias> <version>",
		Short: "Let a name such as stable stand for a version, or for a weighted few",
		Long: `Let an alias stand for a version: <name>:<alias> runs it. With --weight, that many per
cent of the calls go to another version (a canary), always the same one in a session.`,
		Example: `  envoke alias nodejs-hello stable 2
  envoke alias nodejs-hello stable 2 --weight 3=10
  envoke invoke nodejs-hello:stable
  envoke alias nodejs-hello stable --delete`,
		Args: func(c *cobra.Command, args []string) error {
			if forget {
				return takes("<name>", "<alias>")(c, args)
			}
			return takes("<name>", "<alias>", "<version>")(c, args)
		},
		ValidArgsFunction: a.completeNames,
	}
	c.Flags().StringToIntVar(&weights, "weight", nil, "version=per cent of the calls; may be repeated")
	c.Flags().BoolVar(&forget, "delete", false, "forget the alias instead")
	return a.administers(c, func(c *cobra.Command, server *client.Client, args []string) error {
		if forget {
			return forgetAlias(c, server, args[0], args[1])
		}
		version, err := parseVersion(args[2])
		if err != nil {
			return err
		}
		if err := server.PutAlias(c.Context(), args[0], args[1], client.Alias{Version: version, Weights: weights}); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%s:%s is version %d now\n", args[0], args[1], version)
		return nil
	})
}

func forgetAlias(c *cobra.Command, server *client.Client, name, alias string) error {
	if err := server.DeleteAlias(c.Context(), name, alias); err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "%s:%s is deleted\n", name, alias)
	return nil
}

func parseVersion(text string) (int, error) {
	version, err := strconv.Atoi(text)
	if err != nil || version < 1 {
		return 0, misuse("%q is no version: give a number from 1", text)
	}
	return version, nil
}
