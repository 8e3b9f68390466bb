package api

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"envoke/internal/faas"
)

const (
	defaultPerPage = 20
	maxPerPage     = 100
	maxPage        = 1_000_000 // far from where page*per_page overflows
	maxText        = 256       // bytes of user_id and tag
)

// parameters are those of a listing's query. The first fault is kept.
type parameters struct {
	values url.Values
	err    error
}

func parseParameters(raw string) (parameters, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return parameters{}, &faas.Error{Code: faas.InvalidRequest, Message: "the query is not well formed", Err: err}
	}
	return parameters{values: values}, nil
}

func parseQuery(raw string) (faas.FunctionQuery, error) {
	p, err := parseParameters(raw)
	if err != nil {
		return faas.FunctionQuery{}, err
	}
	p.only("namespace", "type", "language", "user_id", "tag", "page", "per_page")
	q := faas.FunctionQuery{
		Type:     oneOf(&p, "type", faas.Predefined, faas.Dynamic),
		Language: oneOf(&p, "language", faas.Languages()...),
		UserID:   p.text("user_id"),
		Tag:      p.text("tag"),
		Page:     p.number("page", 1, maxPage),
		PerPage:  p.number("per_page", defaultPerPage, maxPerPage),
	}
	return q, p.err
}

// only refuses other parameters: a filter that is misspelt would select all.
func (p *parameters) only(known ...string) {
	for _, name := range slices.Sorted(maps.Keys(p.values)) {
		if !slices.Contains(known, name) {
			p.fail(name, "is not known here: the parameters are "+strings.Join(known, ", "))
		}
	}
}

// get is the value of a parameter; ok is false where it is not given.
func (p *parameters) get(name string) (value string, ok bool) {
	switch values := p.values[name]; len(values) {
	case 0:
		return "", false
	case 1:
		return values[0], true
	}
	p.fail(name, "is given more than once")
	return "", false
}

func (p *parameters) fail(name, reason string) {
	if p.err == nil {
		p.err = &faas.Error{
			Code: faas.InvalidRequest, Message: fmt.Sprintf("the parameter %.100s %s", name, reason),
			Details: map[string]any{"parameter": name},
		}
	}
}

func (p *parameters) number(name string, fallback, most int) int {
	value, ok := p.get(name)
	if !ok {
		return fallback
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > most {
		p.fail(name, fmt.Sprintf("must be a whole number from 1 to %d", most))
	}
	return n
}

func (p *parameters) text(name string) string {
	value, _ := p.get(name)
	if len(value) > maxText || !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		p.fail(name, fmt.Sprintf("must be UTF-8 text of at most %d bytes", maxText))
	}
	return value
}

func oneOf[T ~string](p *parameters, name string, allowed ...T) T {
	value, ok := p.get(name)
	if ok && !slices.Contains(allowed, T(value)) {
		p.fail(name, fmt.Sprintf("must be one of %v", allowed))
	}
	return T(value)
}
