package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/frame"
)

// streaming are functions that do the same in each language. An endless one makes "x" a
// thousand times over, as often as it is asked, and logs how often that was.
type streaming struct {
	items, response, late, early, endless, slow, hangs, exits, large, nothing, shared string
}

var streamers = map[faas.Language]streaming{
	faas.NodeJS: {
		items:    "return (async function* () { yield 1; yield 'two'; yield { three: [3] }; yield Buffer.from([0, 255]); yield null })()",
		response: "return { statusCode: 201, headers: { a: 'b' }, body: ['x', 'y'].values() }",
		late:     "return (async function* () { yield 1;\nthrow new Error('late') })()",
		early:    "return (async function* () {\nthrow new Error('early') })()",
		endless:  "return (async function* () { let n = 0; try { for (;;) { n++; yield 'x'.repeat(1000) } } finally { console.log('made', n) } })()",
		slow:     "return (async function* () { for (let i = 0; i < 30; i++) { await new Promise(done => setTimeout(done, 100)); yield i } })()",
		hangs:    "return (function* () { yield 1; for (;;); })()",
		exits:    "return (async function* () { yield 1; process.exit(3) })()",
		large:    "return (function* () { yield 'x'.repeat(70000) })()",
		nothing:  "return (function* () {})()",
		shared:   "if (event.params) return event.params; return (async function* () { try { for (;;) yield 'x' } finally { console.log('closed') } })()",
	},
	faas.Python: {
		items:    "def handle(params):\n yield 1\n yield 'two'\n yield {'three': [3]}\n yield b'\\0\\xff'\n yield None",
		response: "result = {'statusCode': 201, 'headers': {'a': 'b'}, 'body': iter(['x', 'y'])}",
		late:     "async def handle(params):\n yield 1\n raise RuntimeError('late')",
		early:    "def handle(params):\n if True:\n  raise RuntimeError('early')\n yield 1",
		endless:  "def handle(params):\n n = 0\n try:\n  while True:\n   n += 1\n   yield 'x' * 1000\n finally:\n  print('made', n)",
		slow:     "import time\ndef handle(params):\n for i in range(30):\n  time.sleep(.1)\n  yield i",
		hangs:    "def handle(params):\n yield 1\n while True: pass",
		exits:    "import os\nasync def handle(params):\n yield 1\n os._exit(3)",
		large:    "result = iter(['x' * 70000])",
		nothing:  "result = iter([])",
		shared:   "async def handle(params):\n if params: return params\n return forever()\nasync def forever():\n try:\n  while True: yield 'x'\n finally:\n  print('closed')",
	},
	faas.Ruby: {
		items:    "Enumerator.new { |y| y << 1 << 'two' << { three: [3] } << \"\\x00\\xff\".b << nil }",
		response: "{ statusCode: 201, headers: { a: 'b' }, body: %w[x y].each }",
		late:     "Enumerator.new { |y| y << 1\nraise 'late' }",
		early:    "Enumerator.new { |y|\nraise 'early' }",
		endless:  "Enumerator.new { |y| n = 0; begin; loop { n += 1; y << 'x' * 1000 }; ensure puts \"made #{n}\"; end }",
		slow:     "(0...30).lazy.map { |i| sleep 0.1; i }",
		hangs:    "def handle(params)\n return enum_for(:handle, params) unless block_given?\n yield 1\n loop {}\nend",
		exits:    "Enumerator.new { |y| y << 1; exit!(3) }",
		large:    "['x' * 70000].each",
		nothing:  "[].each",
	},
}

// streamRig runs one language's streaming functions.
type streamRig struct {
	*Pool
	streaming
	language faas.Language

	mu     sync.Mutex
	logged []string
}

func eachStreamer(t *testing.T, opt Options, test func(*testing.T, *streamRig)) {
	for language, functions := range streamers {
		t.Run(string(language), func(t *testing.T) {
			own := opt
			own.Runtime, own.Idle = Runtimes[language](t), 1
			r := &streamRig{streaming: functions, language: language}
			own.Log = func(line LogLine) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.logged = append(r.logged, line.Text)
			}
			r.Pool = serve(t, own)
			test(t, r)
		})
	}
}

