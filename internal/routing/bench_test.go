package routing

import (
	"fmt"
	"strings"
	"testing"
)

// manyRoutes is a declaration of so many routes to as many upstreams.
func manyRoutes(n int) []byte {
	var b strings.Builder
	b.WriteString("upstreams:\n")
	for i := range n {
		fmt.Fprintf(&b, "- name: u%d\n  endpoints:\n  - {host: 10.0.%d.%d, port: 8080}\n", i, i/250, i%250)
	}
	b.WriteString("routes:\n")
	for i := range n {
		fmt.Fprintf(&b, "- name: r%d\n  hostnames: [h%d.example.com]\n  rules:\n  - matches:\n    - path: {type: PathPrefix, value: /a%d}\n      method: GET\n      headers: [{name: x-tenant, value: t%d}]\n    backendRefs: [{name: u%d}]\n    timeouts: {request: 10s}\n", i, i/10, i, i, i)
	}
	return []byte(b.String())
}

// BenchmarkParse reads and checks 10,000 routes and upstreams.
func BenchmarkParse(b *testing.B) {
	raw := manyRoutes(maxRoutes)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, faults := ParseAll(Checks{}, Text{Raw: raw}); len(faults) > 0 {
			b.Fatal(faults)
		}
	}
}

// BenchmarkDiff compares 10,000 routes and upstreams that are the same.
func BenchmarkDiff(b *testing.B) {
	one, _ := ParseAll(Checks{}, Text{Raw: manyRoutes(maxRoutes)})
	two, _ := ParseAll(Checks{}, Text{Raw: manyRoutes(maxRoutes)})
	for b.Loop() {
		if len(Diff(one, two)) > 0 {
			b.Fatal("they differ")
		}
	}
}

// BenchmarkMerge merges 10,000 routes and upstreams of one source.
func BenchmarkMerge(b *testing.B) {
	s := NewSources(func() {})
	declared, _ := ParseAll(Checks{}, Text{Raw: manyRoutes(maxRoutes)})
	s.Set(FromFile, declared, nil)
	for b.Loop() {
		s.Merged()
	}
}
