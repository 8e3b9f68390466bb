package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"envoke/internal/faas"
)

func tooLarge(what string, limit int) error {
	return &faas.Error{
		Code:    faas.PayloadTooLarge,
		Message: fmt.Sprintf("%s is larger than %d bytes", what, limit),
		Details: map[string]any{"limit_bytes": limit},
	}
}

// member asks for one member of an object: its raw JSON is put into value. The
// last of several equal names wins, as in JavaScript and Python.
type member struct {
	name  string
	value *[]byte
}

type decoder struct {
	*jsontext.Decoder
	source bytes.Buffer
}

var (
	decoders = sync.Pool{New: func() any {
		d := &decoder{}
		d.Decoder = jsontext.NewDecoder(&d.source)
		return d
	}}
	lenient = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
)

// members checks that body is one JSON object in UTF-8 and finds the wanted
// members. Values are parts of body. An empty body is an empty object.
func members(body []byte, wanted ...member) error {
	return scanMembers(body, wanted, nil)
}

// scanMembers calls unknown, unless it is nil, with the names that are not wanted.
func scanMembers(body []byte, wanted []member, unknown func(name string)) error {
	if !utf8.Valid(body) {
		return badJSON("the body is not valid UTF-8", nil)
	}
	if len(bytes.Trim(body, " \t\r\n")) == 0 { // JSON's white space
		return nil
	}
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	d.source = *bytes.NewBuffer(body)
	d.Reset(&d.source, lenient...)
	defer func() { d.source = bytes.Buffer{} }()
	return d.members(body, wanted, unknown)
}

func (d *decoder) members(body []byte, wanted []member, unknown func(name string)) error {
	if d.PeekKind() != '{' {
		if err := d.SkipValue(); err != nil {
			return syntaxError(body, err)
		}
		return badJSON(`the body must be a JSON object, such as {"params":{}}`, nil)
	}
	if _, err := d.ReadToken(); err != nil {
		return syntaxError(body, err)
	}
	for d.PeekKind() == '"' {
		quoted, err := d.ReadValue()
		if err != nil {
			return syntaxError(body, err)
		}
		name := unquote(quoted)
		target := find(name, wanted)
		if target == nil && unknown != nil {
			unknown(string(name))
		}
		value, err := d.ReadValue()
		if err != nil {
			return syntaxError(body, err)
		}
		if target != nil {
			end := int(d.InputOffset())
			*target = body[end-len(value) : end]
		}
	}
	if _, err := d.ReadToken(); err != nil { // the closing brace
		return syntaxError(body, err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return badJSON("the body has more after its JSON object", nil)
	}
	return nil
}

// isJSON tells whether raw is one JSON value in UTF-8, as members does of an object.
func isJSON(raw []byte) bool {
	return utf8.Valid(raw) && jsontext.Value(raw).IsValid(lenient...)
}

// unquote returns the text of a JSON string, without a copy where it has no escapes.
func unquote(quoted jsontext.Value) []byte {
	if bytes.IndexByte(quoted, '\\') >= 0 {
		if unquoted, err := jsontext.AppendUnquote(nil, quoted); err == nil {
			return unquoted
		}
	}
	return quoted[1 : len(quoted)-1]
}

// find returns where the member of that name goes, or nil.
func find(name []byte, wanted []member) *[]byte {
	for i := range wanted {
		if string(name) == wanted[i].name {
			return wanted[i].value
		}
	}
	return nil
}

func syntaxError(body []byte, err error) error {
	var syntactic *jsontext.SyntacticError
	offset := int64(len(body))
	if errors.As(err, &syntactic) {
		offset = syntactic.ByteOffset
		// jsontext does not export this error; its limit is that of encoding/json.
		if fmt.Sprint(syntactic.Err) == "exceeded max depth" {
			return badJSON(fmt.Sprintf("the body is nested deeper than 10000 (at byte %d)", offset), err)
		}
	}
	return badJSON(fmt.Sprintf("the body is not valid JSON (at byte %d)", offset), err)
}

func badJSON(message string, err error) error {
	return &faas.Error{Code: faas.InvalidRequest, Message: message, Err: err}
}