func (r *streamRig) work(source string) Work {
	return Work{Script: faas.NewScript(r.language, source, nil), Owner: "o"}
}

// open begins a stream.
func (r *streamRig) open(t *testing.T, source string, timeout time.Duration) *Stream {
	t.Helper()
	result, err := r.Invoke(t.Context(), r.work(source), within(timeout, Invocation{Stream: true}))
	if err != nil || result.Stream == nil {
		t.Fatalf("%+v, %v", result, err)
	}
	t.Cleanup(result.Stream.Close)
	return result.Stream
}

// rest reads a stream to its end.
func rest(ctx context.Context, s *Stream) (texts []string, err error) {
	for {
		parts, err := s.Next(ctx)
		if err != nil {
			return texts, err
		}
		for _, part := range parts {
			texts = append(texts, fmt.Sprintf("%d%s", part.Kind, part.Data))
		}
	}
}

func (r *streamRig) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.logged, "\n")
}

func TestStream(t *testing.T) {
	eachStreamer(t, Options{}, func(t *testing.T, r *streamRig) {
		s := r.open(t, r.items, 10*time.Second)
		got, err := rest(t.Context(), s)
		want := []string{"01", `0"two"`, `0{"three":[3]}`, "1\x00\xff", "0null"}
		if diff := cmp.Diff(want, got); diff != "" || !errors.Is(err, io.EOF) || string(s.Head) != "null" {
			t.Errorf("%s, %v, head %s", diff, err, s.Head)
		}
		if m := s.Measures(); m.Duration <= 0 || m.MemoryBytes <= 0 {
			t.Errorf("measures %+v", m)
		}
		s = r.open(t, r.response, 10*time.Second)
		got, err = rest(t.Context(), s)
		if diff := cmp.Diff([]string{`0"x"`, `0"y"`}, got); diff != "" || string(s.Head) != `{"statusCode":201,"headers":{"a":"b"}}` {
			t.Errorf("%s, %v, head %s", diff, err, s.Head)
		}
		if got := r.Stats().Calls; got != 0 {
			t.Errorf("%d calls are under way after the end", got)
		}
	})
}

// Whoever takes no stream gets one value.
func TestStreamIsCollected(t *testing.T) {
	eachStreamer(t, Options{}, func(t *testing.T, r *streamRig) {
		for source, want := range map[string]string{
			r.items:    `[1,"two",{"three":[3]},"AP8=",null]`,
			r.response: `{"statusCode":201,"headers":{"a":"b"},"body":["x","y"]}`,
			r.nothing:  `[]`,
		} {
			result, err := r.Invoke(t.Context(), r.work(source), within(10*time.Second, Invocation{}))
			if err != nil || string(result.JSON) != want || result.Duration <= 0 {
				t.Errorf("%s: %s, %v, %v", source, result.JSON, result.Duration, err)
			}
		}
		_, err := r.Invoke(t.Context(), r.work(r.endless), within(10*time.Second, Invocation{}))
		if e := faas.AsError(err); e.Code != faas.ResourceExhausted || e.Details["limit"] != "output" {
			t.Errorf("an endless one: %v", err)
		}
	})
}

