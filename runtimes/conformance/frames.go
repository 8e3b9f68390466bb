package conformance

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"envoke/runtimes/frame"
	"envoke/runtimes/interpreter"
)

// Programs are what RunFrames and Benchmark need of a language.
type Programs struct {
	Command  interpreter.Command // of its worker
	Filename string              // of each program

	Echo    map[string]string // answers params; by how its calls are run
	Delay   string            // waits as many milliseconds as params say, prints and answers them; empty: all calls are serial
	Throw   string            // throws an error whose message is a million times é
	NotJSON []string          // events that its parser refuses, beside those that all do
}

// RunFrames sees that a worker's frames may come in any pieces and of any size, and
// what it does with those that make no sense.
func RunFrames(t *testing.T, p Programs) {
	for name, source := range p.Echo {
		t.Run(name, func(t *testing.T) {
			t.Run("many calls in one write", func(t *testing.T) { manyCalls(t, p.load(t, source)) })
			t.Run("frames in pieces", func(t *testing.T) { inPieces(t, p.load(t, source)) })
			t.Run("large bodies both ways", func(t *testing.T) { largeBodies(t, p.load(t, source)) })
			t.Run("events that are no JSON", func(t *testing.T) { notJSON(t, p.load(t, source), p.NotJSON) })
		})
	}
	if p.Delay != "" {
		t.Run("calls are answered in any order", func(t *testing.T) { anyOrder(t, p.load(t, p.Delay)) })
	}
	t.Run("a huge error is cut", func(t *testing.T) { hugeError(t, p.load(t, p.Throw)) })
	t.Run("the worker exits", func(t *testing.T) { exits(t, p.Command) })
}

func (p Programs) load(t *testing.T, source string) *Process {
	t.Helper()
	w := Start(t, p.Command.Argv, p.Command.Env)
	if got := w.Load(t, frame.Code{Filename: p.Filename, Source: source, MaxResult: 8 << 20}); got.Form == nil {
		t.Fatal(got)
	}
	return w
}

func invocation(stream []byte, call uint32, event string) []byte {
	return frame.Append(stream, frame.Frame{Type: frame.Invoke, Call: call, Payload: []byte(event)})
}

func manyCalls(t *testing.T, w *Process) {
	const calls = 1000
	want := func(i uint32) string { return fmt.Sprintf(`[%d,"%s"]`, i, strings.Repeat("é", int(i))) }
	var stream []byte
	for i := range uint32(calls) {
		stream = invocation(stream, i, `{"params":`+want(i)+`}`)
	}
	go func() { _, _ = w.Conn.Write(stream) }() // an error shows as a missing answer
	for i := range uint32(calls) {
		f := w.Receive(t)
		if f.Type != frame.Result || f.Call != i || string(f.Payload) != want(i) {
			t.Fatalf("got type %d, call %d, payload %.50q; want %.50q", f.Type, f.Call, f.Payload, want(i))
		}
	}
}

// inPieces cuts frames everywhere between two reads.
func inPieces(t *testing.T, w *Process) {
	stream := invocation(invocation(nil, 1, `{"params":"héllo"}`), 2, `{"params":2}`)
	for i := range stream {
		if _, err := w.Conn.Write(stream[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{`"héllo"`, `2`} {
		if f := w.Receive(t); string(f.Payload) != want {
			t.Errorf("got %q, want %q", f.Payload, want)
		}
	}
}

func largeBodies(t *testing.T, w *Process) {
	want := `"` + strings.Repeat("é", 3<<20) + `!"`
	if got := w.Invoke(t, json.RawMessage(`{"params":`+want+`}`), 0); string(got.Result) != want {
		t.Fatalf("got %d bytes (%.50s), want %d", len(got.Result), got, len(want))
	}
}

func notJSON(t *testing.T, w *Process, more []string) {
	for _, event := range append([]string{``, `{"params":`, `{"params":NaN}`, `{"params":1} 2`}, more...) {
		if got := w.Invoke(t, json.RawMessage(event), 0); got.Failure == nil || got.Failure.Kind != frame.ParamsFailure {
			t.Errorf("%.20q: got %s, want a failure of kind params", event, got)
		}
	}
	if got := w.Invoke(t, json.RawMessage(`{"params":1}`), 0); string(got.Result) != "1" {
		t.Errorf("the next call: %s", got)
	}
}

// anyOrder makes all calls in one write, so that only their own delays count.
func anyOrder(t *testing.T, w *Process) {
	var stream []byte
	for _, delay := range []uint32{60, 30, 1} {
		stream = invocation(stream, delay, fmt.Sprintf(`{"params":%d}`, delay))
	}
	if _, err := w.Conn.Write(stream); err != nil {
		t.Fatal(err)
	}
	for _, delay := range []uint32{1, 30, 60} {
		log, result := w.Receive(t), w.Receive(t)
		if log.Type != frame.Log || log.Call != delay || string(log.Payload[1:]) != fmt.Sprint(delay) {
			t.Errorf("got frame %+v, want the log of call %d", log, delay)
		}
		if result.Type != frame.Result || result.Call != delay {
			t.Errorf("got frame %+v, want the result of call %d", result, delay)
		}
	}
}

func hugeError(t *testing.T, w *Process) {
	got := w.Invoke(t, json.RawMessage(`{}`), 0)
	if got.Failure == nil || len(got.Failure.Message) != 8<<10 || len(got.Failure.Stack) > 16<<10 {
		t.Fatalf("got %.100s", got)
	}
}

func exits(t *testing.T, command interpreter.Command) {
	for name, end := range map[string]func(*testing.T, *Process){
		"at the end of the stream": func(t *testing.T, w *Process) {
			if err := w.Conn.(*net.UnixConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		},
		"at a frame of unknown type": func(t *testing.T, w *Process) { w.Send(t, frame.Frame{Type: 99}) },
		"at a frame without a header": func(_ *testing.T, w *Process) {
			_, _ = w.Conn.Write([]byte{0, 0, 0, 1, 3, 0, 0, 0, 0})
		},
		"at an invocation before the load": func(t *testing.T, w *Process) { w.Send(t, frame.Frame{Type: frame.Invoke}) },
	} {
		t.Run(name, func(t *testing.T) {
			w := Start(t, command.Argv, command.Env)
			end(t, w)
			if f := w.Receive(t); f.Type != 0 {
				t.Fatalf("got frame %+v, want the end of the stream", f)
			}
		})
	}
}

// Benchmark is what a call of each source costs without a host: 64 are under way at
// once, of params {"a":1,"b":2}.
func Benchmark(b *testing.B, p Programs, sources map[string]string) {
	for name, source := range sources {
		b.Run(name, func(b *testing.B) {
			w := Start(b, p.Command.Argv, p.Command.Env)
			w.Send(b, frame.Frame{Type: frame.Load, Payload: marshal(b, frame.Code{Filename: p.Filename, Source: source})})
			w.Receive(b)
			w.benchmark(b)
		})
	}
}

func (p *Process) benchmark(b *testing.B) {
	const window = 64
	question := invocation(nil, 0, `{"params":{"a":1,"b":2},"context":{"user":"u"}}`)
	batch := strings.Repeat(string(question), window/2)
	b.ResetTimer()
	sent := 0
	for answered := 0; answered < b.N; {
		for sent < b.N && sent-answered <= window/2 {
			if _, err := p.Conn.Write([]byte(batch)); err != nil {
				b.Fatal(err)
			}
			sent += window / 2
		}
		if p.Receive(b).Type == frame.Result {
			answered++
		}
	}
}
