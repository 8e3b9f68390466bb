package cli

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"envoke/internal/client"
	"envoke/internal/faas"
)

const (
	perPage = 50
	mostAll = 100 // per page, the server's maximum, when all are wanted
)

func (a *app) listCommand() *cobra.Command {
	var (
		query          faas.FunctionQuery
		language, kind string
		all            bool
	)
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List functions, newest first",
		Example: `  envoke list
  envoke list --language python --tag billing
  envoke list --all -o json`,
		Args: takes(),
	}
	f := c.Flags()
	f.StringVar(&language, "language", "", "only this language: nodejs, python or rust")
	f.StringVar(&kind, "type", string(faas.Predefined), "predefined: registered ones; dynamic: live sessions' scripts")
	f.StringVar(&query.Tag, "tag", "", "only those with this tag")
	f.IntVar(&query.Page, "page", 1, fmt.Sprintf("which page of %d", perPage))
	f.BoolVar(&all, "all", false, "all pages")
	a.bindOutput(f)
	c.MarkFlagsMutuallyExclusive("page", "all")
	return a.remote(c, func(c *cobra.Command, server *client.Client, _ []string) error {
		query.Language, query.Type, query.PerPage = faas.Language(language), faas.FunctionType(kind), perPage
		page, err := pages(c.Context(), server, query, all)
		if err != nil {
			return err
		}
		return a.showPage(c, page)
	})
}

// pages reads one page, or all of them as one.
func pages(ctx context.Context, server *client.Client, query faas.FunctionQuery, all bool) (client.Page, error) {
	if !all {
		return server.Functions(ctx, query)
	}
	whole := client.Page{Page: 1}
	query.PerPage = mostAll
	for query.Page = 1; ; query.Page++ {
		page, err := server.Functions(ctx, query)
		if err != nil {
			return whole, err
		}
		whole.Functions = slices.Concat(whole.Functions, page.Functions)
		whole.Total, whole.PerPage = page.Total, len(whole.Functions)
		if len(whole.Functions) >= page.Total || len(page.Functions) == 0 {
			return whole, nil
		}
	}
}

func (a *app) showPage(c *cobra.Command, page client.Page) error {
	err := a.show(c, page, func(w io.Writer) {
		fmt.Fprintln(w, "NAME\tVERSION\tTAGS\tUPDATED\tDESCRIPTION")
		for _, f := range page.Functions {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n",
				clean(f.LanguageTitle), orDash(f.Version), list(f.Tags), at(f.LastUpdatedAt), clean(f.Description))
		}
	})
	if left := page.Total - len(page.Functions); left > 0 && a.output == table {
		fmt.Fprintf(c.ErrOrStderr(), "page %d: %d of %d functions; --page and --all show the others\n", page.Page, len(page.Functions), page.Total)
	}
	return err
}
