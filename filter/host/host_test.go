package host_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/filter/host"
	"envoke/filter/hosttest"
	"envoke/internal/envoytest"
)

// TestABI sees every call of a compiled filter arrive, and its answers.
func TestABI(t *testing.T) {
	filter := hosttest.Load(t, envoytest.Wasm(t, "testdata/every"))
	// The body does not fit into the arena.
	body := "head" + strings.Repeat("x", 1<<20) + "tail"
	envoy := &host.Fake{
		Request: host.FakeMessage{
			Headers: [][2]string{{":path", "/"}, {"x-one", "1"}, {"x-empty", ""}, {"x-one", "2"}},
			Body:    []byte(body),
		},
		Response:   host.FakeMessage{Headers: [][2]string{{":status", "200"}}},
		Config:     []byte("a setting"),
		Time:       time.Unix(0, int64(time.Hour+time.Millisecond)),
		Shared:     map[string]host.Shared{"mine": {Value: "0", Version: 7}},
		Properties: map[string]string{"source\x00address": "127.0.0.1:9"},
	}
	host.Use(envoy)
	for _, call := range []struct {
		name   string
		params []uint64
		want   uint64
	}{
		{"proxy_on_configure", []uint64{1, 9}, 1},
		{"proxy_on_request_headers", []uint64{2, 4, 0}, uint64(host.Continue)},
		{"proxy_on_request_body", []uint64{2, uint64(len(body)), 1}, uint64(host.Pause)},
		{"proxy_on_response_headers", []uint64{2, 1, 0}, uint64(host.Pause)},
	} {
		if got := filter.Call(call.name, call.params...); got != call.want {
			t.Errorf("%s returns %d", call.name, got)
		}
	}
	shared := make(map[string]string)
	for key, value := range envoy.Shared {
		shared[key] = value.Value
	}
	envoy.Request.Body, envoy.Shared = nil, nil
	pairs := host.NewPairs(":path", "/", "x-one", "1", "x-empty", "", "x-one", "2")
	for _, tt := range []struct {
		name      string
		want, got any
	}{
		{"answers", map[string]string{
			"config": "a setting", "header": "1,2", "empty": "", "none is nil": "yes", "empty is not nil": "yes",
			"pairs": string(pairs), "set": "yes", "add": "yes", "remove": "yes", "begin": "head", "end": "tail",
			"beyond": "", "property": "127.0.0.1:9", "set property": "yes", "time": "01:00:00.001",
			"current version": "yes", "old version": "no", "mine": "6", "respond": "yes",
		}, shared},
		{"request", [][2]string{{":path", "/"}, {"x-one", "3"}, {"x-one", "4"}}, envoy.Request.Headers},
		{"response", [][2]string{{":status", "200"}, {"x-seen", "200"}}, envoy.Response.Headers},
		{"properties", map[string]string{"source\x00address": "127.0.0.1:9", "mine": "5"}, envoy.Properties},
		{"counters", map[string]int64{"hits": 3}, envoy.Counters},
		{"log", []string{"a line"}, envoy.Log},
		{"local response", &host.LocalResponse{
			Status: 418, Details: "why", Headers: [][2]string{{"x-a", "1"}, {"x-b", ""}}, Body: "tea",
		}, envoy.Local},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestMemory holds how long an answer is valid: to the end of its callback, however
// much is read in it.
func TestMemory(t *testing.T) {
	host.Use(&host.Fake{
		Request:  host.FakeMessage{Body: bytes.Repeat([]byte("a"), 40<<10)},
		Response: host.FakeMessage{Body: bytes.Repeat([]byte("b"), 40<<10)},
	})
	first, second := host.Request.Body(1<<20), host.Response.Body(1<<20) // more than the arena
	if bytes.Count(first, []byte("a")) != 40<<10 || bytes.Count(second, []byte("b")) != 40<<10 {
		t.Error("one answer lies upon the other")
	}
	host.Begin()
	first, second = host.Request.Body(1), host.Response.Body(1)
	if _ = append(first, 'c'); second[0] != 'b' {
		t.Error("appending to an answer writes into the next")
	}
	host.Begin()
	if host.Response.Body(1); first[0] != 'b' {
		t.Error("memory is not used again in the next callback")
	}
}

func TestNoAllocation(t *testing.T) {
	host.Use(&host.Fake{Config: []byte("x")})
	if n := testing.AllocsPerRun(100, func() {
		host.Begin()
		host.Config()
	}); n > 1 { // the fake's own
		t.Errorf("%v allocations for an answer", n)
	}
}

// FuzzPairs holds that what is laid out is found again, one more pair included.
func FuzzPairs(f *testing.F) {
	f.Add("a", "b", "", "")
	f.Add("x-one", "", "x-two", "\x00")
	f.Fuzz(func(t *testing.T, name, value, name2, value2 string) {
		want := []string{name, value, name2, value2, "age", "1"}
		for _, p := range []host.Pairs{
			host.NewPairs(want...),
			host.NewPairs(want[:4]...).With("age", "1"),
		} {
			var got []string
			for c := p.Cursor(); c.Next(); {
				got = append(got, string(c.Name), string(c.Value))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			if string(p.Find(name)) != value {
				t.Errorf("the value of %q is %q", name, p.Find(name))
			}
		}
	})
}

// TestNoPairs: nothing is no pairs.
func TestNoPairs(t *testing.T) {
	if c := host.Pairs(nil).Cursor(); c.Next() {
		t.Error("there is a pair")
	}
	if host.NewPairs("a", "b").Find("c") != nil {
		t.Error("what is not there is found")
	}
	if got := host.Pairs(nil).With("a", "b").Find("a"); string(got) != "b" {
		t.Errorf("the first pair is %q", got)
	}
}
