package wasm

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/conformance"
	"envoke/runtimes/pool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var targetOption = json.RawMessage(`{"target": "wasm32-wasip1"}`)

func serve(t testing.TB, opt Options) *Engine {
	t.Helper()
	e, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	testrig.Serve(t, e.Serve)
	return e
}

// probe is the module that does what its context says.
func probe(t testing.TB) pool.Work {
	t.Helper()
	return pool.Work{Script: faas.NewScript(faas.Rust, conformance.Module(t, "probe"), targetOption), Owner: "somebody"}
}

func script(wasm []byte) faas.Script {
	return faas.NewScript(faas.Rust, base64.StdEncoding.EncodeToString(wasm), targetOption)
}

func do(command string) []byte { return []byte(`{"do": "` + command + `"}`) }

// invoke is given ten seconds.
func invoke(t testing.TB, e *Engine, w pool.Work, command string) (pool.Result, error) {
	return e.Invoke(t.Context(), w, pool.Invocation{RequestID: "r", Deadline: time.Now().Add(10 * time.Second), Context: do(command)})
}

// awaitMachineCode waits until a module that is loaded runs at its full speed.
func awaitMachineCode(t testing.TB, e *Engine, s faas.Script) {
	t.Helper()
	if _, err := e.Check(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	m, _ := e.modules.Peek(s.Digest)
	e.mu.Unlock()
	e.startCompiling(m)
	testrig.Eventually(t, "it is compiled", func() bool { return e.hasMachineCode(m) })
}

// fault is the *faas.Error that err must be.
func wantFault(t testing.TB, err error, code faas.Code) *faas.Error {
	t.Helper()
	var e *faas.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v, want a %s", err, code)
	}
	return e
}

// lines gathers what functions print.
type lines struct {
	mu    sync.Mutex
	lines []pool.LogLine
}

func (l *lines) add(line pool.LogLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *lines) all() []pool.LogLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines
}

// Modules by hand: the binary format is at
// https://webassembly.github.io/spec/core/binary/modules.html

// part is a section of a module.
func part(id byte, content ...byte) []byte {
	return append(binary.AppendUvarint([]byte{id}, uint64(len(content))), content...)
}

// wasm joins the header and sections.
func wasm(parts ...[]byte) []byte { return append([]byte(header), bytes.Join(parts, nil)...) }

func name(s string) string { return string(rune(len(s))) + s }

var (
	types     = part(1, 1, 0x60, 0, 0)                                                         // func()
	functions = part(3, 1, 0)                                                                  // one, of that type
	memory    = part(5, 1, 0, 1)                                                               // one page
	exports   = part(7, []byte("\x02"+name("_start")+"\x00\x00"+name("memory")+"\x02\x00")...) // the least of a command
)

// code is the code section of one function without locals.
func code(body ...byte) []byte {
	body = append(append([]byte{0}, body...), 0x0b)
	return part(10, append(binary.AppendUvarint([]byte{1}, uint64(len(body))), body...)...)
}

// command is a module whose _start has the given body.
func command(body ...byte) []byte {
	return wasm(types, functions, memory, exports, code(body...))
}

// loopBody runs for ever.
var loopBody = []byte{0x03, 0x40, 0x0c, 0, 0x0b}
