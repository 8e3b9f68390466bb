package host

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"testing"

	"envoke/runtimes/pool"
)

// BenchmarkServe is an execute over a connection that is kept, a worker's round trip
// included. The client allocates nothing.
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
