package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"envoke/internal/client"
)

// The exit codes, which docs/cli.md and the help of every command promise.
const (
	exitFailed      = 1 // the function or the request failed
	exitUsage       = 2 // the command line cannot be meant
	exitUnreachable = 3 // no Envoke answers
)

// ExitCode is what the process ends with.
func ExitCode(err error) int {
	var (
		usage     usageError
		away      *client.UnreachableError
		foreign   *client.ForeignError
		operators *client.OperatorsError
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &away), errors.As(err, &foreign), errors.As(err, &operators):
		return exitUnreachable
	}
	return exitFailed
}

// usageError is a fault of the command line, found before anything was sent.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func misuse(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Adopt makes what is wrong about a command line tell what was meant, in all
// commands below root, and gives it an exit code of its own.
func Adopt(root *cobra.Command) {
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return misuse("%w%s; see %s --help", err, meantFlag(c, err), c.CommandPath())
	})
	adopt(root)
}

func adopt(c *cobra.Command) {
	if c.HasSubCommands() {
		c.Args = subcommand
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	} else {
		c.Args = checkUsage(c.Args)
	}
	for _, child := range c.Commands() {
		adopt(child)
	}
}

// checkUsage is a check of arguments, or none, with what cobra checks of flags only later,
// where its error would not be one of usage.
func checkUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if check != nil {
			if err := check(c, args); err != nil {
				return usageError{err}
			}
		}
		if err := cmp.Or(c.ValidateRequiredFlags(), c.ValidateFlagGroups()); err != nil {
			return misuse("%w; see %s --help", err, c.CommandPath())
		}
		return nil
	}
}

// Misuse is a fault of the command line that a command finds itself.
func Misuse(format string, args ...any) error { return misuse(format, args...) }

// subcommand refuses a word that names no command.
func subcommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return misuse("%s has no command %q%s; see %s --help", c.CommandPath(), args[0], meant("", near(c, args[0])), c.CommandPath())
}

func near(c *cobra.Command, word string) []string {
	c.SuggestionsMinimumDistance = 2
	return c.SuggestionsFor(word)
}

func meant(prefix string, suggestions []string) string {
	if len(suggestions) == 0 {
		return ""
	}
	return " (did you mean " + prefix + strings.Join(suggestions, " or "+prefix) + "?)"
}

// meantFlag lets cobra's search for similar commands find a similar flag.
func meantFlag(c *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return ""
	}
	var flags cobra.Command
	c.Flags().VisitAll(func(f *pflag.Flag) {
		flags.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
	})
	return meant("--", near(&flags, unknown.GetSpecifiedName()))
}

// takes wants an argument for each of the words, which the message names.
func takes(words ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == len(words) {
			return nil
		}
		return fmt.Errorf("%s takes %s, and was given %d: see %s --help",
			c.CommandPath(), first(strings.Join(words, " "), "no arguments"), len(args), c.CommandPath())
	}
}
