package client

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// maxFailure bounds what is looked at to tell an Envoke's error from a function's own
// answer. Its message and details are far smaller.
const maxFailure = 256 << 10

// Forward answers a request as a registered function does by plain HTTP: the path and
// the query are those below the function's name. It returns the status, and a
// *ReplyError too where the Envoke answered in the function's place. With status 0
// nothing is written yet, and the error says why.
func (c *Client) Forward(w http.ResponseWriter, r *http.Request, name string) (status int, err error) {
	base, err := url.Parse(c.base)
	if err != nil {
		return 0, err
	}
	below := "/function/" + url.PathEscape(name)
	proxy := httputil.ReverseProxy{
		Transport: c.http.Transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = base.Scheme, base.Host
			p.Out.URL.RawPath = base.EscapedPath() + below + p.In.URL.EscapedPath()
			p.Out.URL.Path = base.Path + "/function/" + name + p.In.URL.Path
			p.Out.URL.RawQuery = p.In.URL.RawQuery // as it is: it is the function's to read
			p.Out.Host = p.In.Host
			c.sign(p.Out.Header)
		},
		ModifyResponse: func(reply *http.Response) error {
			if reply.Header.Get(requestIDHeader) == "" {
				return &ForeignError{Base: c.base, Status: reply.Status}
			}
			status, err = reply.StatusCode, c.failureWithin(reply)
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, cause error) {
			var foreign *ForeignError
			if err = cause; !errors.As(cause, &foreign) {
				err = c.unreachable(r.Context(), cause)
			}
		},
	}
	proxy.ServeHTTP(w, r)
	return status, err
}

// failureWithin is the Envoke's error that a reply is, or nil. The reply can still be
// read from its beginning.
func (c *Client) failureWithin(reply *http.Response) error {
	if reply.StatusCode < http.StatusBadRequest || reply.Header.Get("Content-Type") != "application/json" {
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(reply.Body, maxFailure))
	reply.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(raw), reply.Body), reply.Body}
	var failed *ReplyError
	if err != nil || !errors.As(c.failure(reply, raw), &failed) || failed.RequestID != reply.Header.Get(requestIDHeader) {
		return nil
	}
	return failed
}
