package xds

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"envoke/internal/envoytest"
	"envoke/internal/faas"
)

const (
	largest  = 6 << 20  // of bodies, both ways
	tooLarge = 50 << 20 // what the host refuses unread
)

// TestLargeBodies sends and fetches the largest bodies there are.
func TestLargeBodies(t *testing.T) {
	s := newStack(t, nil)
	plain := executePath + "/" + string(faas.NewSessionKey().NewID(faas.NodeJS, true))
	body := strings.Repeat("x", largest)
	for _, path := range []string{plain, initializePath} {
		if got := decode(t, s.do("POST", path, body)); got.Bytes != largest {
			t.Errorf("%s: the host got %d bytes", path, got.Bytes)
		}
		if reply := s.do("POST", path, "{}", "x-do", fmt.Sprint("send ", largest)); len(reply.Body) != largest {
			t.Errorf("%s: got %d bytes", path, len(reply.Body))
		}
	}
}

// TestEarlyRefusal has the host answer 413 before it reads the body. The client must
// see that, also one that reads nothing before it has sent all.
func TestEarlyRefusal(t *testing.T) {
	s := newStack(t, nil)
	plain := executePath + "/" + string(faas.NewSessionKey().NewID(faas.NodeJS, true))
	var uploads sync.WaitGroup
	for range 10 {
		for _, path := range []string{plain, initializePath} {
			uploads.Go(func() {
				if status := refusedUpload(t, s.Addr, path); status != http.StatusRequestEntityTooLarge {
					t.Errorf("upload to %s: status %d", path, status)
				}
			})
		}
	}
	uploads.Wait()
	// Who reads while it sends need not wait until Envoy closes the connection.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr+plain, io.LimitReader(endless{}, tooLarge))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("x-do", "refuse")
	response, err := s.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if reply := envoytest.Read(t, response); reply.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("chunked upload: status %d", reply.Status)
	}
}

func refusedUpload(t *testing.T, addr, path string) int {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nx-do: refuse\r\nContent-Length: %d\r\n\r\n", path, tooLarge)
	_, sendErr := io.Copy(conn, io.LimitReader(endless{}, tooLarge))
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Errorf("sending ended with %v, reading with %v", sendErr, err)
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
