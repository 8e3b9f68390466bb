// Package schema checks the JSON Schemas that functions bring for their params
// before anybody relies on them, and params by them. A schema stands alone: nothing
// is ever fetched.
package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

const (
	// MaxBytes bounds a schema.
	MaxBytes = 64 << 10
	// MaxParts bounds what may be schemas in it: objects, true and false. Compiling
	// takes time by the square of their number.
	MaxParts = 2000
	// MaxDepth bounds how deep its objects and arrays are nested.
	MaxDepth = 64
	// maxNumber bounds a number as it is written, in bytes and in its exponent's
	// digits: the library calculates exactly, so 1e999999 would take as many digits.
	maxNumber   = 64
	maxExponent = 3
)

// The schema's name, and what a relative reference in it is resolved to: nothing
// can be fetched from there.
const (
	nowhere = "envoke:///"
	itself  = nowhere + "schema"
)

// A Fault is what is wrong with a schema, or with a value by its schema, fit for
// its author to read.
type Fault struct {
	Path    string // JSON Pointer into the schema or the value; empty: the whole
	Keyword string // of the schema that a value does not keep to, where it is one
	Reason  string
}

func (f *Fault) Error() string {
	if f.Path == "" {
		return f.Reason
	}
	return "at " + f.Path + ": " + f.Reason
}

// Check tells whether raw is a JSON Schema that can be used. The error is a *Fault.
func Check(raw []byte) error {
	_, err := Compile(raw)
	return err
}

// Compile makes a schema of raw: of draft 2020-12, unless its $schema names an older
// one. The error is a *Fault.
func Compile(raw []byte) (*Schema, error) {
	if len(raw) > MaxBytes {
		return nil, &Fault{Reason: fmt.Sprintf("is larger than %d bytes", MaxBytes)}
	}
	if err := checkTokens(raw); err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, &Fault{Reason: "is not valid JSON"}
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.UseLoader(noLoader{})
	compiler.UseRegexpEngine(compilePattern)
	if err := compiler.AddResource(itself, document); err != nil {
		return nil, &Fault{Reason: plain(err.Error())}
	}
	compiled, err := compiler.Compile(itself)
	if err != nil {
		return nil, faultOf(err)
	}
	return newSchema(compiled)
}

// checkTokens bounds what the library does not.
func checkTokens(raw []byte) error {
	d, parts := jsontext.NewDecoder(bytes.NewReader(raw)), 0
	for {
		token, err := d.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return &Fault{Path: string(d.StackPointer()), Reason: "is not valid JSON"}
		case d.StackDepth() > MaxDepth:
			return &Fault{Reason: fmt.Sprintf("is nested deeper than %d", MaxDepth)}
		case token.Kind() == '0' && !moderate(token):
			return &Fault{Path: string(d.StackPointer()), Reason: "the number is too long, too large or too small"}
		}
		if kind := token.Kind(); kind == '{' || kind == 't' || kind == 'f' {
			parts++
		}
		if parts > MaxParts {
			return &Fault{Reason: fmt.Sprintf("has more than %d objects, true and false", MaxParts)}
		}
	}
}

func moderate(number jsontext.Token) bool {
	text := number.String()
	_, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	_, err := strconv.ParseFloat(text, 64)
	return len(text) <= maxNumber && len(strings.Trim(exponent, "+-")) <= maxExponent && err == nil
}

type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("a schema may refer to itself only, nothing is fetched")
}

func faultOf(err error) *Fault {
	var (
		invalid *jsonschema.SchemaValidationError
		cause   *jsonschema.ValidationError
		fetch   *jsonschema.LoadURLError
		missing *jsonschema.JSONPointerNotFoundError
	)
	switch {
	case errors.As(err, &invalid) && errors.As(invalid.Err, &cause):
		for len(cause.Causes) > 0 {
			cause = cause.Causes[0]
		}
		reason := cause.ErrorKind.LocalizedString(message.NewPrinter(language.English))
		return &Fault{Path: pointer(cause.InstanceLocation), Reason: reason}
	case errors.As(err, &fetch):
		return &Fault{Reason: fmt.Sprintf("refers to %q: a schema may refer to itself only, nothing is fetched", plain(fetch.URL))}
	case errors.As(err, &missing):
		return &Fault{Reason: fmt.Sprintf("refers to %q, which is not there", plain(missing.URL))}
	}
	return &Fault{Reason: plain(err.Error())}
}

func pointer(tokens []string) string {
	var p jsontext.Pointer
	for _, token := range tokens {
		p = p.AppendToken(token)
	}
	return string(p)
}

// plain takes the schema's made-up name out of what the library says.
func plain(s string) string {
	return strings.NewReplacer(itself+"#", "", itself, "the schema", nowhere, "").Replace(s)
}
