package wasm

import (
	"context"
	"encoding/base64"
	"os"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/pool"
)

func BenchmarkInvoke(b *testing.B) {
	src, _ := os.ReadFile("../../migrations/seeds/rust-data_validator.wasm")
	e, err := Open(Options{})
	if err != nil { b.Fatal(err) }
	testrig.Serve(b, e.Serve)
	w := pool.Work{Script: faas.NewScript(faas.Rust, base64.StdEncoding.EncodeToString(src), []byte(`{"target":"wasm32-wasip1"}`))}
	t0 := time.Now()
	if err := e.Load(context.Background(), w); err != nil { b.Fatal(err) }
	t1 := time.Now()
	res, err := e.Invoke(context.Background(), w, pool.Invocation{Deadline: time.Now().Add(time.Second*10), Params: in})
	b.Logf("load %v first %v %s %v", t1.Sub(t0), time.Since(t1), res.JSON, err)
	testrig.Eventually(b, "compiled", func() bool { e.mu.Lock(); defer e.mu.Unlock(); m, _ := e.modules.Peek(w.Script.Digest); return m.machine != nil })
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := e.Invoke(context.Background(), w, pool.Invocation{Deadline: time.Now().Add(time.Second*10), Params: in}); err != nil { b.Fatal(err) }
	}
}
