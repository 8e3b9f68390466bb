package main

import (
	"bytes"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2conn is one connection of HTTP/2 of which each frame is ours.
type h2conn struct {
	*http2.Framer
	conn    net.Conn
	encoder *hpack.Encoder
	block   bytes.Buffer
}

func (i *installation) h2(t *testing.T) *h2conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(i.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	c := &h2conn{Framer: http2.NewFramer(conn, conn), conn: conn}
	c.encoder = hpack.NewEncoder(&c.block)
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return c
}

// headers is the block of a request's headers: name, value, name, value…
func (c *h2conn) headers(pairs ...string) []byte {
	c.block.Reset()
	for n := 0; n < len(pairs); n += 2 {
		_ = c.encoder.WriteField(hpack.HeaderField{Name: pairs[n], Value: pairs[n+1], Sensitive: true})
	}
	return bytes.Clone(c.block.Bytes())
}

func requestOf(method, path string, more ...string) []string {
	return append([]string{":method", method, ":scheme", "http", ":authority", "x", ":path", path}, more...)
}

// ends reads until Envoy ends the connection, or the stream with what is no success.
func (c *h2conn) ends() (status string) {
	decoder := hpack.NewDecoder(4096, nil)
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return "closed"
		}
		switch f := frame.(type) {
		case *http2.GoAwayFrame:
			return "goaway " + f.ErrCode.String()
		case *http2.RSTStreamFrame:
			return "reset " + f.ErrCode.String()
		case *http2.HeadersFrame:
			fields, err := decoder.DecodeFull(f.HeaderBlockFragment())
			if err != nil {
				return err.Error()
			}
			for _, field := range fields {
				if field.Name == ":status" {
					return field.Value
				}
			}
		}
	}
}

// TestOddHTTP2: what is no proper request is refused, whoever sends it, and the next one
// works.
func TestOddHTTP2(t *testing.T) {
	d := openDoorWith(t)
	token := d.caller(t, "admin")[1]
	auth := []string{"authorization", token}
	defer d.serves(t)
	var all sync.WaitGroup
	defer all.Wait()
	for name, headers := range map[string][]string{
		"no path":                    {":method", "GET", ":scheme", "http", ":authority", "x", "authorization", token},
		"two paths":                  requestOf("GET", "/health", append([]string{":path", "/api/v1/functions"}, auth...)...),
		"an empty path":              requestOf("GET", "", auth...),
		"a path with a space":        requestOf("GET", "/api/v1/functions HTTP/1.1\r\nx: y", auth...),
		"a pseudo header at the end": append(auth[:2:2], requestOf("GET", "/api/v1/functions")...),
		"an unknown pseudo header":   requestOf("GET", "/api/v1/functions", append([]string{":user", "ada"}, auth...)...),
		"a header in upper case":     requestOf("GET", "/api/v1/functions", append([]string{"X-User-ID", "ada"}, auth...)...),
		"a line break in a value":    requestOf("GET", "/api/v1/functions", append([]string{"x-a", "b\r\nx-user-id: ada"}, auth...)...),
		"a header of a connection":   requestOf("GET", "/api/v1/functions", append([]string{"connection", "close"}, auth...)...),
		"an encoding":                requestOf("POST", "/api/v1/functions", append([]string{"transfer-encoding", "chunked"}, auth...)...),
		"a tunnel":                   {":method", "CONNECT", ":authority", "127.0.0.1:1", "authorization", token},
		"a method of two words":      requestOf("GET /health HTTP/1.1\r\nx:", "/api/v1/functions", auth...),
	} {
		all.Go(func() { // Envoy closes a connection a second late
			c := d.h2(t)
			err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.headers(headers...), EndStream: true, EndHeaders: true})
			if err != nil {
				t.Error(err)
			}
			if status := c.ends(); strings.HasPrefix(status, "2") {
				t.Errorf("%s: answered %s", name, status)
			}
		})
	}
}

// serves tells whether a proper request still works.
func (d *door) serves(t *testing.T) {
	t.Helper()
	started := time.Now()
	r := d.send(t, http.MethodPost, "/api/v1/execute", `{"script_content":"return 1","params":1}`, d.as(t, "ada", "execute:all", "Language-Title", "nodejs-x")...)
	if r.status != 200 || time.Since(started) > 5*time.Second {
		t.Errorf("after %v: %d %s", time.Since(started), r.status, r.body)
	}
}

// TestFloods: one connection that wants more than its share is ended, or costs nobody else
// anything: the others go on.
func TestFloods(t *testing.T) {
	d := openDoorWith(t)
	path := requestOf("POST", "/api/v1/execute/00000000-0000-8110-8000-000000000000")
	for name, flood := range map[string]func(c *h2conn, n uint32) error{
		"rapid reset": func(c *h2conn, n uint32) error {
			err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*n + 1, BlockFragment: c.headers(path...), EndHeaders: true})
			if err == nil {
				err = c.WriteRSTStream(2*n+1, http2.ErrCodeCancel)
			}
			return err
		},
		"headers without end": func(c *h2conn, n uint32) error {
			if n == 0 {
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.headers(path...)})
			}
			return c.WriteContinuation(1, false, c.headers("x-a", strings.Repeat("b", 4000)))
		},
		"settings": func(c *h2conn, _ uint32) error {
			return c.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 16384})
		},
		"pings": func(c *h2conn, _ uint32) error { return c.WritePing(false, [8]byte{}) },
		"empty data": func(c *h2conn, n uint32) error {
			if n == 0 {
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.headers(path...), EndHeaders: true})
			}
			return c.WriteData(1, false, nil)
		},
		"window updates": func(c *h2conn, n uint32) error {
			if n == 0 {
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.headers(path...), EndHeaders: true})
			}
			return c.WriteWindowUpdate(1, 1)
		},
		"priorities": func(c *h2conn, n uint32) error { return c.WritePriority(2*n+1, http2.PriorityParam{Weight: 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			c := d.h2(t)
			ended := false
			done := make(chan struct{})
			go func() { // Envoy's answers must not fill the connection
				defer close(done)
				for {
					if _, err := c.ReadFrame(); err != nil {
						return
					}
				}
			}()
			for n := range uint32(200_000) {
				if ended = flood(c, n) != nil; ended {
					break
				}
			}
			if mustEnd := name == "rapid reset" || name == "headers without end"; mustEnd && !ended {
				select {
				case <-done: // the last of them were on their way
				case <-time.After(10 * time.Second):
					t.Error("200,000 frames were taken")
				}
			}
			d.serves(t) // beside it
			_ = c.conn.Close()
			<-done
			d.serves(t)
		})
	}
}
