package wasm

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/fault"
	"envoke/runtimes/pool"
)

// Go never decodes a result: its bytes come through as they are.
func TestBytesSurvive(t *testing.T) {
	e, w := serve(t, Options{}), probe(t)
	for _, params := range []string{
		`123456789012345678901234567890`, `1e400`, `-0`, `{"a":1,"a":2}`, `"\ud800"`, `"` + strings.Repeat("é", 1<<20) + `"`,
		strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
	} {
		result, err := e.Invoke(t.Context(), w, pool.Invocation{Deadline: time.Now().Add(10 * time.Second), Params: []byte(params)})
		if err != nil {
			t.Fatalf("%.50s: %v", params, err)
		}
		if string(result.JSON) != params {
			t.Errorf("%.50s came back as %.50s", params, result.JSON)
		}
		if result.Duration <= 0 || result.MemoryBytes < 1<<20 {
			t.Errorf("%.50s: %v, %d bytes", params, result.Duration, result.MemoryBytes)
		}
	}
}

func TestParallel(t *testing.T) {
	e, w := serve(t, Options{Concurrency: 50}), probe(t)
	var wait sync.WaitGroup
	for i := range 300 {
		wait.Go(func() {
			params := fmt.Sprintf(`{"call":%d}`, i)
			result, err := e.Invoke(t.Context(), w, pool.Invocation{Deadline: time.Now().Add(20 * time.Second), Params: []byte(params)})
			if err != nil || string(result.JSON) != params {
				t.Errorf("%s: %s, %v", params, result.JSON, err)
			}
		})
	}
	wait.Wait()
}

// What the interpreter cannot do is no failure of the function.
func TestMachineCodeHasTheLastWord(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	e, w := serve(t, Options{Registerer: registry}), probe(t)
	result, err := invoke(t, e, w, "recurse 5000") // its stack has 2000 frames
	if err != nil || string(result.JSON) != "5000" {
		t.Fatalf("%s, %v", result.JSON, err)
	}
	if got := testutil.ToFloat64(e.metrics.reruns); got != 1 {
		t.Errorf("%v calls were run again, want 1", got)
	}
}

// A module that is called once is not worth machine code, unless it takes long; one
// that is called again is.
func TestHotModulesAreCompiled(t *testing.T) {
	e := serve(t, Options{})
	for padding, calls := range []int{1, 2} {
		w := pool.Work{Script: script(append(command(), part(0, 1, 'n', byte(padding))...))}
		m, err := e.find(t.Context(), w.Script)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for range calls {
			_, err := invoke(t, e, w, "")
			_ = wantFault(t, err, faas.RuntimeError) // it prints nothing
		}
		if calls > 1 {
			testrig.Eventually(t, "it is compiled", func() bool { return e.hasMachineCode(m) })
		} else if started := isStarted(m); time.Since(begun) < slow && started {
			t.Error("it is compiled after one short call")
		}
	}
}

func isStarted(m *module) bool {
	started := true
	m.compile.Do(func() { started = false })
	return started
}

func TestDeadline(t *testing.T) {
	const timeout = 200 * time.Millisecond
	startLoops := wasm(types, functions, memory, exports, part(8, 0), code(loopBody...))
	works := map[string]struct {
		script  faas.Script
		context string
	}{
		"loop":         {probe(t).Script, "loop"},
		"bare loop":    {script(command(loopBody...)), ""},
		"sleep":        {probe(t).Script, "sleep 5000"},
		"many outputs": {probe(t).Script, "log-much 100000000"},
	}
	for name, work := range works {
		t.Run(name, func(t *testing.T) {
			e := serve(t, Options{})
			awaitMachineCode(t, e, work.script)
			started := time.Now()
			_, err := e.Invoke(t.Context(), pool.Work{Script: work.script}, pool.Invocation{
				Deadline: started.Add(timeout), Timeout: timeout, Context: do(work.context),
			})
			if diff := cmp.Diff(fault.Timeout(timeout), wantFault(t, err, faas.Timeout)); diff != "" {
				t.Error(diff)
			}
			// A few milliseconds, on a machine that does nothing else.
			if late := time.Since(started) - timeout; late > 500*time.Millisecond {
				t.Errorf("answered %v after the deadline", late)
			}
		})
	}
	t.Run("while it is interpreted", func(t *testing.T) {
		e := serve(t, Options{})
		e.compilers <- struct{}{} // nothing is compiled
		defer func() { <-e.compilers }()
		_, err := e.Invoke(t.Context(), probe(t), pool.Invocation{Deadline: time.Now().Add(timeout), Context: do("loop")})
		_ = wantFault(t, err, faas.Timeout)
	})
	t.Run("in a start section", func(t *testing.T) {
		e := serve(t, Options{CompileTimeout: timeout})
		_, err := e.Check(t.Context(), script(startLoops))
		_ = wantFault(t, err, faas.InitializationError)
	})
}

