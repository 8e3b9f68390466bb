package pool

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkInvoke echoes a small event through one worker, with as many callers as
// named. What it allocates is the price of the hot path.
func BenchmarkInvoke(b *testing.B) {
	for _, callers := range []int{1, 32} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			p := serve(b, Options{Idle: 1})
			bench := work("bench")
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
		})
	}
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
