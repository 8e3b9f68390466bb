// Package cli is the command line for people: it deploys, runs and looks after the
// functions of an Envoke that runs somewhere, by its public API.
package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"envoke/internal/client"
	"envoke/internal/faas"
	"envoke/internal/strict"
)

const (
	defaultAddress   = "http://127.0.0.1:9000"
	defaultOperators = "http://127.0.0.1:9001"
	// completionTimeout is what somebody waits who has pressed Tab.
	completionTimeout = 500 * time.Millisecond
)

// GroupID is the help group that the commands belong to; root adds it.
const GroupID = "functions"

// Options are what the commands use of the process that they are part of.
type Options struct {
	Getenv func(string) string
	// Start runs an Envoke of this process's own, for dev.
	Start Start
}

// Start runs an Envoke with nothing in it until the context ends.
type Start func(context.Context, Local) error

// Local is what the one that started an Envoke is told by it.
type Local struct {
	Ready func(base string) // once, when the URL answers
	// Print takes what functions print. It must not block.
	Print func(level slog.Level, text string)
}

// app is what all commands share. One process runs one command, so flags of the
// same name share their variable.
type app struct {
	Options

	address, operators string
	keyFile            string
	caFile             string
	output             format
	namespace          string
}

// Commands are all commands for people.
func Commands(o Options) []*cobra.Command {
	a := &app{Options: o, output: table}
	commands := []*cobra.Command{
		a.deployCommand(), a.invokeCommand(), a.listCommand(), a.describeCommand(),
		a.versionsCommand(), a.rollbackCommand(), a.aliasCommand(), a.deleteCommand(),
		a.sessionsCommand(), a.secretsCommand(), a.logsCommand(), a.devCommand(),
		a.keysCommand(), a.auditCommand(), a.configCommand(), a.loginCommand(), a.logoutCommand(),
	}
	for _, c := range commands {
		c.GroupID = GroupID
	}
	return commands
}

// remote makes a command that calls the public API.
func (a *app) remote(c *cobra.Command, run func(*cobra.Command, *client.Client, []string) error) *cobra.Command {
	a.bindAddress(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		server, err := a.client()
		if err != nil {
			return err
		}
		defer server.Close()
		return a.withMeant(c.Context(), run(c, server, args), args)
	}
	return c
}

// administers makes a remote command that may be about another namespace than the caller's own.
func (a *app) administers(c *cobra.Command, run func(*cobra.Command, *client.Client, []string) error) *cobra.Command {
	c.Flags().StringVar(&a.namespace, "namespace", "", "namespace, for administrators of the default one (default: the key's own)")
	return a.remote(c, run)
}

// withMeant adds to the error of a name that is not there the one that resembles it, and to
// that of a key how to give one.
func (a *app) withMeant(ctx context.Context, err error, args []string) error {
	var reply *client.ReplyError
	if errors.As(err, &reply) && reply.Code == faas.Unauthorized {
		return fmt.Errorf("%w; give an API key by envoke login, ENVOKE_API_KEY or --api-key-file", err)
	}
	if !errors.As(err, &reply) || reply.Code != faas.NotFound || len(args) == 0 {
		return err
	}
	name, _, _ := strings.Cut(args[0], "@")
	name, _, _ = strings.Cut(name, ":")
	for _, known := range a.names(ctx) {
		if known, _, _ = strings.Cut(known, "\t"); known != name && strict.Resembles(name, known) {
			return fmt.Errorf("%w; did you mean %s?", err, known)
		}
	}
	return err
}

func (a *app) bindAddress(f *pflag.FlagSet) {
	a.bindServer(f)
	f.StringVar(&a.keyFile, "api-key-file", "", "file with the API key to call with (default $ENVOKE_API_KEY, else what envoke login stored for the address)")
}

func (a *app) bindServer(f *pflag.FlagSet) {
	f.StringVar(&a.address, "address", "", "URL of the Envoke (default $ENVOKE_URL, else "+defaultAddress+")")
	f.StringVar(&a.caFile, "ca-file", "", "file of the authorities that an https address is believed by, in PEM (default $ENVOKE_CA_FILE, else the system's)")
}

func (a *app) bindOutput(f *pflag.FlagSet) {
	f.VarP(&a.output, "output", "o", "table, or json for programs")
}

func (a *app) client() (*client.Client, error) {
	server, err := a.anonymous()
	if err != nil {
		return nil, err
	}
	key, err := a.key(server.Base())
	if err != nil {
		return nil, err
	}
	server.UseKey(key)
	server.UseNamespace(a.namespace)
	return server, nil
}

// anonymous is a client without a key.
func (a *app) anonymous() (*client.Client, error) {
	return a.clientOf(first(a.address, a.Getenv("ENVOKE_URL"), defaultAddress))
}

func (a *app) clientOf(address string) (*client.Client, error) {
	server, err := client.New(address, client.WithCA(first(a.caFile, a.Getenv("ENVOKE_CA_FILE"))))
	if err != nil {
		return nil, usageError{err}
	}
	return server, nil
}

// first is the first that is not empty.
func first(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}

// completeNames offers the names of registered functions, where a server answers.
func (a *app) completeNames(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.names(c.Context()), cobra.ShellCompDirectiveNoFileComp
}

// completeNamesOrFiles is for commands that take either.
func (a *app) completeNamesOrFiles(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.names(c.Context()), cobra.ShellCompDirectiveDefault
}

func (a *app) names(ctx context.Context) (names []string) {
	server, err := a.client()
	if err != nil {
		return nil
	}
	defer server.Close()
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	page, err := server.Functions(ctx, faas.FunctionQuery{Type: faas.Predefined, PerPage: 100})
	if err != nil {
		return nil
	}
	for _, f := range page.Functions {
		names = append(names, fmt.Sprintf("%s\t%s", f.LanguageTitle, clean(f.Description)))
	}
	return names
}
