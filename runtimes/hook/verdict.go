package hook

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/net/http/httpguts"

	"envoke/internal/faas"
	"envoke/internal/strict"
	"envoke/runtimes/host"
)

const (
	// What a hook may change of one message. Envoy refuses more than 100 headers and 60 KiB,
	// of which the message has some already.
	maxChanges     = 50
	maxChangeBytes = 16 << 10
	// maxAnswer bounds the body that a hook answers with, in bytes: what Envoy holds of one
	// connection.
	maxAnswer = 1 << 20
)

// verdict is what a function has decided. The zero verdict lets pass.
type verdict struct {
	set, add []header
	remove   []string
	answer   *host.Response // in place of all else
}

type header struct{ name, value string }

// passes tells whether nothing is changed.
func (v verdict) passes() bool {
	return v.answer == nil && len(v.set)+len(v.add)+len(v.remove) == 0
}

// parse reads a result: null or {} lets pass, headers are changes, and what has a statusCode
// is an answer. Anything else is the function's mistake, which had better be seen than guessed
// at.
func parse(result []byte) (verdict, error) {
	result = bytes.Trim(result, " \t\r\n")
	if s := string(result); s == "" || s == "null" || s == "{}" {
		return verdict{}, nil
	}
	if result[0] != '{' {
		return verdict{}, invalid("it is no object")
	}
	var r struct {
		StatusCode      jsontext.Value `json:"statusCode"`
		Headers         jsontext.Value `json:"headers"`
		Body            jsontext.Value `json:"body"`
		IsBase64Encoded jsontext.Value `json:"isBase64Encoded"`
	}
	if err := strict.Decode(result, "", &r); err != nil {
		return verdict{}, invalid(faas.AsError(err).Message)
	}
	switch {
	case given(r.StatusCode):
		return parseAnswer(result, r.StatusCode)
	case given(r.Body), given(r.IsBase64Encoded):
		return verdict{}, invalid("a body needs a statusCode")
	case !given(r.Headers):
		return verdict{}, nil
	}
	return parseChange(r.Headers)
}

func given(v jsontext.Value) bool { return len(v) > 0 && v.Kind() != 'n' }

func parseAnswer(result []byte, status jsontext.Value) (verdict, error) {
	if len(status) != 3 || status[0] < '2' || status[0] > '5' || strings.Trim(string(status), "0123456789") != "" {
		return verdict{}, invalid("statusCode must be a whole number from 200 to 599")
	}
	response, err := host.ResponseOf(result)
	if err != nil {
		return verdict{}, err
	}
	if len(response.Body) > maxAnswer {
		return verdict{}, invalid(fmt.Sprintf("its body is larger than %d bytes", maxAnswer))
	}
	return verdict{answer: &response}, nil
}

// texts is a string or a list of strings.
type texts []string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (t *texts) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() == '"' {
		*t = texts{""}
		return json.UnmarshalDecode(d, &(*t)[0])
	}
	return json.UnmarshalDecode(d, (*[]string)(t))
}

// parseChange reads headers.set, headers.add and headers.remove.
func parseChange(raw jsontext.Value) (v verdict, err error) {
	var change struct {
		Set    map[string]texts `json:"set"`
		Add    map[string]texts `json:"add"`
		Remove []string         `json:"remove"`
	}
	if raw.Kind() != '{' {
		return v, invalid("headers must be an object of set, add and remove")
	}
	if err := strict.Decode(raw, "headers", &change); err != nil {
		return v, invalid(faas.AsError(err).Message)
	}
	size := 0
	take := func(name, value string) error {
		if size += len(name) + len(value); size > maxChangeBytes {
			return fmt.Errorf("headers are more than %d bytes", maxChangeBytes)
		}
		return check(name, value)
	}
	if v.set, err = list(change.Set, take); err == nil {
		v.add, err = list(change.Add, take)
	}
	for _, name := range change.Remove {
		if err == nil {
			err = take(name, "")
		}
		v.remove = append(v.remove, strings.ToLower(name))
	}
	if err == nil && len(v.set)+len(v.add)+len(v.remove) > maxChanges {
		err = fmt.Errorf("headers are more than %d changes", maxChanges)
	}
	if err != nil {
		return verdict{}, invalid(err.Error())
	}
	return v, nil
}

// list is a change in an order that is always the same.
func list(change map[string]texts, take func(name, value string) error) (all []header, err error) {
	for _, name := range slices.Sorted(maps.Keys(change)) {
		for _, value := range change[name] {
			if err := take(name, value); err != nil {
				return nil, err
			}
			all = append(all, header{strings.ToLower(name), value})
		}
	}
	return all, nil
}

// check tells what is wrong with a change of a header. What is ignored in silence would be
// a guard that guards nothing.
func check(name, value string) error {
	lower := strings.ToLower(name)
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return fmt.Errorf("%.100q is no name of a header", name)
	case !httpguts.ValidHeaderFieldValue(value):
		return fmt.Errorf("the value of %.100s has a character that no header may have", name)
	case host.InternalHeader(lower), lower == "host", lower == "content-length", lower == "x-request-id",
		lower == faas.UserHeader, lower == "x-forwarded-client-cert":
		return fmt.Errorf("no hook may change %.100s", name)
	}
	return nil
}

func invalid(reason string) error {
	return &faas.Error{
		Code: faas.RuntimeError, Message: "the hook's result cannot be followed: " + reason,
		Details: map[string]any{"component": faas.InFunction, "type": "InvalidHookResult"},
	}
}
