package pool

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkInvoke echoes a small event, with as many callers as named: through one
// worker of the tests' own, whose allocations are the price of the hot path, and through
// Python's, one call at a time in each or all in one.
func BenchmarkInvoke(b *testing.B) {
	benchmarks := []struct {
		name, source string
		runtime      func(testing.TB) Runtime
	}{
		{"test", "bench", testRuntime},
		{"serial", "def handle(params): return params", Python},
		{"async", "async def handle(params): return params", Python},
	}
	for _, bench := range benchmarks {
		for _, callers := range []int{1, 32} {
			b.Run(fmt.Sprint(bench.name, "/", callers), func(b *testing.B) {
				p := serve(b, Options{Runtime: bench.runtime(b), Idle: 1})
				benchmarkInvoke(b, p, work(bench.source), callers)
			})
		}
	}
}

func benchmarkInvoke(b *testing.B, p *Pool, bench Work, callers int) {
	if err := p.Load(b.Context(), bench); err != nil {
		b.Fatal(err)
	}
	params := []byte(`{"a":1,"b":2}`)
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism((callers + 1) / 2)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		if next.Add(1) > int64(callers) {
			return
		}
		for pb.Next() {
			inv := Invocation{RequestID: "r", Deadline: time.Now().Add(time.Minute), Params: params}
			if _, err := p.Invoke(b.Context(), bench, inv); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkColdStart runs new code in a process of its own, with a ready worker.
func BenchmarkColdStart(b *testing.B) {
	p := serve(b, Options{Idle: 2})
	for i := range b.N {
		inv := Invocation{Deadline: time.Now().Add(time.Minute)}
		if _, err := p.Invoke(b.Context(), work(fmt.Sprint("code ", i)), inv); err != nil {
			b.Fatal(err)
		}
	}
}
