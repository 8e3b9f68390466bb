package overload

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// callTimeout is how long a call may take: longer than any function here may.
const callTimeout = 40 * time.Second

// maxReply bounds a reply's body, in bytes.
const maxReply = 1 << 20

// target is a function that calls go to.
type target struct {
	address, path, body string
}

// caller is one connection. It neither retries nor connects behind one's back.
type caller struct {
	target   target
	request  []byte
	conn     net.Conn
	replies  *bufio.Reader
	response fasthttp.Response
}

func newCaller(t target) *caller {
	return &caller{target: t, request: fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: overload\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		t.path, len(t.body), t.body)}
}

func (c *caller) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// fate is what became of a call.
type fate struct {
	sent, ended time.Time
	status      int    // 0: the connection broke
	wrong       string // why the answer is none that is documented; empty: it is
}

// call sends one request.
func (c *caller) call() fate {
	f := fate{sent: time.Now()}
	err := c.exchange()
	f.ended = time.Now()
	if err != nil {
		c.close()
		f.wrong = err.Error()
		return f
	}
	f.status = c.response.StatusCode()
	f.wrong = c.judge()
	if c.response.ConnectionClose() {
		c.close()
	}
	return f
}

func (c *caller) exchange() error {
	if c.conn == nil {
		conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", c.target.address)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		c.conn, c.replies = conn, bufio.NewReaderSize(conn, 2048)
	}
	if err := c.conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return fmt.Errorf("set a deadline: %w", err)
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if err := c.response.ReadLimitBody(c.replies, maxReply); err != nil {
		return fmt.Errorf("read the reply: %w", err)
	}
	return nil
}

// The beginnings of bodies (docs/errors.md), by their statuses.
var documented = map[int][]byte{
	fasthttp.StatusOK:                 []byte(`{"result":`),
	fasthttp.StatusTooManyRequests:    []byte(`{"error":{"code":"RATE_LIMITED",`),
	fasthttp.StatusServiceUnavailable: []byte(`{"error":{"code":"UNAVAILABLE",`),
}

// judge tells what is wrong with an answer.
func (c *caller) judge() string {
	status, body := c.response.StatusCode(), c.response.Body()
	start, ok := documented[status]
	switch {
	case !ok || !bytes.HasPrefix(body, start):
		return fmt.Sprintf("status %d: %.300s", status, body)
	case status == fasthttp.StatusOK:
		return ""
	}
	if after, err := strconv.Atoi(string(c.response.Header.Peek("Retry-After"))); err != nil || after < 1 {
		return fmt.Sprintf("status %d without Retry-After: %.300s", status, body)
	}
	return ""
}
