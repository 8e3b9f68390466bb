// Package strict reads JSON of callers of which nothing may be lost: a member that is
// misspelt or there twice is an error that names it.
package strict

import (
	"errors"
	"math"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"envoke/internal/faas"
)

// Decode reads one JSON value, whose members are those of into, a pointer to a struct.
// Errors name members below the given one, which is empty for a whole body. They are
// *faas.Error of code INVALID_REQUEST.
func Decode(raw []byte, below string, into any) error {
	err := json.Unmarshal(raw, into, json.RejectUnknownMembers(true), wholeNumbers)
	var (
		semantic  *json.SemanticError
		syntactic *jsontext.SyntacticError
	)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, json.ErrUnknownName) && errors.As(err, &semantic):
		return BadMember(path(below, semantic.JSONPointer), "is not known here: the members are "+strings.Join(members(into), ", "))
	case errors.As(err, &semantic):
		return BadMember(path(below, semantic.JSONPointer), "must be "+kindOf(semantic.GoType))
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntactic):
		return BadMember(path(below, syntactic.JSONPointer), "is given twice")
	}
	return &faas.Error{Code: faas.InvalidRequest, Message: "the body is not valid JSON in UTF-8", Err: err}
}

// wholeNumbers takes 5.0 for 5, as the integers of JSON Schema do.
var wholeNumbers = json.WithUnmarshalers(json.UnmarshalFromFunc(func(d *jsontext.Decoder, n *int) error {
	if d.PeekKind() != '0' {
		return errors.ErrUnsupported // as any other kind is read
	}
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	number, err := token.Float()
	if err != nil || number != math.Trunc(number) || math.Abs(number) > math.MaxInt32 {
		return errors.New("no whole number, or far beyond all that are taken here")
	}
	*n = int(number)
	return nil
}))

// BadMember is the error of a member of the body; an empty name is the whole body.
func BadMember(name, reason string) error {
	if name == "" {
		return &faas.Error{Code: faas.InvalidRequest, Message: "the body " + reason}
	}
	return &faas.Error{
		Code: faas.InvalidRequest, Message: name + " " + reason,
		Details: map[string]any{"member": name},
	}
}

// path writes a pointer as callers write members: compile_options.features.0.
func path(below string, pointer jsontext.Pointer) string {
	var tokens []string
	if below != "" {
		tokens = []string{below}
	}
	for token := range pointer.Tokens() {
		tokens = append(tokens, token)
	}
	return strings.Join(tokens, ".")
}

// members are the names of a struct's members in JSON.
func members(pointer any) []string {
	var names []string
	for field := range reflect.TypeOf(pointer).Elem().Fields() {
		names = append(names, field.Tag.Get("json"))
	}
	return names
}

// kindOf says in JSON's words what a Go type takes.
func kindOf(t reflect.Type) string {
	if t == nil {
		return "of another kind"
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}
