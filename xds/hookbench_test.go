package xds

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"envoke/internal/routing"
)

// BenchmarkHook measures what a request hook adds to a route, with one connection: requests
// take turns, so that what else the machine does is in both.
func BenchmarkHook(b *testing.B) {
	r := newHookRig(b)
	r.register("guard", `module.exports = ({ params }) => params.headers['x-blocked'] ? { statusCode: 403 } : null`)
	r.declare(map[string]routing.Hooks{"/hooked": onRequest("nodejs-guard", routing.FailClosed), "/plain": {}})
	took := map[string][]time.Duration{}
	for _, path := range []string{"/plain", "/hooked"} {
		for range 300 {
			r.get(path)
		}
	}
	for b.Loop() {
		for _, path := range []string{"/plain", "/hooked"} {
			began := time.Now()
			if reply, err := r.send(http.MethodGet, path, ""); err != nil || reply.Status != http.StatusOK {
				b.Fatal(reply.Status, err)
			}
			took[path] = append(took[path], time.Since(began))
		}
	}
	p50 := func(path string) float64 {
		slices.Sort(took[path])
		return float64(took[path][len(took[path])/2].Microseconds())
	}
	b.ReportMetric(p50("/plain"), "plain-p50-µs")
	b.ReportMetric(p50("/hooked"), "hooked-p50-µs")
	b.ReportMetric(p50("/hooked")-p50("/plain"), "added-p50-µs")
}
