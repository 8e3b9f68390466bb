package wasm

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/conformance"
	"envoke/runtimes/pool"
)

// exported is an export section of memory and one function.
func exported(function string) []byte {
	return part(7, []byte("\x02"+name(function)+"\x00\x00"+name("memory")+"\x02\x00")...)
}

// imported is an import section of one thing.
func imported(module, field, kind string) []byte {
	return part(2, []byte("\x01"+name(module)+name(field)+kind)...)
}

func TestModulesThatAreRefused(t *testing.T) {
	valid, err := base64.StdEncoding.DecodeString(conformance.Module(t, "probe"))
	if err != nil {
		t.Fatal(err)
	}
	e := serve(t, Options{MaxMemory: 2 << 20, MaxModule: len(valid)})
	for name, c := range map[string]struct {
		wasm []byte
		want string
	}{
		"empty":              {nil, "this is no WebAssembly module"},
		"text":               {[]byte("(module)"), "this is no WebAssembly module"},
		"a component":        {[]byte(component + "\x00"), "this is a WebAssembly component: send a core module"},
		"another version":    {[]byte("\x00asm\x02\x00\x00\x00"), "this is WebAssembly of version 2"},
		"cut in a section":   {valid[:len(valid)/2], "the module is cut short"},
		"cut between two":    {[]byte(header), "the module exports no function _start"},
		"not valid":          {command(0x6a), "the module is not valid WebAssembly: "},
		"unknown import":     {wasm(types, imported("env", "now", "\x00\x00"), functions, memory, exports, code()), `the module imports the function "now" of "env"`},
		"not of WASI":        {wasm(types, imported("wasi_snapshot_preview1", "nope", "\x00\x00"), functions, memory, exports, code()), `the module imports the function "nope" of "wasi_snapshot_preview1"`},
		"another signature":  {wasm(types, imported("wasi_snapshot_preview1", "fd_write", "\x00\x00"), functions, memory, exports, code()), "the module imports fd_write with another signature"},
		"imported memory":    {wasm(types, imported("env", "memory", "\x02\x00\x01"), functions, exports, code()), `the module imports the memory "memory" of "env"`},
		"imported global":    {wasm(types, imported("env", "g", "\x03\x7f\x00"), functions, memory, exports, code()), "the module cannot be instantiated: module[env] not instantiated"},
		"a reactor":          {wasm(types, functions, memory, exported("_initialize"), code()), "the module is a WASI reactor"},
		"no _start":          {wasm(types, functions, memory, exported("main"), code()), "the module exports no function _start"},
		"_start with params": {wasm(part(1, 1, 0x60, 1, 0x7f, 0), functions, memory, exports, code()), "_start has parameters"},
		"no memory":          {wasm(types, functions, part(7, []byte("\x01\x06_start\x00\x00")...), code()), "the module exports no memory"},
		"too much memory":    {wasm(types, functions, part(5, 1, 0, 33), exports, code()), "the module needs 2162688 bytes of memory from the start: it may have 2097152"},
		"data outside":       {wasm(types, functions, memory, exports, code(), part(11, 1, 0, 0x41, 0x80, 0x80, 0x04, 0x0b, 1, 'x')), "the module cannot be instantiated: "},
		"a huge table":       {wasm(types, functions, part(4, 1, 0x70, 0, 0xff, 0xff, 0xff, 0x0f), memory, exports, code()), "the module has a table of more than 1048576 elements"},
		"many tables":        {wasm(types, functions, part(4, 9), memory, exports, code()), "the module has more than 8 tables"},
		"half a table":       {wasm(types, functions, part(4, 1, 0x70), memory, exports, code()), "the module has a table of a kind that is not known here"},
	} {
		_, err := e.Check(t.Context(), script(c.wasm))
		if f := wantFault(t, err, faas.InitializationError); !strings.HasPrefix(f.Message, c.want) {
			t.Errorf("%s: %s, want %s", name, f.Message, c.want)
		}
	}
	_, err = e.Check(t.Context(), script(append(slices.Clone(valid), part(0, 1, 'x')...)))
	_ = wantFault(t, err, faas.PayloadTooLarge)
	if got := e.Stats().Loaded; got != 0 {
		t.Errorf("%d of the refused modules are held", got)
	}
}

