package host

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"envoke/internal/faas"
	"envoke/runtimes/pool"
)

// maxAllocations bounds those of one execute in the whole process, from the request's
// first byte to the reply's last. There are 6, and some more under the race detector,
// which empties pools at random.
const maxAllocations = 15

func TestExecuteAllocatesLittle(t *testing.T) {
	r := newRig(t, pool.Options{})
	caller := r.newCaller(t, r.initialize(t, adds))
	call := func() {
		if err := caller.call(); err != nil {
			t.Fatal(err)
		}
	}
	if got := testing.AllocsPerRun(1000, call); got > maxAllocations {
		t.Errorf("an execute makes %v allocations, want at most %d", got, maxAllocations)
	}
}

// BenchmarkServe is an execute over as many connections as named, which are kept, a
// worker's round trip included. Beside the time it tells that of the CPU, of this process
// with its clients, which allocate nothing.
func BenchmarkServe(b *testing.B) {
	for _, callers := range []int{1, 32} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) { benchmarkServe(b, callers) })
	}
}

func benchmarkServe(b *testing.B, callers int) {
	r := newRig(b, pool.Options{})
	id := r.initialize(b, adds)
	done := make(chan error, callers)
	var left atomic.Int64
	left.Store(int64(b.N))
	all := make([]*caller, callers)
	for i := range all {
		all[i] = r.newCaller(b, id)
	}
	b.ReportAllocs()
	b.ResetTimer()
	start := spent(b)
	for _, c := range all {
		go func() { done <- c.callWhile(func() bool { return left.Add(-1) >= 0 }) }()
	}
	for range all {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
	b.ReportMetric(float64(spent(b)-start)/float64(b.N), "cpu-ns/op")
}

// spent is the CPU time of this process, in nanoseconds.
func spent(t testing.TB) int64 {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

const adds = `return {sum: params.a + params.b}`

// caller executes a session that adds, over a connection that is kept. Its requests look
// like Envoy's.
type caller struct {
	conn    net.Conn
	replies *bufio.Reader
	request []byte
}

func (r *rig) newCaller(t testing.TB, id faas.SessionID) *caller {
	t.Helper()
	const body = `{"params":{"a":1,"b":2}}`
	conn, err := r.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &caller{conn: conn, replies: bufio.NewReader(conn), request: fmt.Appendf(nil, "POST %s/%s HTTP/1.1\r\n"+
		"host: 127.0.0.1:9000\r\nuser-agent: test/1\r\naccept: */*\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"+
		"x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-request-id: 7f3c0d6a-9e1b-4c59-a7d4-0a1b2c3d4e5f\r\n"+
		"x-envoke-start: %d\r\n\r\n%s", executePath, id, len(body), time.Now().UnixMicro(), body)}
}

func (c *caller) callWhile(more func() bool) error {
	for more() {
		if err := c.call(); err != nil {
			return err
		}
	}
	return nil
}

func (c *caller) call() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	length := 0
	for {
		line, err := c.replies.ReadSlice('\n')
		if err != nil {
			return err
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
		if len(bytes.TrimSpace(line)) == 0 {
			_, err := c.replies.Discard(length)
			return err
		}
	}
}
