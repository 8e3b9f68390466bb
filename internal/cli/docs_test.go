package cli

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var (
	exampleLine = regexp.MustCompile(`(?m)^ *(?:.*\| )?(envoke (?:alias|audit|config|delete|deploy|describe|dev|invoke|keys|list|login|logout|logs|rollback|secrets|sessions|versions)\b.*)$`)
	word        = regexp.MustCompile(`'[^']*'|\S+`)
)

// TestExamplesParse: those of docs/cli.md and of every --help, each command having
// one in both.
func TestExamplesParse(t *testing.T) {
	page, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	var help strings.Builder
	walk(newRoot(), func(c *cobra.Command) { help.WriteString(c.Example + "\n") })
	for name, text := range map[string]string{"docs/cli.md": string(page), "--help": help.String()} {
		shown := map[string]bool{}
		for _, example := range exampleLine.FindAllStringSubmatch(text, -1) {
			command, err := parse(strings.TrimPrefix(example[1], "envoke "))
			if err != nil {
				t.Errorf("%s: %s: %v", name, example[1], err)
				continue
			}
			shown[command.CommandPath()] = true
		}
		walk(newRoot(), func(c *cobra.Command) {
			if !c.HasSubCommands() && !shown[c.CommandPath()] {
				t.Errorf("%s has no example of %s", name, c.CommandPath())
			}
		})
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{Use: "envoke"}
	root.AddCommand(Commands(Options{Getenv: os.Getenv})...)
	Adopt(root)
	return root
}

func walk(c *cobra.Command, visit func(*cobra.Command)) {
	for _, child := range c.Commands() {
		visit(child)
		walk(child, visit)
	}
}

// parse finds the command of a line and checks its flags and arguments.
func parse(line string) (*cobra.Command, error) {
	var args []string
	for _, w := range word.FindAllString(line, -1) {
		args = append(args, strings.Trim(w, "'"))
	}
	c, rest, err := newRoot().Find(args)
	if err == nil {
		err = c.ParseFlags(rest)
	}
	if err == nil {
		err = c.ValidateArgs(c.Flags().Args())
	}
	return c, err
}
