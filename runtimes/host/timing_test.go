package host

import (
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/pool"
)

// timed is a request of which a timing can be told.
func timed(t testing.TB, start string, told timing) *fasthttp.RequestCtx {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	c := &fasthttp.RequestCtx{}
	c.Init2(&conn{Conn: ours, timing: told}, nil, false)
	if start != "" {
		c.Request.Header.Set(startHeader, start)
	}
	return c
}

func TestAnnounce(t *testing.T) {
	arrived := time.Now()
	before := func(d time.Duration) string { return strconv.FormatInt(arrived.Add(-d).UnixMicro(), 10) }
	took := func(d time.Duration) timing { return timing{arrived: arrived, last: arrived.Add(d)} }
	invoked := took(2 * time.Millisecond)
	invoked.invoked, invoked.queue, invoked.function = true, 49*time.Microsecond, 1500*time.Microsecond
	made := invoked
	made.made, made.load = true, 300*time.Microsecond
	for _, test := range []struct {
		name, start string
		timing      timing
		want        string
	}{
		{"nothing timed", before(time.Second), took(0), ""},
		{"only the host", "", took(1234567 * time.Nanosecond), "host;dur=1.235"},
		{"Envoy", before(12 * time.Second), took(time.Second), "proxy;dur=12000.000, host;dur=1000.000"},
		{"a call", before(0), invoked, "proxy;dur=0.000, host;dur=0.451, queue;dur=0.049, function;dur=1.500"},
		{"a one-shot", "", made, "host;dur=0.151, load;dur=0.300, queue;dur=0.049, function;dur=1.500"},
		{"a clock that is ahead", before(-time.Microsecond), took(time.Second), "host;dur=1000.000"},
		{"a clock that is behind", before(maxProxy + time.Microsecond), took(time.Second), "host;dur=1000.000"},
		{"no clock at all", "-9223372036854775808", took(time.Second), "host;dur=1000.000"},
		{"no number", "now", took(time.Second), "host;dur=1000.000"},
	} {
		c := timed(t, test.start, test.timing)
		timingOf(c).announce(c)
		if got := string(c.Response.Header.Peek(timingHeader)); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// BenchmarkAnnounce is what the header costs a request, but for its way over the socket.
func BenchmarkAnnounce(b *testing.B) {
	arrived := time.Now()
	told := timing{arrived: arrived, last: arrived.Add(time.Millisecond), invoked: true, function: 123456}
	c := timed(b, strconv.FormatInt(arrived.UnixMicro()-210, 10), told)
	b.ReportAllocs()
	for b.Loop() {
		c.Response.Header.Reset()
		told.announce(c)
	}
}

func TestServerTiming(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "timing", faas.Function{Script: javaScriptOf(
		`return {statusCode: 200, headers: {'Server-Timing': 'db;dur=1.5'}}`)})
	const (
		called  = "proxy host queue function"
		oneShot = `{"script_content":"if (params) throw 1; return 1"`
	)
	execute := executePath + "/" + string(r.initialize(t, `if (params) throw new Error('no'); return 1`))
	for _, test := range []struct {
		name, path, body string
		status           int
		want             string
	}{
		{"initialize", initializePath, oneShot + `}`, 200, "proxy host load"},
		{"initialize of bad code", initializePath, `{"script_content":"("}`, 422, "proxy host load"},
		{"execute", execute, ``, 200, called},
		{"execute that throws", execute, `{"params":1}`, 500, called},
		{"execute of no session", executePath + "/" + string(key.NewID(faas.NodeJS, true)), ``, 404, "proxy host"},
		{"execute of no JSON", execute, `{`, 400, "proxy host"},
		{"one-shot", executePath, oneShot + `}`, 200, "proxy host load queue function"},
		{"one-shot that throws", executePath, oneShot + `,"params":1}`, 500, "proxy host load queue function"},
		{"one-shot past its deadline", executePath, `{"script_content":"for(;;);","context":{"timeout_ms":500}}`, 504, "proxy host load queue function"},
		{"by path", "/runtime/nodejs/timing", ``, 200, called},
		{"by path, not registered", "/runtime/nodejs/nobody", ``, 404, "proxy host"},
		{"plain HTTP", functionPath + "nodejs-timing", ``, 200, called},
	} {
		t.Run(test.name, func(t *testing.T) {
			start := time.Now()
			response := r.plain(t, http.MethodPost, test.path, test.body, startHeader+": "+strconv.FormatInt(start.UnixMicro(), 10),
				"Language-Title: nodejs-timing", sessionHeader+": "+string(key.NewID(faas.NodeJS, true)))
			took := time.Since(start)
			if response.StatusCode != test.status {
				t.Errorf("%d %s", response.StatusCode, bodyOf(response))
			}
			names, sum := testrig.ServerTiming(t, response.Header)
			if names != test.want || sum == 0 || sum > took {
				t.Errorf("%s: %v of %v; want %s", names, sum, took, test.want)
			}
		})
	}
	response := r.plain(t, http.MethodGet, functionPath+"nodejs-timing", "")
	got := response.Header.Values(timingHeader)
	if len(got) != 2 || got[0] != "db;dur=1.5" {
		t.Errorf("a function's own is not kept: %q", got)
	}
}