func TestCallerGoesAway(t *testing.T) {
	e, w := serve(t, Options{}), probe(t)
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error)
	go func() {
		_, err := e.Invoke(ctx, w, pool.Invocation{Deadline: time.Now().Add(time.Minute), Context: do("loop")})
		answer <- err
	}()
	testrig.Eventually(t, "it runs", func() bool { return e.Stats().Calls == 1 })
	cancel()
	_ = wantFault(t, <-answer, faas.Unavailable)
	if got := e.Stats().Calls; got != 0 {
		t.Errorf("%d calls are left", got)
	}
}

func TestMemoryLimit(t *testing.T) {
	e, w := serve(t, Options{MaxMemory: 64 << 20}), probe(t)
	small := pool.Work{Script: faas.NewScript(faas.Rust, w.Script.Source, []byte(`{"target":"wasm32-wasip1","memory_limit_mb":8}`))}
	function := w
	function.MemoryMB = 16
	for range 3 { // a limit that was met leaves nothing behind
		for _, c := range []struct {
			work    pool.Work
			megs    int
			limitMB int // that is hit; 0: none
		}{{w, 20, 0}, {w, 100, 64}, {small, 4, 0}, {small, 20, 8}, {function, 4, 0}, {function, 20, 16}} {
			result, err := invoke(t, e, c.work, fmt.Sprintf("allocate %d", c.megs))
			switch {
			case c.limitMB > 0:
				if diff := cmp.Diff(fault.OutOfMemory(c.limitMB), wantFault(t, err, faas.ResourceExhausted)); diff != "" {
					t.Error(diff)
				}
			case err != nil || result.MemoryBytes < int64(c.megs)<<20:
				t.Errorf("%d MiB: %+v, %v", c.megs, result, err)
			}
		}
	}
}

// Memory that was lent before is as good as new.
func TestMemoryIsCleared(t *testing.T) {
	m := memories{size: 64 << 20}
	defer m.close()
	for _, size := range []uint64{1 << pageBits, clearUpTo, clearUpTo + 1<<pageBits, 64 << 20} {
		first, err := m.take(64 << 20)
		if err != nil {
			t.Fatal(err)
		}
		for i, bytes := 0, first.Reallocate(size); i < len(bytes); i += 1000 {
			bytes[i] = 1
		}
		first.Reallocate(1 << pageBits)
		m.give(first)
		second, err := m.take(64 << 20)
		if err != nil {
			t.Fatal(err)
		}
		if &first.bytes[0] != &second.bytes[0] {
			t.Error("it is another memory")
		}
		for i, b := range second.Reallocate(size) {
			if b != 0 {
				t.Fatalf("%d bytes: byte %d is left", size, i)
			}
		}
		m.give(second)
	}
}

func TestQueue(t *testing.T) {
	e, w := serve(t, Options{Concurrency: 1, Queue: 1}), probe(t)
	awaitMachineCode(t, e, w.Script)
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() {
		_, _ = e.Invoke(ctx, w, pool.Invocation{Deadline: time.Now().Add(time.Minute), Context: do("loop")})
	})
	testrig.Eventually(t, "one runs", func() bool { return e.Stats().Calls == 1 })
	wait.Go(func() {
		_, err := e.Invoke(t.Context(), w, pool.Invocation{Deadline: time.Now().Add(300 * time.Millisecond), Context: do("loop")})
		_ = wantFault(t, err, faas.Timeout)
	})
	testrig.Eventually(t, "one waits", func() bool { return e.Stats().Waiting == 1 })
	_, err := invoke(t, e, w, "echo")
	if diff := cmp.Diff(fault.Busy("too many calls of this runtime are waiting"), wantFault(t, err, faas.RateLimited)); diff != "" {
		t.Error(diff)
	}
	testrig.Eventually(t, "none waits", func() bool { return e.Stats().Waiting == 0 })
	cancel()
	wait.Wait()
	if _, err := invoke(t, e, w, "echo"); err != nil {
		t.Error(err)
	}
}

// A module that is put out of memory ends no call, and is loaded again when it is
// wanted.
func TestEviction(t *testing.T) {
	e, w := serve(t, Options{MaxModules: 1}), probe(t)
	awaitMachineCode(t, e, w.Script)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if result, err := invoke(t, e, w, "sleep 200"); err != nil || string(result.JSON) != "200" {
				t.Errorf("%s, %v", result.JSON, err)
			}
		})
	}
	testrig.Eventually(t, "they run", func() bool { return e.Stats().Calls == 4 })
	if _, err := e.Check(t.Context(), script(command())); err != nil {
		t.Fatal(err)
	}
	if got := e.Stats().Loaded; got != 1 {
		t.Errorf("%d modules are held", got)
	}
	wait.Wait()
	if _, err := invoke(t, e, w, "echo"); err != nil {
		t.Error(err)
	}
}

