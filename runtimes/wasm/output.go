package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"envoke/internal/faas"
	"envoke/runtimes/fault"
	"envoke/runtimes/pool"
)

// keptBuffer is the most of a buffer that is kept for the next call, in bytes.
const keptBuffer = 64 << 10

// errFull is what a module gets that prints more than it may.
var errFull = errors.New("stdout is full")

// output is an instance's stdout.
type output struct {
	bytes []byte
	limit int
	full  bool
	end   context.CancelFunc // of the instance, which has nothing to gain any more
}

func (o *output) reset(limit int, end context.CancelFunc) {
	if cap(o.bytes) > keptBuffer {
		o.bytes = nil
	}
	*o = output{bytes: o.bytes[:0], limit: limit, end: end}
}

// Write implements io.Writer. White space at the end of a result counts, up to a line
// break of two bytes.
func (o *output) Write(p []byte) (int, error) {
	if o.full || len(o.bytes)+len(p) > o.limit+len("\r\n") {
		o.full = true
		o.end()
		return 0, errFull
	}
	o.bytes = append(o.bytes, p...)
	return len(p), nil
}

// json is the one JSON value that was printed. Checking is as lenient as for what
// callers send: equal names and escapes of lone surrogates are let through.
func (o *output) json() ([]byte, error) {
	value := bytes.Trim(o.bytes, " \t\r\n")
	switch {
	case o.full || len(value) > o.limit:
		return nil, fault.Output(o.limit)
	case len(value) == 0:
		return nil, invalidOutput("the function printed no result: it must print one JSON value to stdout")
	case !utf8.Valid(value):
		return nil, invalidOutput("what the function printed to stdout is not UTF-8: it must be one JSON value")
	case !jsontext.Value(value).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)):
		return nil, invalidOutput(fmt.Sprintf("what the function printed to stdout is not one JSON value: it begins with %q. What is for the log goes to stderr",
			fault.Cut(string(value), 80)))
	}
	return bytes.Clone(value), nil
}

func invalidOutput(message string) error { return thrown("InvalidOutput", message, nil) }

func thrown(kind, message string, err error) *faas.Error {
	return &faas.Error{
		Code:    faas.RuntimeError,
		Message: message,
		Details: map[string]any{"component": faas.InFunction, "type": kind},
		Err:     err,
	}
}

// maxTail is how much of the end of stderr an error shows, in bytes.
const maxTail = 4 << 10

// printed is an instance's stderr: as much of it as is logged, and its end.
type printed struct {
	head    []byte
	tail    []byte // of what did not fit into head; the last maxTail bytes count
	dropped int
}

func (p *printed) reset() {
	if cap(p.head) > keptBuffer {
		p.head = nil
	}
	*p = printed{head: p.head[:0], tail: p.tail[:0]}
}

// Write implements io.Writer. It takes everything.
func (p *printed) Write(b []byte) (int, error) {
	n := min(len(b), pool.MaxLogged-len(p.head))
	p.head = append(p.head, b[:n]...)
	if rest := b[n:]; len(rest) > 0 {
		p.dropped += len(rest)
		p.tail = append(p.tail, rest[max(0, len(rest)-maxTail):]...)
		if over := len(p.tail) - maxTail; over > maxTail {
			p.tail = p.tail[:copy(p.tail, p.tail[over:])]
		}
	}
	return len(b), nil
}

// end is the last of what was printed.
func (p *printed) end() string {
	all := slices.Concat(p.head[max(0, len(p.head)-maxTail):], p.tail)
	return strings.TrimSpace(strings.ToValidUTF8(string(all[max(0, len(all)-maxTail):]), "\uFFFD"))
}

// log passes on what a call printed, a line at a time.
func (e *Engine) log(r *run, j job) {
	line := pool.LogLine{
		RequestID: j.invocation.RequestID, Digest: j.work.Script.Digest, Owner: j.work.Owner, Level: slog.LevelInfo,
	}
	dropped := r.stderr.dropped
	for text := range bytes.Lines(r.stderr.head) {
		text = bytes.TrimRight(text, "\r\n")
		if len(text) == 0 {
			continue
		}
		dropped += max(0, len(text)-pool.MaxLine)
		line.Text = strings.ToValidUTF8(string(text[:min(len(text), pool.MaxLine)]), "\uFFFD")
		e.opt.Log(line)
	}
	if dropped > 0 {
		e.metrics.logDropped.Add(float64(dropped))
		line.Level, line.Text = slog.LevelWarn, fmt.Sprintf("%d more bytes were printed, and dropped", dropped)
		e.opt.Log(line)
	}
}
