package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"envoke/internal/client"
	"envoke/internal/faas"
)

func (a *app) deployCommand() *cobra.Command {
	var (
		name   string
		dryRun bool
	)
	c := &cobra.Command{
		Use:   "deploy <file|folder>",
		Short: "Register code as a function, or as the next version of one",
		Long: `Register code as a function, or as the next version where its name is taken.

The end of a file's name tells the language: .js, .mjs and .cjs are nodejs, .py is
python, .rs is rust, .wasm is a ready WASI module. The function is named after the file or folder:
hello.js becomes nodejs-hello.

A folder has one file of code, or a function.yaml that names it:

  name: hello                  # else the folder's name
  language: nodejs             # must fit the handler's
  handler: main.js
  description: Greets
  schema: params.schema.json   # JSON Schema of the params: a file, or inline
  examples: [{name: Envoy}]
  tags: [greeting]
  timeout_ms: 1000
  memory_limit_mb: 64
  cache_ttl_seconds: 60`,
		Example: `  envoke deploy hello.js
  envoke deploy hello.js --name nodejs-greeting
  envoke deploy ./hello --dry-run`,
		Args: takes("<file|folder>"),
	}
	f := c.Flags()
	f.StringVar(&name, "name", "", "name of the function, such as nodejs-hello")
	f.BoolVar(&dryRun, "dry-run", false, "print what would be sent, and send nothing")
	a.bindOutput(f)
	return a.administers(c, func(c *cobra.Command, server *client.Client, args []string) error {
		wanted, code, err := define(args[0], name)
		if err != nil {
			return err
		}
		if doubt := doubt(code); doubt != "" {
			fmt.Fprintln(c.ErrOrStderr(), "warning:", doubt)
		}
		if dryRun {
			return printJSON(c.OutOrStdout(), wanted)
		}
		made, err := deploy(c.Context(), server, wanted)
		if err != nil {
			return explain(err, &code)
		}
		return a.show(c, made, func(w io.Writer) {
			called := clean(made.LanguageTitle)
			fmt.Fprintf(w, "%s is version %s now. Call it:\n\n  envoke invoke %s --data '{}'\n  curl -s %s/runtime/%s/%s -d '{\"params\":{}}'\n",
				called, orDash(made.Version), called, server.Base(), made.Language, clean(made.Title))
		})
	})
}

// deploy makes a function, or a new version of one.
func deploy(ctx context.Context, server *client.Client, d client.Definition) (client.Function, error) {
	made, err := server.Create(ctx, d)
	var reply *client.ReplyError
	if errors.As(err, &reply) && reply.Code == faas.Conflict {
		return server.Update(ctx, d)
	}
	return made, err
}
