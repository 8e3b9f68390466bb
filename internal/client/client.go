// Package client speaks the public API of an Envoke, as anybody could: it knows the
// wire contract and nothing of the server's inside.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	// callTimeout is longer than any execute that an operator allows by default
	// (30 s), with the wait for a worker and a slow upload.
	callTimeout = 2 * time.Minute
	dialTimeout = 5 * time.Second
	// maxReply bounds what is read: results have at most 6 MiB, wasm modules in
	// base64 44 MiB.
	maxReply = 64 << 20
	// requestIDHeader is on every reply of an Envoke, and tells one from another
	// server.
	requestIDHeader = "X-Request-Id"
)

// Client calls one Envoke. It may be used concurrently.
type Client struct {
	base string
	key  string // sent with each request; empty: none
	// namespace is named in each request; empty: the caller's own is meant.
	namespace string
	http      *http.Client
}

// Option is about how a Client reaches its Envoke.
type Option func(*http.Transport) error

// WithCA has https addresses believed whose certificates come from the authorities in a file,
// in PEM, and no others. Without a file it is those of the system.
func WithCA(path string) Option {
	return func(t *http.Transport) error {
		if path == "" {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read the authorities: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(raw) {
			return fmt.Errorf("%s has no certificate in PEM", path)
		}
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
		return nil
	}
}

// New makes a client of the Envoke at a URL such as http://127.0.0.1:9000.
func New(base string, options ...Option) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is no address of a server: give a URL such as http://127.0.0.1:9000", base)
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: 16,
		DisableCompression:  true, // what is forwarded stays as it is
	}
	for _, option := range options {
		if err := option(transport); err != nil {
			return nil, err
		}
	}
	return &Client{base: strings.TrimRight(base, "/"), http: &http.Client{
		Transport: transport,
		Timeout:   callTimeout,
		// An Envoke never redirects: what does is another server.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// keyHeader carries the API key.
const keyHeader = "X-Api-Key"

// UseKey has each request carry an API key, unless it has one of its own. Call it before any.
func (c *Client) UseKey(key string) { c.key = key }

// UseNamespace has each request be about a namespace, where the caller's own is not meant. Call it
// before any.
func (c *Client) UseNamespace(name string) { c.namespace = name }

// in is a path of the namespace.
func (c *Client) in(path string) string {
	if c.namespace == "" {
		return path
	}
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	return path + separator + "namespace=" + url.QueryEscape(c.namespace)
}

// sign puts the key into the headers of a request.
func (c *Client) sign(h http.Header) {
	if c.key != "" && h.Get(keyHeader) == "" {
		h.Set(keyHeader, c.key)
	}
}

// Base is the URL that the client was made for.
func (c *Client) Base() string { return c.base }

// Close gives up connections that nothing uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request is one call of the API.
type request struct {
	method, path string
	header       http.Header
	body         any    // sent as JSON; nil: none
	raw          []byte // sent as it is, of YAML or JSON, in place of body; nil: none
}

// fetch sends a request and returns what its reply holds.
func fetch[T any](ctx context.Context, c *Client, r request) (T, error) {
	var out T
	err := c.do(ctx, r, &out)
	return out, err
}

// do sends a request and decodes the reply's JSON into out, unless it is nil. The
// error of a server is a *ReplyError.
func (c *Client) do(ctx context.Context, r request, out any) error {
	reply, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer func() { _ = reply.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(reply.Body, maxReply+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the reply of %s: %w", c.base, err)
	case len(raw) > maxReply:
		return fmt.Errorf("the reply of %s is larger than %d bytes", c.base, maxReply)
	case reply.Header.Get(requestIDHeader) == "":
		return &ForeignError{Base: c.base, Status: reply.Status}
	case reply.StatusCode/100 != 2:
		return c.failure(reply, raw)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return &ForeignError{Base: c.base, Status: reply.Status}
	}
	return nil
}

func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	var body io.Reader = http.NoBody
	if r.body != nil {
		raw, err := encode(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	if r.raw != nil {
		body = bytes.NewReader(r.raw)
	}
	request, err := http.NewRequestWithContext(ctx, r.method, c.base+c.in(r.path), body)
	if err != nil {
		return nil, err
	}
	if r.header != nil {
		request.Header = r.header.Clone()
	}
	if r.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if r.raw != nil {
		request.Header.Set("Content-Type", "application/yaml")
	}
	c.sign(request.Header)
	reply, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	return reply, nil
}

// encode leaves <, > and & as they are, so that code arrives as it was written.
func encode(v any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return out.Bytes(), err
}

// unreachable tells what kept a request from being answered.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return &UnreachableError{Base: c.base, Slow: true, Err: err}
	}
	var cause *url.Error
	if errors.As(err, &cause) {
		err = cause.Err // without the URL, which Base has
	}
	return &UnreachableError{Base: c.base, Err: err}
}
