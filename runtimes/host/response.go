package host

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/valyala/fasthttp"
	"golang.org/x/net/http/httpguts"

	"envoke/internal/faas"
)

// What Envoy takes of an upstream is 100 headers and 60 KiB; it answers 502 to more.
const (
	maxHeaders     = 90
	maxHeaderBytes = 48 << 10
)

// response is what a function's result asks for.
type response struct {
	status      int
	headers     []header
	body        []byte
	contentType string // where no header says it; empty: there is no body
}

type header struct{ name, value string }

// respond makes the result of a function the response. The result is the response's
// from then on.
func respond(c *fasthttp.RequestCtx, result []byte) error {
	r, err := newResponse(result)
	if err != nil {
		return err
	}
	c.SetStatusCode(r.status)
	if r.contentType != "" {
		c.SetContentType(r.contentType)
	}
	for _, h := range r.headers {
		c.Response.Header.Add(h.name, h.value)
	}
	c.Response.SetBodyRaw(r.body)
	return nil
}

// newResponse maps a result to HTTP: an object with an integer statusCode of 200 to
// 599 is a response, any other value is JSON, null is nothing. Only the outermost
// names are looked at; values pass through as they were written.
func newResponse(result []byte) (response, error) {
	var status, headers, body, isBase64 []byte
	result = bytes.Trim(result, " \t\r\n")
	if len(result) > 0 && result[0] == '{' {
		err := members(result, member{"statusCode", &status}, member{"headers", &headers},
			member{"body", &body}, member{"isBase64Encoded", &isBase64})
		if err != nil { // no worker writes it: it is passed on as it is, like any result
			status = nil
		}
	}
	code, err := strconv.Atoi(string(status))
	switch {
	case isNull(result):
		return response{status: http.StatusNoContent}, nil
	case err != nil || len(status) != 3 || code < 200 || code > 599:
		return response{status: http.StatusOK, body: result, contentType: "application/json"}, nil
	}
	r := response{status: code}
	if err := r.setBody(body, isBase64); err != nil {
		return response{}, err
	}
	return r, r.setHeaders(headers)
}

func (r *response) setBody(body, isBase64 []byte) error {
	var encoded bool
	switch string(isBase64) {
	case "true":
		encoded = true
	case "", "false", "null":
	default:
		return badResponse("isBase64Encoded must be true or false")
	}
	switch {
	case len(body) == 0, isNull(body), r.status == http.StatusNoContent, r.status == http.StatusNotModified:
		return nil
	case body[0] != '"' && encoded:
		return badResponse("isBase64Encoded needs a body that is a string")
	case body[0] != '"':
		r.body, r.contentType = body, "application/json"
		return nil
	}
	text, _ := jsontext.AppendUnquote(nil, body) // a lone surrogate becomes U+FFFD
	if !encoded {
		r.body, r.contentType = text, "text/plain; charset=utf-8"
		return nil
	}
	n, err := base64.StdEncoding.Decode(text, text)
	if err != nil {
		return badResponse("the body is not valid base64")
	}
	r.body, r.contentType = text[:n], "application/octet-stream"
	return nil
}

// setHeaders reads an object whose values are strings or lists of strings.
func (r *response) setHeaders(raw []byte) error {
	if len(raw) == 0 || isNull(raw) {
		return nil
	}
	if raw[0] != '{' {
		return badResponse("headers must be an object")
	}
	d := jsontext.NewDecoder(bytes.NewReader(raw), lenient...)
	_, err := d.ReadToken()
	for size := 0; err == nil && d.PeekKind() == '"'; {
		var name, value jsontext.Value
		if name, err = d.ReadValue(); err != nil {
			break
		}
		name = bytes.Clone(name) // until the next read it is the decoder's
		if value, err = d.ReadValue(); err == nil {
			size += len(name) + len(value)
			err = r.addHeader(name, value, size)
		}
	}
	return err
}

func (r *response) addHeader(quoted, value jsontext.Value, size int) error {
	var name string
	texts, err := textsOf(value)
	switch {
	case json.Unmarshal(quoted, &name) != nil || !httpguts.ValidHeaderFieldName(name):
		return badResponse(fmt.Sprintf("%.100s is no name of a header", quoted))
	case err != nil:
		return badResponse(fmt.Sprintf("headers.%.100s must be a string or a list of strings", name))
	case len(r.headers)+len(texts) > maxHeaders || size > maxHeaderBytes:
		return badResponse(fmt.Sprintf("there are more than %d headers, or more than %d bytes of them", maxHeaders, maxHeaderBytes))
	case slices.ContainsFunc(texts, func(text string) bool { return !httpguts.ValidHeaderFieldValue(text) }):
		return badResponse(fmt.Sprintf("headers.%.100s has a character that no header may have", name))
	}
	lower := strings.ToLower(name)
	if InternalHeader(lower) || lower == "x-request-id" || lower == "content-length" {
		return nil
	}
	for _, text := range texts {
		if lower == "content-type" {
			r.contentType = ""
		}
		r.headers = append(r.headers, header{name, text})
	}
	return nil
}

var errNoText = errors.New("null is no string")

// textsOf reads a string or a list of strings.
func textsOf(value jsontext.Value) ([]string, error) {
	if value.Kind() == '"' {
		var text string
		err := json.Unmarshal(value, &text)
		return []string{text}, err
	}
	var list []*string
	if err := json.Unmarshal(value, &list); err != nil || list == nil {
		return nil, cmp.Or(err, errNoText)
	}
	texts := make([]string, len(list))
	for i, text := range list {
		if text == nil {
			return nil, errNoText
		}
		texts[i] = *text
	}
	return texts, nil
}

func badResponse(reason string) error {
	return &faas.Error{
		Code: faas.RuntimeError, Message: "the function's response cannot be sent: " + reason,
		Details: map[string]any{"component": faas.InFunction, "type": "InvalidResponse"},
	}
}
