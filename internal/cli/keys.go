package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"envoke/internal/client"
	"envoke/internal/faas"
)

func (a *app) keysCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "keys",
		Short: "Make, list and revoke API keys",
		Long:  "Make, list and revoke API keys, by which programs and people call. It takes a key of the scope admin.",
	}
	c.AddCommand(a.keysCreate(), a.keysList(), a.keysRevoke())
	return c
}

func (a *app) keysCreate() *cobra.Command {
	var (
		wanted            client.KeyDefinition
		scopes, languages []string
		expiresIn         time.Duration
	)
	c := &cobra.Command{
		Use:   "create",
		Short: "Make an API key and print its secret, once",
		Long: "Make an API key and print its secret, which nobody can see again.\n\nThe scopes are " +
			strings.ReplaceAll(faas.Scopes(faas.AllScopes()).String(), " ", ", ") + ".",
		Example: `  envoke keys create --name 'deploys from CI' --user ci --scope write:functions --expires-in 2160h
  envoke keys create --name shop --user shop --scope execute:all --language nodejs,python
  envoke keys create --name 'of team A' --namespace team-a --user ann --scope execute:all,write:functions`,
		Args: takes(),
	}
	f := c.Flags()
	f.StringVar(&wanted.Name, "name", "", "what it is for, for people")
	f.StringVar(&wanted.UserID, "user", "", "id of who calls by it")
	f.StringSliceVar(&scopes, "scope", nil, "what it may do; may be repeated")
	f.StringSliceVar(&languages, "language", nil, "of which it may run code; may be repeated (default: of all)")
	f.DurationVar(&expiresIn, "expires-in", 0, "after which it is accepted no more, such as 720h (default: never)")
	for _, name := range []string{"name", "user", "scope"} {
		_ = c.MarkFlagRequired(name) // it is there
	}
	a.bindOutput(f)
	return a.administers(c, func(c *cobra.Command, server *client.Client, _ []string) error {
		if expiresIn < 0 || expiresIn%time.Second != 0 {
			return misuse("--expires-in must be whole seconds, and not negative")
		}
		wanted.Scopes, wanted.Languages = as[faas.Scope](scopes), as[faas.Language](languages)
		wanted.ExpiresInSeconds = int(expiresIn / time.Second)
		made, err := server.CreateKey(c.Context(), wanted)
		if err != nil {
			return err
		}
		if a.output == asJSON {
			return printJSON(c.OutOrStdout(), made)
		}
		fmt.Fprintf(c.ErrOrStderr(), "The key %s of %s is made. Keep its secret now: nobody can see it again.\n", clean(made.ID), clean(whose(made.APIKey)))
		fmt.Fprintln(c.OutOrStdout(), clean(made.Secret))
		return nil
	})
}

// whose is the user of a key, with its namespace where that is not the default one.
func whose(k client.APIKey) string {
	if k.Namespace == "" || k.Namespace == faas.DefaultNamespace {
		return k.UserID
	}
	return k.UserID + " in " + k.Namespace
}

// as makes words of a type of texts.
func as[T ~string](texts []string) (words []T) {
	for _, text := range texts {
		words = append(words, T(text))
	}
	return words
}

func (a *app) keysList() *cobra.Command {
	var (
		query faas.KeyQuery
		all   bool
	)
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List API keys, newest first",
		Example: `  envoke keys list
  envoke keys list --user ci -o json`,
		Args: takes(),
	}
	f := c.Flags()
	f.StringVar(&query.UserID, "user", "", "only those of this user")
	f.IntVar(&query.Page, "page", 1, fmt.Sprintf("which page of %d", perPage))
	f.BoolVar(&all, "all", false, "all pages")
	a.bindOutput(f)
	return a.administers(c, func(c *cobra.Command, server *client.Client, _ []string) error {
		if all && c.Flags().Changed("page") {
			return misuse("--page and --all exclude each other")
		}
		page, err := readKeys(c.Context(), server, query, all)
		if err != nil {
			return err
		}
		err = a.show(c, page, func(w io.Writer) { showKeys(w, page.Keys) })
		if left := page.Total - len(page.Keys); left > 0 && a.output == table {
			fmt.Fprintf(c.ErrOrStderr(), "page %d: %d of %d keys; --page and --all show the others\n", page.Page, len(page.Keys), page.Total)
		}
		return err
	})
}

// readKeys reads one page, or all of them as one.
func readKeys(ctx context.Context, server *client.Client, query faas.KeyQuery, all bool) (client.KeyPage, error) {
	if query.PerPage = perPage; !all {
		return server.Keys(ctx, query)
	}
	whole := client.KeyPage{Page: 1}
	query.PerPage = mostAll
	for query.Page = 1; ; query.Page++ {
		page, err := server.Keys(ctx, query)
		if err != nil {
			return whole, err
		}
		whole.Keys = slices.Concat(whole.Keys, page.Keys)
		whole.Total, whole.PerPage = page.Total, len(whole.Keys)
		if len(whole.Keys) >= page.Total || len(page.Keys) == 0 {
			return whole, nil
		}
	}
}

func showKeys(w io.Writer, keys []client.APIKey) {
	fmt.Fprintln(w, "ID\tUSER\tSCOPES\tLANGUAGES\tSTATE\tLAST USED\tNAME")
	for _, k := range keys {
		used := "never"
		if k.LastUsedAt != nil {
			used = at(*k.LastUsedAt)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", clean(k.ID), clean(whose(k)), list(texts(k.Scopes)),
			first(clean(strings.Join(texts(k.Languages), ",")), "all"), stateOf(k), used, clean(k.Name))
	}
}

func texts[T ~string](words []T) (texts []string) {
	for _, word := range words {
		texts = append(texts, string(word))
	}
	return texts
}

// stateOf tells whether a key is accepted, in a few words.
func stateOf(k client.APIKey) string {
	switch {
	case k.RevokedAt != nil:
		return "revoked " + at(*k.RevokedAt)
	case k.ExpiresAt == nil:
		return "active"
	case k.ExpiresAt.Before(time.Now()):
		return "expired " + at(*k.ExpiresAt)
	}
	return "until " + at(*k.ExpiresAt)
}

func (a *app) keysRevoke() *cobra.Command {
	return a.administers(&cobra.Command{
		Use:     "revoke <id>",
		Aliases: []string{"rm"},
		Short:   "Have an API key accepted no more",
		Long:    "Have an API key accepted no more. A whole secret will do too: its id is sent, and nothing else of it.",
		Example: "  envoke keys revoke 4fK2mQ9xZt0B",
		Args:    takes("<id>"),
	}, func(c *cobra.Command, server *client.Client, args []string) error {
		id := args[0]
		if named, ok := faas.ParseKeySecret(id); ok {
			id = named
		}
		if !faas.IsKeyID(id) {
			return misuse("that is no id of an API key: one has %d letters and digits, and envoke keys list shows them", faas.KeyIDLen)
		}
		if err := server.RevokeKey(c.Context(), id); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%s is revoked\n", id)
		return nil
	})
}