// What says that it has billions of something is refused before there is room made for
// them: Go could not be stopped from trying.
func TestCountsAreBounded(t *testing.T) {
	const most = "\xff\xff\xff\xff\x0f"
	e := serve(t, Options{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, section := range map[string][]byte{
		"types":                 part(1, []byte(most)...),
		"params":                part(1, []byte("\x01\x60"+most)...),
		"results":               part(1, []byte("\x01\x60\x00"+most)...),
		"imports":               part(2, []byte(most)...),
		"functions":             part(3, []byte(most)...),
		"memories":              part(5, []byte(most)...),
		"globals":               part(6, []byte(most)...),
		"exports":               part(7, []byte(most)...),
		"segments of elements":  part(9, []byte(most)...),
		"elements":              part(9, []byte("\x01\x00\x41\x00\x0b"+most)...),
		"passive elements":      part(9, []byte("\x01\x01\x00"+most)...),
		"elements, expressions": part(9, []byte("\x01\x05\x70"+most)...),
		"an endless expression": part(9, []byte("\x01\x00\x41\x80\x80\x80")...),
		"bodies":                part(10, []byte(most)...),
		"locals":                part(10, []byte("\x01\x08\x01"+most+"\x7f\x0b")...),
		"locals in two groups":  part(10, []byte("\x01\x09\x02\x90\x4e\x7f\x01\x7e\x0b")...),
		"bytes of a body":       part(10, []byte("\x01"+most)...),
		"segments of data":      part(11, []byte(most)...),
		"announced data":        part(12, []byte(most)...),
	} {
		_, err := e.Check(t.Context(), script(wasm(section)))
		if f := wantFault(t, err, faas.InitializationError); !strings.Contains(f.Message, "or has more in it than is taken here") {
			t.Errorf("%s: %s", name, f.Message)
		}
	}
	for name, section := range map[string][]byte{
		"a custom section's name": part(0, []byte(most)...),
		"names of functions":      part(0, []byte("\x04name\x01\x05"+most)...),
		"names of locals":         part(0, []byte("\x04name\x02\x07\x01\x00"+most)...),
		"a name's length":         part(0, []byte("\x04name\x01\x07\x01\x00"+most)...),
		"debugging information":   part(0, []byte("\x0b.debug_info"+most)...),
	} { // left out: it says nothing that is needed
		if _, err := e.Check(t.Context(), script(append(command(), section...))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	runtime.ReadMemStats(&after)
	if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 64 {
		t.Errorf("%d MiB were allocated", took)
	}
}

// A start section that does not end is code that does not load.
func TestEndlessStart(t *testing.T) {
	e := serve(t, Options{CompileTimeout: 200 * time.Millisecond})
	module := wasm(types, part(3, 2, 0, 0), memory, exports, part(8, 1),
		part(10, append([]byte{2, 2, 0, 0x0b, 7, 0}, append(loopBody, 0x0b)...)...))
	_, err := e.Check(t.Context(), script(module))
	if f := wantFault(t, err, faas.InitializationError); !strings.HasPrefix(f.Message, "the code did not load within 200 ms") {
		t.Error(f.Message)
	}
}

func TestOptions(t *testing.T) {
	e, module := serve(t, Options{NoBuilder: "no rustc"}), conformance.Module(t, "probe")
	for _, c := range []struct{ source, options, want string }{
		{"fn main() {}", ``, "Rust source cannot be compiled here: no rustc. Or send a ready module in base64"},
		{"fn main() {}", `{"target":null}`, "Rust source cannot be compiled here: no rustc"},
		{module, `{}`, "script_content is a WebAssembly module: say so"},
		{module, `{"target":"wasm32-wasip2"}`, `compile_options.target is "wasm32-wasip2": only wasm32-wasip1 runs here`},
		{module, `{"target":1}`, "compile_options.target must be a string"},
		{module, `{"target":"wasm32-wasip1","memory_limit_mb":0}`, "compile_options.memory_limit_mb must be a whole number from 1 to 128"},
		{module, `{"target":"wasm32-wasip1","memory_limit_mb":129}`, "compile_options.memory_limit_mb must be a whole number from 1 to 128"},
		{"%", string(targetOption), "script_content is no base64"},
		{module[:76] + "\r\n" + module[76:] + "\n", string(targetOption), ""}, // as base64(1) writes it
		{module, `{"target":"wasm32-wasip1","optimization_level":"release","features":[],"memory_limit_mb":2.0}`, ""},
	} {
		_, err := e.Check(t.Context(), faas.NewScript(faas.Rust, c.source, json.RawMessage(c.options)))
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.options, err)
			}
			continue
		}
		if f := wantFault(t, err, faas.InitializationError); !strings.HasPrefix(f.Message, c.want) {
			t.Errorf("%s: %s, want %s", c.options, f.Message, c.want)
		}
	}
}

// Without a bound, this table would grow to 32 GiB of the host's memory.
func TestTablesAreBounded(t *testing.T) {
	e := serve(t, Options{})
	grow := []byte{0xd0, 0x70, 0x41, 0x80, 0x80, 0xc0, 0x00, 0xfc, 0x0f, 0x00}                   // ref.null func, i32.const 2^20, table.grow
	growAndTrapOnSuccess := append(slices.Clone(grow), 0x41, 0x7f, 0x47, 0x04, 0x40, 0x00, 0x0b) // -1, ne, if, unreachable, end
	for _, c := range []struct {
		table []byte
		traps bool
	}{
		{[]byte{1, 0x70, 0, 0}, true}, // from nothing to the bound
		{[]byte{1, 0x70, 0, 1}, false},
		{[]byte{1, 0x70, 1, 1, 0x80, 0x80, 0x80, 0x80, 0x0f}, false},
		{[]byte{1, 0x70, 1, 1, 5}, false},
	} {
		w := pool.Work{Script: script(wasm(types, functions, part(4, c.table...), memory, exports, code(growAndTrapOnSuccess...)))}
		_, err := invoke(t, e, w, "")
		if kind := wantFault(t, err, faas.RuntimeError).Details["type"]; (kind == "Unreachable") != c.traps {
			t.Errorf("table %x: %v", c.table, err)
		}
	}
}

// The same trap is told in the same words by the interpreter and by machine code.
func TestTraps(t *testing.T) {
	for kind, body := range map[string][]byte{
		"Unreachable":        {0x00},
		"DivideByZero":       {0x41, 1, 0x41, 0, 0x6d, 0x1a},
		"IntegerOverflow":    {0x41, 0x80, 0x80, 0x80, 0x80, 0x78, 0x41, 0x7f, 0x6d, 0x1a},
		"OutOfBounds":        {0x41, 0x7f, 0x28, 2, 0, 0x1a},
		"StackOverflow":      {0x10, 0},
		"InvalidConversion":  {0x43, 0, 0, 0xc0, 0x7f, 0xa8, 0x1a},
		"InvalidTableAccess": {0x41, 5, 0x11, 0, 0},
	} {
		t.Run(kind, func(t *testing.T) {
			module := wasm(types, functions, part(4, 1, 0x70, 0, 1), memory, exports, code(body...))
			for _, wait := range []bool{false, true} {
				e := serve(t, Options{})
				if wait {
					awaitMachineCode(t, e, script(module))
				}
				_, err := invoke(t, e, pool.Work{Script: script(module)}, "")
				f := wantFault(t, err, faas.RuntimeError)
				if f.Details["type"] != kind || !strings.HasPrefix(f.Message, "the function trapped: ") {
					t.Errorf("machine code %v: %v %v", wait, f, f.Details)
				}
			}
		})
	}
}

// A caller sees nothing of what went wrong inside wazero: here, nsubscriptions * 48 is
// more than 32 bits hold, and wazero's poll_oneoff panics.
func TestHostPanicsAreNotShown(t *testing.T) {
	e := serve(t, Options{})
	module := wasm(
		part(1, 2, 0x60, 0, 0, 0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f),
		imported("wasi_snapshot_preview1", "poll_oneoff", "\x00\x01"), functions, memory,
		part(7, []byte("\x02"+name("_start")+"\x00\x01"+name("memory")+"\x02\x00")...),
		code(0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 0x80, 0x80, 0x01, 0x41, 0, 0x10, 0, 0x1a), // 2^28 subscriptions
	)
	_, err := invoke(t, e, pool.Work{Script: script(module)}, "")
	f := wantFault(t, err, faas.RuntimeError)
	if text := string(f.Body(faas.InRuntime, "r")); strings.Contains(text, "goroutine") || strings.Contains(text, ".go:") {
		t.Errorf("the caller sees %s", text)
	}
}

// FuzzLoad takes bytes for a module: whatever they are, an answer comes in time.
func FuzzLoad(f *testing.F) {
	f.Add(command())
	f.Add(command(loopBody...))
	f.Add(wasm(types, functions, part(4, 1, 0x70, 1, 1, 5), memory, exports, code(0x10, 0)))
	f.Add(wasm(types, functions, memory, exports, part(8, 0), code(0x41, 1, 0x41, 0, 0x6d, 0x1a)))
	f.Add([]byte(component))
	f.Add(part(4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
	e, err := Open(Options{MaxMemory: 1 << 20, MaxModules: 4, CompileTimeout: 2 * time.Second})
	if err != nil {
		f.Fatal(err)
	}
	testrig.Serve(f, e.Serve)
	f.Fuzz(func(t *testing.T, module []byte) {
		if bounded, err := bound(bytes.Clone(module)); err == nil {
			if again, err := bound(bounded); err != nil || !bytes.Equal(bounded, again) {
				t.Fatalf("%x becomes %x, then %x, %v", module, bounded, again, err)
			}
		}
		w := pool.Work{Script: script(module)}
		if _, err := e.Check(t.Context(), w.Script); err != nil {
			return
		}
		started := time.Now()
		_, err := e.Invoke(t.Context(), w, pool.Invocation{Deadline: started.Add(20 * time.Millisecond)})
		limit := time.Second
		if err != nil && strings.Contains(err.Error(), "stack overflow") {
			// Endless recursion looks at no clock until the stack is full, which takes
			// seconds under the race detector.
			limit = 10 * time.Second
		}
		if took := time.Since(started); took > limit {
			t.Errorf("%v, %v", took, err)
		}
	})
}