func TestStreamFails(t *testing.T) {
	eachStreamer(t, Options{MaxResult: 64 << 10}, func(t *testing.T, r *streamRig) {
		for _, tt := range []struct {
			source, want string
			code         faas.Code
			parts        int
			timeout      time.Duration
		}{
			{r.late, "late", faas.RuntimeError, 1, 10 * time.Second},
			{r.early, "early", faas.RuntimeError, 0, 10 * time.Second},
			{r.exits, "exit code 3", faas.RuntimeError, 1, 10 * time.Second},
			{r.large, "larger than 65536 bytes", faas.ResourceExhausted, 0, 10 * time.Second},
			{r.hangs, "did not answer within 2000 ms", faas.Timeout, 1, 2 * time.Second},
		} {
			parts, err := rest(t.Context(), r.open(t, tt.source, tt.timeout))
			e := faas.AsError(err)
			if len(parts) != tt.parts || e.Code != tt.code || !strings.Contains(e.Message, tt.want) {
				t.Errorf("%s: %d parts, %v", tt.source, len(parts), err)
			}
			if line := e.Details["line"]; tt.want == "late" && line == nil {
				t.Errorf("%s: no line in %v", tt.source, e.Details)
			}
		}
		testrig.Eventually(t, "no calls", func() bool { return r.Stats().Calls == 0 })
	})
}

// A function makes no more than its reader takes, and hears when nobody takes any.
func TestStreamIsPaced(t *testing.T) {
	eachStreamer(t, Options{}, func(t *testing.T, r *streamRig) {
		s := r.open(t, r.endless, 10*time.Second)
		testrig.Eventually(t, "a full window", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.waits >= frame.StreamWindow
		})
		taken := 0
		for taken < 1<<20 {
			parts, err := s.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range parts {
				taken += len(part.Data)
			}
		}
		s.Close()
		testrig.Eventually(t, "the function to end", func() bool { return strings.Contains(r.log(), "made ") })
		var made int
		if _, err := fmt.Sscanf(r.log(), "made %d", &made); err != nil {
			t.Fatal(err)
		}
		if most := (taken+2*frame.StreamWindow)/1000 + 2; made > most {
			t.Errorf("it made %d parts, want at most %d", made, most)
		}
		testrig.Eventually(t, "its turn to be free", func() bool { return r.Stats().Calls == 0 })
		if stats := r.Stats(); stats.Loaded != 1 {
			t.Errorf("%+v: its worker was to live on", stats)
		}
	})
}

// The timeout is from part to part.
func TestStreamMayLast(t *testing.T) {
	t.Parallel()
	eachStreamer(t, Options{}, func(t *testing.T, r *streamRig) {
		parts, err := rest(t.Context(), r.open(t, r.slow, 2*time.Second))
		if len(parts) != 30 || !errors.Is(err, io.EOF) {
			t.Errorf("%d parts, %v", len(parts), err)
		}
	})
}

func TestStreamIsCutOff(t *testing.T) {
	eachStreamer(t, Options{StreamTimeout: 300 * time.Millisecond}, func(t *testing.T, r *streamRig) {
		_, err := rest(t.Context(), r.open(t, r.slow, 10*time.Second))
		if e := faas.AsError(err); e.Code != faas.Timeout || e.Details["limit"] != "stream" {
			t.Error(err)
		}
	})
}

// Other calls of the function go on beside a stream, and outlive it.
func TestStreamSharesItsWorker(t *testing.T) {
	eachStreamer(t, Options{}, func(t *testing.T, r *streamRig) {
		if r.shared == "" {
			t.Skip("its calls share no worker")
		}
		ctx, leave := context.WithCancel(t.Context())
		result, err := r.Invoke(ctx, r.work(r.shared), within(10*time.Second, Invocation{Stream: true}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := result.Stream.Next(ctx); err != nil {
			t.Fatal(err)
		}
		other := func() {
			t.Helper()
			result, err := r.Invoke(t.Context(), r.work(r.shared), within(10*time.Second, Invocation{Params: []byte("7")}))
			if err != nil || string(result.JSON) != "7" {
				t.Errorf("%s, %v", result.JSON, err)
			}
		}
		other()
		leave()
		if _, err := rest(ctx, result.Stream); faas.AsError(err).Code != faas.Unavailable {
			t.Errorf("the reader is told %v", err)
		}
		result.Stream.Close()
		testrig.Eventually(t, "the function to end", func() bool { return strings.Contains(r.log(), "closed") })
		other()
		if stats := r.Stats(); stats.Loaded != 1 {
			t.Errorf("%+v, want one worker", stats)
		}
	})
}
