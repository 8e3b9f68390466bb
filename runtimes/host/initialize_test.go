package host

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/pool"
)

// parser is a host that can parse bodies and no more.
func parser() *Host {
	return &Host{Options: Options{Language: faas.NodeJS, MaxScript: testMaxScript, MaxMemoryMB: 128}}
}

func TestParse(t *testing.T) {
	type want struct {
		Script, Context, Options, Params string
		Timeout                          time.Duration
	}
	full := strings.Repeat("x", testMaxScript)
	tests := []struct {
		name, body string
		want       want
	}{
		{"nothing", ``, want{}},
		{"nulls", `{"script_content":null,"context":null,"compile_options":null,"params":null}`, want{Params: "null"}},
		{"unknown members", `{"code":1,"x":{"context":2}}`, want{}},
		{
			"all", `{"script_content":"return 1","context":{"user_id":"u"},"compile_options":{"target":"x"},"params":[1]}`,
			want{Script: "return 1", Context: `{"user_id":"u"}`, Options: `{"target":"x"}`, Params: `[1]`},
		},
		{"a script with escapes", `{"script_content":"a\n\"\u00e9\ud83d\ude00\ud800"}`, want{Script: "a\n\"é\U0001F600\uFFFD"}},
		{"a script as large as allowed", `{"script_content":"` + full + `"}`, want{Script: full}},
		{"the last script", `{"script_content":1,"script_content":"b"}`, want{Script: "b"}},
		{"numbers of the context", `{"context":{"n":12345678901234567890.10}}`, want{Context: `{"n":12345678901234567890.10}`}},
		{"options in the context", `{"context":{"compile_options":{"target":"x"}}}`, want{Context: `{"compile_options":{"target":"x"}}`, Options: `{"target":"x"}`}},
		{
			"options at the top win", `{"compile_options":{"target":"y"},"context":{"compile_options":{"target":"x"}}}`,
			want{Context: `{"compile_options":{"target":"x"}}`, Options: `{"target":"y"}`},
		},
		{"no session is retained", `{"context":{"retain_session":false}}`, want{Context: `{"retain_session":false}`}},
		{"timeout", `{"context":{"timeout_ms":1500}}`, want{Context: `{"timeout_ms":1500}`, Timeout: 1500 * time.Millisecond}},
		{"timeout with an exponent", `{"context":{"timeout_ms":1.5e3}}`, want{Context: `{"timeout_ms":1.5e3}`, Timeout: 1500 * time.Millisecond}},
		{"no timeout", `{"context":{"timeout_ms":null}}`, want{Context: `{"timeout_ms":null}`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var p post
			if err := parser().parse(&p, []byte(test.body)); err != nil {
				t.Fatal(err)
			}
			got := want{Context: string(p.context), Options: string(p.options), Params: string(p.params), Timeout: p.timeout}
			if p.script != nil {
				got.Script = *p.script
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const (
		milliseconds = "context.timeout_ms must be a number of milliseconds, from 1"
		memory       = "compile_options.memory_limit_mb must be a whole number from 1 to 128, the operator's limit"
	)
	tests := []struct {
		name, body string
		code       faas.Code
		want       string
	}{
		{"no object", `[]`, faas.InvalidRequest, `the body must be a JSON object, such as {"params":{}}`},
		{"script of another type", `{"script_content":["a"]}`, faas.InvalidRequest, "script_content must be a string"},
		{"empty script", `{"script_content":""}`, faas.InvalidRequest, "script_content is empty"},
		{"blank script", `{"script_content":" \n\u00a0"}`, faas.InvalidRequest, "script_content is empty"},
		{"large script", `{"script_content":"` + strings.Repeat("é", testMaxScript/2) + `x"}`, faas.PayloadTooLarge, "script_content is larger than 1024 bytes"},
		{"large context", `{"context":{"a":"` + strings.Repeat("x", MaxContext) + `"}}`, faas.PayloadTooLarge, "context is larger than 1048576 bytes"},
		{"context of another type", `{"context":"{}"}`, faas.InvalidRequest, "context must be an object"},
		{"options of another type", `{"compile_options":[]}`, faas.InvalidRequest, "compile_options must be an object"},
		{"inner options of another type", `{"context":{"compile_options":1}}`, faas.InvalidRequest, "context.compile_options must be an object"},
		{"too much memory", `{"compile_options":{"memory_limit_mb":129}}`, faas.InvalidRequest, memory},
		{"too much memory, in the context", `{"context":{"compile_options":{"memory_limit_mb":129}}}`, faas.InvalidRequest, "context." + memory},
		{"timeout of another type", `{"context":{"timeout_ms":"5"}}`, faas.InvalidRequest, milliseconds},
		{"timeout of nothing", `{"context":{"timeout_ms":0}}`, faas.InvalidRequest, milliseconds},
		{"timeout below one", `{"context":{"timeout_ms":0.5}}`, faas.InvalidRequest, milliseconds},
		{"negative timeout", `{"context":{"timeout_ms":-1}}`, faas.InvalidRequest, milliseconds},
		{"timeout beyond all bounds", `{"context":{"timeout_ms":1e999}}`, faas.InvalidRequest, milliseconds},
		{"misplaced timeout", `{"script_content":"return 1","timeout_ms":5}`, faas.InvalidRequest, `timeout_ms is read in the context only: {"context":{"timeout_ms":1000}}`},
		{"a function's network", `{"script_content":"return 1","network":"egress"}`, faas.InvalidRequest, "network is read in compile_options only, or of a registered function: POST /api/v1/functions"},
		{"a function's memory", `{"params":1,"memory_limit_mb":5,"schema":{}}`, faas.InvalidRequest, "memory_limit_mb is read in compile_options only, or of a registered function: POST /api/v1/functions"},
		{"a function's limit of a call", `{"cpu_limit_ms":5}`, faas.InvalidRequest, "cpu_limit_ms is read in the context only, or of a registered function: POST /api/v1/functions"},
		{"a function's cache", `{"script_content":"return 1","params":{},"cache_ttl_seconds":60}`, faas.InvalidRequest, "cache_ttl_seconds is no member here, only registered functions have it: POST /api/v1/functions"},
		{"a function's schema", `{"schema":null}`, faas.InvalidRequest, "schema is no member here, only registered functions have it: POST /api/v1/functions"},
		{"misspelt script", `{"script":"return 1"}`, faas.InvalidRequest, `the body has a member "script" but no "script_content": was that meant?`},
		{"retained session, of another kind", `{"context":{"retain_session":"yes"}}`, faas.InvalidRequest, "context.retain_session must be true or false"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := parser().parse(&post{}, []byte(test.body))
			wantCode(t, err, test.code)
			if diff := cmp.Diff(test.want, faas.AsError(err).Message); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What parse accepts is within the limits, and its own: the body's buffer is reused.
func FuzzInitializeBody(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"script_content":"return 1","context":{"timeout_ms":5,"compile_options":{}},"params":[1]}`,
		`{"context":{"timeout_ms":1e999}}`, `{"script_content":"\ud800"}`, `{"context":[],"context":{}}`, `{"compile_options":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		buffer := bytes.Clone(body)
		var p post
		if err := parser().parse(&p, buffer); err != nil {
			if code := faas.AsError(err).Code; code != faas.InvalidRequest && code != faas.PayloadTooLarge {
				t.Fatal(err)
			}
			return
		}
		clear(buffer)
		for _, object := range []json.RawMessage{p.context, p.options} {
			if object != nil && (!json.Valid(object) || object[0] != '{') {
				t.Errorf("%q is no object", object)
			}
		}
		if p.params != nil && !json.Valid(p.params) {
			t.Errorf("params are %q", p.params)
		}
		if p.script != nil && (len(*p.script) > testMaxScript || len(bytes.TrimSpace([]byte(*p.script))) == 0) {
			t.Errorf("the script is %q", *p.script)
		}
		if p.timeout < 0 || p.timeout > 0 && p.timeout < time.Millisecond {
			t.Errorf("the timeout is %v", p.timeout)
		}
	})
}

func TestTimeout(t *testing.T) {
	h := &Host{Options: Options{MaxTimeout: time.Minute}}
	for wanted, want := range map[time.Duration]time.Duration{
		0: DefaultTimeout, time.Millisecond: time.Millisecond, time.Minute: time.Minute, time.Hour: time.Minute,
	} {
		if got := h.timeout(wanted); got != want {
			t.Errorf("timeout(%v) = %v, want %v", wanted, got, want)
		}
	}
	h.MaxTimeout = time.Second
	if got := h.timeout(0); got != time.Second {
		t.Errorf("the default is %v, over the operator's limit", got)
	}
}

// A connection lives for many requests: none may leave anything in its context.
func TestConnectionsKeepNothingOfARequest(t *testing.T) {
	r := newRig(t, pool.Options{})
	connection := &countingContext{Context: t.Context(), end: make(chan struct{})}
	script := "return 1"
	for range 3 {
		p := post{
			id: key.NewID(faas.NodeJS, true), ref: faas.Ref{Name: faas.Name{Language: faas.NodeJS, Title: "left"}},
			script: &script, params: []byte("1"),
		}
		if _, err := r.open(connection, p, time.Now()); err != nil {
			t.Fatal(err)
		}
		p.id = key.NewID(faas.NodeJS, true)
		if _, err := r.openFor(connection, p, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	testrig.Eventually(t, "nothing waits for the connection's end", func() bool { return connection.waiting.Load() == 0 })
}

// countingContext does not end, and counts what waits for that.
type countingContext struct {
	context.Context //nolint:containedctx // it is one
	end             chan struct{}
	waiting         atomic.Int64
}

func (c *countingContext) Done() <-chan struct{} { return c.end }

// AfterFunc is what package context calls for all that ends with it.
func (c *countingContext) AfterFunc(func()) (stop func() bool) {
	c.waiting.Add(1)
	return sync.OnceValue(func() bool { c.waiting.Add(-1); return true })
}