// A crowd of modules that do not fit together runs all the same: one that is put out of memory
// while it is loaded, or before its call, is there for those who wait for it.
func TestCrowd(t *testing.T) {
	for name, opt := range map[string]Options{"count": {MaxModules: 2}, "bytes": {MaxBytes: 1}} {
		t.Run(name, func(t *testing.T) {
			e := serve(t, opt)
			raw, err := base64.StdEncoding.DecodeString(probe(t).Script.Source)
			if err != nil {
				t.Fatal(err)
			}
			var crowd sync.WaitGroup
			for n := range 60 {
				w := pool.Work{Script: script(append(bytes.Clone(raw), part(0, 1, 'x', byte(n))...))} // a section that means nothing
				for range 2 {
					crowd.Go(func() {
						if err := e.Load(t.Context(), w); err != nil {
							t.Errorf("load %d: %v", n, err)
						}
						if result, err := invoke(t, e, w, "sleep 1"); err != nil || string(result.JSON) != "1" {
							t.Errorf("%d: %s, %v", n, result.JSON, err)
						}
					})
				}
			}
			crowd.Wait()
			if got := e.Stats(); got.Loaded > 2 || got.Starting != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestBytesAreBounded(t *testing.T) {
	e := serve(t, Options{MaxBytes: 100 << 10})
	for i := range 3 {
		data := binary.AppendUvarint([]byte{1, 1}, uint64(60<<10+i)) // one passive segment
		padding := part(11, append(data, make([]byte, 60<<10+i)...)...)
		if _, err := e.Check(t.Context(), script(append(command(), padding...))); err != nil {
			t.Fatal(err)
		}
	}
	if got := e.Stats().Loaded; got != 1 {
		t.Errorf("%d modules of 60 KiB are held in 100 KiB", got)
	}
}

func TestServeEndsCalls(t *testing.T) {
	e, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- e.Serve(ctx) }()
	answers := make(chan error, 2)
	for _, command := range []string{"loop", "sleep 60000"} {
		go func() {
			_, err := e.Invoke(t.Context(), probe(t), pool.Invocation{Deadline: time.Now().Add(time.Minute), Context: do(command)})
			answers <- err
		}()
	}
	testrig.Eventually(t, "they run", func() bool { return e.Stats().Calls == 2 })
	cancel()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	_, late := invoke(t, e, probe(t), "echo")
	for _, err := range []error{<-answers, <-answers, late} {
		if wantFault(t, err, faas.Unavailable).Message != fault.Stopping.Message {
			t.Error(err)
		}
	}
}

func TestLogsAreBounded(t *testing.T) {
	var l lines
	e := serve(t, Options{Log: l.add})
	_, err := invoke(t, e, probe(t), "log-much 20000") // lines of 100 bytes
	f := wantFault(t, err, faas.RuntimeError)
	if !strings.Contains(f.Message, "at the end") || len(f.Message) > fault.MaxMessage {
		t.Errorf("%d bytes of message: %.100s", len(f.Message), f.Message)
	}
	all := l.all()
	if got, want := len(all), pool.MaxLogged/100+2; got != want { // one cut off, one about the rest
		t.Errorf("%d lines, want %d", got, want)
	}
	if last := all[len(all)-1].Text; !strings.HasSuffix(last, " more bytes were printed, and dropped") {
		t.Errorf("the last line is %.100q", last)
	}
	if all[0].RequestID != "r" || all[0].Owner != "somebody" || all[0].Digest != probe(t).Script.Digest {
		t.Errorf("the first line is %+v", all[0])
	}
}

func TestMachineCodeOutlivesTheEngine(t *testing.T) {
	dir, w := t.TempDir(), probe(t)
	var files []string
	for range 2 {
		t.Run("engine", func(t *testing.T) {
			awaitMachineCode(t, serve(t, Options{CacheDir: dir}), w.Script)
		})
		found, err := filepath.Glob(dir + "/*/*")
		if err != nil || len(found) != 1 {
			t.Fatalf("%v, %v", found, err)
		}
		files = found
	}
	// What is broken on the disk is not used, and not needed.
	if err := os.WriteFile(files[0], []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := serve(t, Options{CacheDir: dir})
	awaitMachineCode(t, e, w.Script)
	if _, err := invoke(t, e, w, "echo"); err != nil {
		t.Error(err)
	}
}
