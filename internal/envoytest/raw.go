package envoytest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

const rawTimeout = 20 * time.Second

// Reply is an answer with its body read.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Raw sends bytes as they are, valid HTTP or not, and reads one answer.
func Raw(t testing.TB, addr, request string) Reply {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, rawTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(rawTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatalf("send: %v", err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("read the answer to %.80q: %v", request, err)
	}
	return Read(t, response)
}

// Read reads the body of a response and closes it.
func Read(t testing.TB, response *http.Response) Reply {
	t.Helper()
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("read the body of the answer: %v", err)
	}
	return Reply{Status: response.StatusCode, Header: response.Header, Body: body}
}
