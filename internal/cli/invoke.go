package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"envoke/internal/client"
	"envoke/internal/faas"
)

// callFlags are what a function is run with, as text.
type callFlags struct {
	data, context string
	headers       []string
}

func (a *app) invokeCommand() *cobra.Command {
	var flags callFlags
	c := &cobra.Command{
		Use:   "invoke <name|file|session>",
		Short: "Run a function, a file or a session, and print the result",
		Long: `Run a registered function by its name, the code in a local file, or a session by
its id, and print the result alone, as JSON.

A name may say which version: nodejs-hello@3, or nodejs-hello:stable for an alias.

It runs as in a session: there is no context.http, and an object with a statusCode is
a result like any other. envoke dev, and /function/<name>, make HTTP responses.

The exit code is 0 for a result, 1 where the function or the request failed, 2 where
the command line cannot be meant, 3 where no Envoke answers.`,
		Example: `  envoke invoke nodejs-calculator --data '{"operation":"add","a":1,"b":2}'
  envoke invoke hello.js --data '{"name":"Envoy"}'
  envoke invoke hello.js --data @params.json --context '{"timeout_ms":500}'
  echo '{"name":"Envoy"}' | envoke invoke hello.js --data - -o json`,
		Args:              takes("<name|file|session>"),
		ValidArgsFunction: a.completeNamesOrFiles,
	}
	f := c.Flags()
	f.StringVarP(&flags.data, "data", "d", "", "the params: JSON, @file, or - for standard input")
	f.StringVar(&flags.context, "context", "", "the context: a JSON object, @file, or -; timeout_ms in it is the deadline")
	f.StringArrayVarP(&flags.headers, "header", "H", nil, "another header of the request, 'Name: value'; may be repeated")
	a.bindOutput(f)
	return a.remote(c, func(c *cobra.Command, server *client.Client, args []string) error {
		call, err := flags.call(c.InOrStdin())
		if err != nil {
			return err
		}
		result, err := runTarget(c.Context(), server, args[0], call)
		if err != nil {
			return err
		}
		if a.output == asJSON {
			return printJSON(c.OutOrStdout(), result)
		}
		if isResponse(result.Result) {
			fmt.Fprintln(c.ErrOrStderr(), "this looks like an HTTP response: /function/<name> of a registered function and `envoke dev` of a file answer with it, invoke shows it as it is")
		}
		return printResult(c.OutOrStdout(), result.Result)
	})
}

// isResponse tells what plain HTTP would make a response of.
func isResponse(result json.RawMessage) bool {
	var response struct {
		StatusCode float64 `json:"statusCode"`
	}
	return json.Unmarshal(result, &response) == nil && 200 <= response.StatusCode && response.StatusCode <= 599
}

var sessionID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// runTarget finds out what the target is. A file wins over a function of the same name.
func runTarget(ctx context.Context, server *client.Client, target string, call client.Call) (client.Invocation, error) {
	if isFile(target) {
		code, err := readSource(target)
		if err != nil {
			return client.Invocation{}, err
		}
		call.ScriptContent, call.CompileOptions = code.script(), code.compileOptions()
		result, err := server.Invoke(ctx, code.name.String(), call)
		return result, explain(err, &code)
	}
	if sessionID.MatchString(target) {
		if call.Context != nil {
			return client.Invocation{}, misuse("a session keeps the context that it was made with: leave --context out")
		}
		result, err := server.Execute(ctx, target, call)
		return result, explain(err, nil)
	}
	if !isName(target) {
		return client.Invocation{}, misuse("%q is no file, no session and no name of a function (those begin with %s)", target, faas.Either("-"))
	}
	result, err := server.Invoke(ctx, target, call)
	return result, explain(err, nil)
}

// isFile tells a path from a name: names have no slash.
func isFile(target string) bool {
	if strings.ContainsRune(target, filepath.Separator) {
		return true
	}
	_, err := os.Stat(target)
	return err == nil
}

func isName(target string) bool {
	for _, language := range faas.Languages() {
		if strings.HasPrefix(target, string(language)+"-") {
			return true
		}
	}
	return false
}

// call reads what the flags name.
func (f callFlags) call(stdin io.Reader) (call client.Call, err error) {
	if f.data == "-" && f.context == "-" {
		return call, misuse("--data and --context cannot both be standard input")
	}
	if call.Params, err = readJSON("--data", f.data, stdin); err != nil {
		return call, err
	}
	if call.Context, err = readJSON("--context", f.context, stdin); err != nil {
		return call, err
	}
	call.Header, err = parseHeaders(f.headers)
	return call, err
}

// readJSON reads a flag's value: JSON, @file or -. An empty one is nil.
func readJSON(flag, value string, stdin io.Reader) (raw json.RawMessage, err error) {
	switch {
	case value == "":
		return nil, nil
	case value == "-":
		if raw, err = io.ReadAll(io.LimitReader(stdin, maxSource)); err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
	case value[0] == '@':
		if raw, err = readFile(value[1:]); err != nil {
			return nil, err
		}
	default:
		raw = json.RawMessage(value)
	}
	raw = bytes.TrimSpace(raw)
	var check any
	if err := json.Unmarshal(raw, &check); err != nil {
		return nil, misuse("%s is no JSON: %w (text needs quotes of its own: '\"text\"')", flag, err)
	}
	return raw, nil
}

func parseHeaders(lines []string) (http.Header, error) {
	header := http.Header{}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, misuse("--header %q must be 'Name: value'", line)
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return header, nil
}
