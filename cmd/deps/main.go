// Command deps looks for known holes in all dependencies: those of Go modules by govulncheck,
// those of Python by pip-audit. It fails on a hole, and says plainly what nobody could look at:
// both tools ask a database elsewhere, and one of them succeeds without it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// timeout bounds one tool.
const timeout = 5 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "deps:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

// The errors of what was found, and of what was not looked at where all must be.
var (
	errHoles   = errors.New("dependencies have known holes: update them")
	errNotSeen = errors.New("not all dependencies were looked at, and -strict wants that")
)

// audit is what was looked at so far.
type audit struct {
	out           io.Writer
	python        string
	seen, notSeen int // packages, and modules
	holes         bool
}

func run(ctx context.Context, args []string, out io.Writer) error {
	a := &audit{out: out}
	flags := flag.NewFlagSet("deps", flag.ContinueOnError)
	govulncheck := flags.String("govulncheck", "govulncheck", "govulncheck's `program`")
	database := flags.String("db", "https://vuln.go.dev", "`address` of the database of Go's holes")
	modules := flags.String("modules", ".", "`folders` of Go modules, separated by commas")
	strict := flags.Bool("strict", false, "fail where something could not be looked at")
	flags.StringVar(&a.python, "python", "python3", "Python's `program`, which finds pip-audit by PYTHONPATH")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for folder := range strings.SplitSeq(*modules, ",") {
		a.goModule(ctx, folder, *govulncheck, *database)
	}
	for _, list := range flags.Args() {
		a.pythonList(ctx, list)
	}
	switch {
	case a.seen == 0:
		fmt.Fprintln(out, "NOTHING WAS LOOKED AT: this says nothing of holes")
	case a.notSeen > 0:
		fmt.Fprintf(out, "LOOKED AT IN PART: %d, NOT LOOKED AT: %d\n", a.seen, a.notSeen)
	default:
		fmt.Fprintf(out, "looked at all %d\n", a.seen)
	}
	switch {
	case a.holes:
		return errHoles
	case *strict && a.notSeen > 0:
		return errNotSeen
	}
	return nil
}

// foundHoles is the status with which govulncheck says that the code reaches a hole.
const foundHoles = 3

func (a *audit) goModule(ctx context.Context, folder, program, database string) {
	output, faults, status := tool(ctx, program, "-C", folder, "-db", database, "./...")
	switch status {
	case 0:
		a.seen++
		fmt.Fprintf(a.out, "Go module %s: no known holes that its code reaches\n", folder)
	case foundHoles:
		a.seen++
		a.holes = true
		fmt.Fprintf(a.out, "Go module %s: KNOWN HOLES\n%s\n", folder, output)
	default:
		a.notSeen++
		fmt.Fprintf(a.out, "Go module %s: NOT LOOKED AT: %s\n", folder, lastLine(faults))
	}
}

// report is what pip-audit writes. A package that it does not find has a reason, and the
// status is that of success.
type report struct {
	Dependencies []struct {
		Name, Version string
		SkipReason    string `json:"skip_reason"`
		Vulns         []struct {
			ID          string   `json:"id"`
			FixVersions []string `json:"fix_versions"`
		}
	}
}

func (a *audit) pythonList(ctx context.Context, list string) {
	output, faults, _ := tool(ctx, a.python, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off",
		"--format", "json", "--requirement", list)
	var r report
	if err := json.Unmarshal([]byte(output), &r); err != nil || len(r.Dependencies) == 0 {
		a.notSeen++
		fmt.Fprintf(a.out, "Python packages of %s: NOT LOOKED AT: %s\n", list, lastLine(faults))
		return
	}
	seen := 0
	for _, d := range r.Dependencies {
		if d.SkipReason != "" {
			a.notSeen++
			fmt.Fprintf(a.out, "Python package %s of %s: NOT LOOKED AT: %s\n", d.Name, list, d.SkipReason)
			continue
		}
		seen++
		for _, hole := range d.Vulns {
			a.holes = true
			fmt.Fprintf(a.out, "Python package %s %s of %s: KNOWN HOLE %s, mended in %s\n", d.Name, d.Version, list, hole.ID, strings.Join(hole.FixVersions, " or "))
		}
	}
	if a.seen += seen; seen > 0 {
		fmt.Fprintf(a.out, "Python packages of %s: looked at %d\n", list, seen)
	}
}

// tool runs one, and returns its status; -1 where it did not end by itself.
func tool(ctx context.Context, program string, args ...string) (output, faults string, status int) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var stdout, stderr bytes.Buffer
	c := exec.CommandContext(ctx, program, args...)
	c.Stdout, c.Stderr = &stdout, &stderr
	c.WaitDelay = time.Second
	err := c.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return "", err.Error(), -1
	}
	return stdout.String(), stderr.String(), c.ProcessState.ExitCode()
}

// lastLine is what a tool says that has failed.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return last
	}
	return "the tool says nothing"
}
