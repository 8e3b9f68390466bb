package wasm

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"envoke/internal/faas"
	"envoke/runtimes/pool"
)

var benchParams = []byte(`{"data":{"name":"Ada","age":36},"rules":{"name":{"required":true,"type":"string"},"age":{"min":18}}}`)

// BenchmarkInvoke is a call of the seed, from the engine's door to its result.
func BenchmarkInvoke(b *testing.B) {
	e, w := serve(b, Options{}), pool.Work{Script: validator(b).Script}
	awaitMachineCode(b, e, w.Script)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Invoke(b.Context(), w, pool.Invocation{Deadline: time.Now().Add(10 * time.Second), Params: benchParams}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBare is the same with wazero alone, and no deadline: what BenchmarkInvoke is
// compared with.
func BenchmarkBare(b *testing.B) {
	ctx := b.Context()
	runtime := wazero.NewRuntime(ctx)
	defer func() { _ = runtime.Close(ctx) }()
	wasi_snapshot_preview1.MustInstantiate(ctx, runtime)
	source, err := base64.StdEncoding.DecodeString(validator(b).Script.Source)
	if err != nil {
		b.Fatal(err)
	}
	compiled, err := runtime.CompileModule(ctx, source)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var out bytes.Buffer
		instance, err := runtime.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName("").WithArgs("function").
			WithStdin(bytes.NewReader(benchParams)).WithStdout(&out).WithEnv("ENVOKE_CONTEXT", "{}").
			WithSysWalltime().WithSysNanotime().WithRandSource(rand.Reader))
		if err != nil || !json.Valid(out.Bytes()) {
			b.Fatal(err, out.String())
		}
		_ = instance.Close(ctx)
	}
}

// BenchmarkCold is the first call of a module of 93 kB that nobody has seen before.
// Machine code is not waited for, but it is made meanwhile.
func BenchmarkCold(b *testing.B) {
	e := serve(b, Options{CacheDir: b.TempDir()})
	module, err := base64.StdEncoding.DecodeString(validator(b).Script.Source)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		unseen := append(bytes.Clone(module), part(0, 1, 'n', byte(i>>16), byte(i>>8), byte(i))...)
		w := pool.Work{Script: faas.NewScript(faas.Rust, base64.StdEncoding.EncodeToString(unseen), targetOption)}
		b.StartTimer()
		if _, err := e.Invoke(b.Context(), w, pool.Invocation{Deadline: time.Now().Add(10 * time.Second), Params: benchParams}); err != nil {
			b.Fatal(err)
		}
	}
}
