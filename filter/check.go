package main

import (
	"strings"

	"envoke/internal/faas"
)

// Paths of the API that name a function.
const (
	initializePath = "/api/v1/initialize"
	executePath    = "/api/v1/execute"
	functionsPath  = "/api/v1/functions/" // {name}…
	functionPath   = "/function/"         // {name}…
	runtimePath    = "/runtime/"          // {language}/{title}
)

// check tells what is wrong with the name of a function that a request gives, as an
// *faas.Error. A request that gives none is none of its business.
func check(method, path, languageTitle string) error {
	path, _, _ = strings.Cut(path, "?")
	switch path {
	case initializePath, executePath:
		if method != "POST" {
			return nil
		}
		return checkName(faas.InHeader, languageTitle)
	}
	for _, prefix := range []string{functionsPath, functionPath} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			name, _, _ := strings.Cut(rest, "/")
			return checkSegment(name)
		}
	}
	if rest, ok := strings.CutPrefix(path, runtimePath); ok {
		if language, title, ok := strings.Cut(rest, "/"); ok {
			return checkSegment(language + "-" + title)
		}
	}
	return nil
}

// checkSegment is checkName for a part of a path. An empty one is another path, and
// one with escapes needs a parser that would make the filter larger: both are left
// to who answers them.
func checkSegment(segment string) error {
	if segment == "" || strings.Contains(segment, "%") {
		return nil
	}
	return checkName(faas.InPath, segment)
}

// checkName takes name@version and name:alias too.
func checkName(place faas.Place, name string) error {
	_, err := served.ParseRefIn(place, name)
	return err
}
