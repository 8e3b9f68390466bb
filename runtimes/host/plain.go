package host

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/valyala/fasthttp"

	"envoke/internal/faas"
	"envoke/runtimes/bundle"
)

const (
	// functionPath goes on with the name of a registered function, and what path the
	// function likes.
	functionPath = "/function/"
	// functionHeader carries the function that ext_proc chose: where names are mapped to
	// languages, and its very version where the result may be cached. Envoy strips the
	// header from what callers send.
	functionHeader = "X-Envoke-Function"
)

// invokeHTTP runs a registered function as an HTTP endpoint (E15): the request is its
// event, its result the response.
func (h *Host) invokeHTTP(ctx context.Context, c *fasthttp.RequestCtx) error {
	name, path, _ := strings.Cut(string(c.URI().PathOriginal()[len(functionPath):]), "/")
	ref, err := h.refOf(c, name)
	if err != nil {
		return err
	}
	return h.serveFunction(ctx, c, ref, place{path: "/" + path})
}

// place is where a function is that is called by plain HTTP.
type place struct {
	path  string // as the function sees it
	route string // by which the request came; empty: by the API
}

// serveFunction runs a registered function for a request.
func (h *Host) serveFunction(ctx context.Context, c *fasthttp.RequestCtx, ref faas.Ref, at place) error {
	t := timingOf(c)
	session := &bundle.Session{}
	if err := h.useFunction(ctx, session, ref, requestID(c)); err != nil {
		return err
	}
	t.lap(h.stages.session)
	body, err := h.readBody(ctx, c, h.MaxBody)
	if err != nil {
		return err
	}
	defer body.release()
	others := asked(c) // may have the response
	event, err := newEvent(c, at, body.bytes, others)
	if err != nil {
		return err
	}
	t.lap(h.stages.read)
	session.Context = event.context
	c.Conn().(*conn).session = session
	result, err := h.invoke(ctx, requestID(c), invocation{timing: t, session: session, params: event.params, stream: true})
	h.exchanged(c, event.params, &result, err)
	if err != nil {
		return err
	}
	if result.Stream != nil {
		return h.respondStream(ctx, c, session, result.Stream)
	}
	if err := respond(c, result.JSON); err != nil {
		return err
	}
	if others {
		markResponse(c)
	}
	t.lap(h.stages.write)
	return nil
}

// chosen is the function that ext_proc chose, else the one that the path names.
func chosen(c *fasthttp.RequestCtx, name string) string {
	if function := c.Request.Header.Peek(functionHeader); len(function) > 0 {
		return string(function)
	}
	return name
}

// event is what a function gets of a plain HTTP request.
type event struct{ params, context []byte }

// httpContext is context.http.
type httpContext struct {
	Method   string            `json:"method"`
	Path     string            `json:"path"`            // below the function's own; of a declared route, all of it
	Route    string            `json:"route,omitempty"` // the declared one
	Query    map[string]any    `json:"query"`
	Headers  map[string]string `json:"headers"`
	IsBase64 bool              `json:"is_base64"` // params are bytes
}

// newEvent makes the event of a request. Where others may have the response, the
// function sees nothing by which they differ: no headers.
func newEvent(c *fasthttp.RequestCtx, at place, body []byte, others bool) (event, error) {
	var (
		e   event
		err error
	)
	in := httpContext{
		Method: string(c.Method()), Path: at.path, Route: at.route, Query: queryOf(c.QueryArgs()), Headers: map[string]string{},
	}
	if !others {
		in.Headers = headersOf(&c.Request.Header)
	}
	switch {
	case len(body) > 0:
		e.params, in.IsBase64, err = paramsOf(kindOf(&c.Request.Header), body)
	case in.Method == http.MethodGet, in.Method == http.MethodHead, in.Method == http.MethodDelete:
		e.params, err = json.Marshal(in.Query)
	}
	if err != nil {
		return event{}, err
	}
	e.context, err = json.Marshal(map[string]httpContext{"http": in})
	return e, err
}

// queryOf has a string for each name, and a list where a name is there several times.
func queryOf(args *fasthttp.Args) map[string]any {
	query := make(map[string]any, args.Len())
	for key, value := range args.All() {
		name, text := string(key), string(value)
		switch known := query[name].(type) {
		case nil:
			query[name] = text
		case string:
			query[name] = []string{known, text}
		case []string:
			query[name] = append(known, text)
		}
	}
	return query
}

// headersOf has names in lower case; what was sent several times is joined as RFC
// 9110 (5.3) joins it. X-User-ID is there where somebody has checked it: Envoy strips
// a caller's own.
func headersOf(h *fasthttp.RequestHeader) map[string]string {
	headers := make(map[string]string, h.Len())
	for key, value := range h.All() {
		name := strings.ToLower(string(key))
		if InternalHeader(name) {
			continue
		}
		if known, ok := headers[name]; ok {
			headers[name] = known + ", " + string(value)
		} else {
			headers[name] = string(value)
		}
	}
	return headers
}

// InternalHeader tells what concerns one connection (RFC 9110, 7.6.1, and its older
// relatives) or Envoy and us alone: functions neither see nor say it.
func InternalHeader(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
		"te", "trailer", "transfer-encoding", "upgrade":
		return true
	}
	return strings.HasPrefix(name, "x-envoke-") || strings.HasPrefix(name, "x-envoy-")
}

// paramsOf makes params of a body: JSON as it is, text as a string, else base64.
func paramsOf(kind bodyKind, body []byte) (params []byte, isBase64 bool, err error) {
	switch kind {
	case jsonKind:
		if !isJSON(body) {
			return nil, false, errNoJSON
		}
		return body, false, nil
	case anyKind:
		if isJSON(body) {
			return body, false, nil
		}
		fallthrough
	case formKind:
		// curl -d says that it is a form. No form begins like this: it would be escaped.
		if (body[0] == '{' || body[0] == '[') && isJSON(body) {
			return body, false, nil
		}
		fallthrough
	case textKind:
		if isText(body) {
			params, err = jsontext.AppendQuote(nil, body)
			return params, false, err
		}
	}
	params = make([]byte, base64.StdEncoding.EncodedLen(len(body))+2)
	params[0], params[len(params)-1] = '"', '"'
	base64.StdEncoding.Encode(params[1:], body)
	return params, true, nil
}

type bodyKind int

const (
	binaryKind bodyKind = iota
	jsonKind
	textKind
	formKind
	anyKind // nothing was said
)

func kindOf(h *fasthttp.RequestHeader) bodyKind {
	contentType := string(h.ContentType())
	media, _, _ := mime.ParseMediaType(contentType) // empty where it makes no sense
	switch {
	case len(h.ContentEncoding()) > 0: // compressed
		return binaryKind
	case contentType == "":
		return anyKind
	case media == "application/json", strings.HasSuffix(media, "+json"):
		return jsonKind
	case media == "application/x-www-form-urlencoded":
		return formKind
	case strings.HasPrefix(media, "text/"), strings.HasSuffix(media, "+xml"),
		media == "application/xml", media == "application/javascript", media == "application/yaml":
		return textKind
	}
	return binaryKind
}

// isText tells UTF-8 that grows little when it is written as JSON.
func isText(body []byte) bool {
	control := func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' }
	return utf8.Valid(body) && bytes.IndexFunc(body, control) < 0
}

var errNoJSON = &faas.Error{Code: faas.InvalidRequest, Message: "the body is not valid JSON in UTF-8, as its Content-Type says"}
