package wasm

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/tetratelabs/wazero/sys"

	"envoke/internal/faas"
	"envoke/runtimes/fault"
)

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// failure is what a caller is told of a call that did not succeed. An error of the
// context is returned as it is.
func (e *Engine) failure(ctx context.Context, r *run, err error) error {
	var known *faas.Error
	var exit *sys.ExitError
	ended := errors.As(err, &exit)
	switch {
	case errors.As(err, &known):
		return known
	case r.stdout.full:
		return fault.Output(e.opt.MaxResult)
	case ended && ctx.Err() != nil:
		return ctx.Err()
	case r.refused:
		return fault.OutOfMemory(int(r.limit >> 20))
	case ended && exit.ExitCode() == panicCode && panicked.MatchString(r.stderr.end()):
		return thrownByPanic(r.stderr.end())
	case ended:
		f := thrown("NonZeroExit", withEnd(fmt.Sprintf("the function exited with code %d", exit.ExitCode()), r), nil)
		f.Details["exit_code"] = exit.ExitCode()
		return f
	}
	t := trapOf(err)
	f := thrown(t.kind, withEnd("the function trapped: "+t.text, r), err)
	if t.stack != "" {
		f.Details["stack_trace"] = fault.Cut(t.stack, fault.MaxStack)
	}
	return f
}

// panicCode is with what a function that was built of Rust source ends by a panic, and
// panicked what it prints then: see runtimes/rust/crate.
const panicCode = 101

var panicked = regexp.MustCompile(`(?s)^(?:.*\n)?panicked at function\.rs:(\d+):(\d+):\n(.*)$`)

func thrownByPanic(stderr string) *faas.Error {
	words := panicked.FindStringSubmatch(stderr)
	f := thrown("Panic", fault.Cut(words[3], fault.MaxMessage), nil)
	for i, name := range []string{"line", "column"} {
		f.Details[name], _ = strconv.Atoi(words[1+i]) // digits
	}
	return f
}

// withEnd adds the last of stderr, where languages print why they end a program.
func withEnd(message string, r *run) string {
	if end := r.stderr.end(); end != "" {
		message += ": " + end
	}
	return fault.Cut(message, fault.MaxMessage)
}

// trap is how a module came to its end.
type trap struct{ kind, text, stack string }

// traps are wazero's texts of what the WebAssembly specification calls a trap. They are
// in an internal package of it, so that they are told by their text.
var traps = []trap{
	{kind: "Unreachable", text: "unreachable"},
	{kind: "OutOfBounds", text: "out of bounds memory access"},
	{kind: "StackOverflow", text: "stack overflow"},
	{kind: "DivideByZero", text: "integer divide by zero"},
	{kind: "IntegerOverflow", text: "integer overflow"},
	{kind: "InvalidConversion", text: "invalid conversion to integer"},
	{kind: "InvalidTableAccess", text: "invalid table access"},
	{kind: "IndirectCallMismatch", text: "indirect call type mismatch"},
}

// trapOf reads wazero's error. Of one that is not known the caller sees nothing more:
// it may hold a Go stack trace.
func trapOf(err error) trap {
	text := err.Error()
	first, rest, _ := strings.Cut(text, "\n")
	for _, t := range traps {
		if !strings.HasSuffix(first, t.text) {
			continue
		}
		if _, stack, ok := strings.Cut(rest, "wasm stack trace:\n"); ok {
			t.stack = strings.ReplaceAll(stack, "\t", "  ")
		}
		return t
	}
	if strings.Contains(text, "recovered by wazero") || strings.HasPrefix(text, "instantiate:") {
		return trap{kind: "Trap", text: "the runtime could not go on with it"}
	}
	return trap{kind: "Trap", text: fault.Cut(first, fault.MaxMessage)}
}
