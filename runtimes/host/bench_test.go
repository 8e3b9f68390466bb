package host

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"envoke/runtimes/pool"
)

// discard is a client that looks at nothing.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkExecute is an execute inside the host, a worker's round trip included:
// what net/http takes for a connection comes on top.
func BenchmarkExecute(b *testing.B) {
	r := newRig(b, pool.Options{})
	id := r.initialize(b, `return {sum: params.a + params.b}`)
	r.execute(b, id, `{"params":{"a":1,"b":2}}`) // load it
	body := []byte(`{"params":{"a":1,"b":2}}`)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		reader := bytes.NewReader(body)
		request := httptest.NewRequest(http.MethodPost, executePath+"/"+string(id), reader)
		request.Body, request.ContentLength = io.NopCloser(reader), int64(len(body))
		w := &discard{header: http.Header{}}
		for pb.Next() {
			reader.Reset(body)
			clear(w.header)
			r.ServeHTTP(w, request)
			if w.status != http.StatusOK {
				b.Errorf("status %d", w.status)
				return
			}
		}
	})
}

// BenchmarkServe is an execute over a connection that is kept: net/http's server
// and the host. The client allocates nothing.
func BenchmarkServe(b *testing.B) {
	r := newRig(b, pool.Options{})
	id := r.initialize(b, `return {sum: params.a + params.b}`)
	conn, err := r.dial(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	const body = `{"params":{"a":1,"b":2}}`
	request := fmt.Appendf(nil, "POST %s/%s HTTP/1.1\r\nHost: envoke\r\nX-Request-Id: 1\r\nContent-Length: %d\r\n\r\n%s",
		executePath, id, len(body), body)
	replies := bufio.NewReader(conn)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		if err := skipReply(replies); err != nil {
			b.Fatal(err)
		}
	}
}

func skipReply(r *bufio.Reader) error {
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		}
		if len(bytes.TrimSpace(line)) == 0 {
			_, err := r.Discard(length)
			return err
		}
	}
}
