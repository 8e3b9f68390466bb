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
		wanted         listing
		language, kind string
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
	f.StringVar(&language, "language", "", "only this language: "+faas.Served(faas.Languages()).Either(""))
	f.StringVar(&kind, "type", string(faas.Predefined), "predefined: registered ones; dynamic: live sessions' scripts")
	f.StringVar(&wanted.query.Tag, "tag", "", "only those with this tag")
	return a.listing(c, &wanted, func() {
		wanted.query.Language, wanted.query.Type = faas.Language(language), faas.FunctionType(kind)
	})
}

// listing is what to list: one page, or all.
type listing struct {
	query faas.FunctionQuery
	all   bool
}

// listing makes a command that lists what is wanted, once prepare has read the
// command's own flags.
func (a *app) listing(c *cobra.Command, wanted *listing, prepare func()) *cobra.Command {
	f := c.Flags()
	f.IntVar(&wanted.query.Page, "page", 1, fmt.Sprintf("which page of %d", perPage))
	f.BoolVar(&wanted.all, "all", false, "all pages")
	a.bindOutput(f)
	return a.administers(c, func(c *cobra.Command, server *client.Client, _ []string) error {
		if wanted.all && c.Flags().Changed("page") {
			return misuse("--page and --all exclude each other")
		}
		prepare()
		page, err := wanted.read(c.Context(), server)
		if err != nil {
			return err
		}
		return a.showPage(c, page)
	})
}

// read reads one page, or all of them as one.
func (l *listing) read(ctx context.Context, server *client.Client) (client.Page, error) {
	query := l.query
	if query.PerPage = perPage; !l.all {
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
