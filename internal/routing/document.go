package routing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	// MaxDocument bounds a declaration, in bytes: all files of one source together.
	MaxDocument = 8 << 20
	// MaxFaults is how many faults are told of at once.
	MaxFaults = 100
	// maxValues bounds the values of a document with what its aliases repeat.
	maxValues = 1 << 20
)

// Document is one text of a declaration. A declaration may be several.
type Document struct {
	Name    string // of its file; empty: none
	Routing Routing

	root *yaml.Node // nil: it is of no text
}

// Parse reads a text of YAML, or JSON. What is not known, is there twice or of another kind is
// a fault; all are told. Whether what it says can be served, Check tells.
func Parse(name string, raw []byte) (Document, Faults) {
	d := &decoder{file: name}
	doc := Document{Name: name}
	root, fault := parse(raw)
	if fault != nil {
		fault.File = name
		return doc, Faults{*fault}
	}
	doc.root = root
	d.decode(root, nil, &doc.Routing)
	return doc, d.faults.bounded()
}

// lineOf finds the line in what the YAML library says.
var lineOf = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`)

// parse is the one value of a text, as it is written.
func parse(raw []byte) (*yaml.Node, *Fault) {
	switch {
	case len(raw) > MaxDocument:
		return nil, &Fault{Message: fmt.Sprintf("is larger than %d bytes", MaxDocument)}
	case !utf8.Valid(raw):
		return nil, &Fault{Message: "is not UTF-8"}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(asYAML(raw)))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	if err == nil {
		err = decoder.Decode(&second)
		if err == nil {
			return nil, &Fault{Line: second.Line, Column: second.Column, Message: "is a second document: write one, or two files"}
		}
	} else if errors.Is(err, io.EOF) {
		return nil, &Fault{Line: 1, Column: 1, Message: "is empty: write {} for a declaration of nothing"}
	}
	if !errors.Is(err, io.EOF) {
		return nil, syntaxFault(raw, err)
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, &Fault{Line: 1, Column: 1, Message: "is empty: write {} for a declaration of nothing"}
	}
	return root, nil
}

// unknownAnchor finds the name in what the YAML library says without a line.
var unknownAnchor = regexp.MustCompile(`^unknown anchor '(.+)' referenced$`)

// syntaxFault is without the library's own words about itself.
func syntaxFault(raw []byte, err error) *Fault {
	found := lineOf.FindStringSubmatch(err.Error())
	if found == nil {
		return &Fault{Line: 1, Column: 1, Message: "is no YAML: " + err.Error()}
	}
	fault := &Fault{Line: 1, Column: 1, Message: "is no YAML: " + found[2]}
	if line, err := strconv.Atoi(found[1]); err == nil {
		fault.Line = line
		if strings.HasPrefix(found[2], "did not find") { // which it counts from 0
			fault.Line++
		}
	} else if anchor := unknownAnchor.FindStringSubmatch(found[2]); anchor != nil {
		if at := bytes.Index(raw, []byte("*"+anchor[1])); at >= 0 {
			fault.Line = 1 + bytes.Count(raw[:at], []byte("\n"))
			fault.Column = at - bytes.LastIndexByte(raw[:at], '\n')
		}
	}
	return fault
}

// jsonEscape finds each escape of JSON, and those together that are one character.
var jsonEscape = regexp.MustCompile(`\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\.`)

// asYAML has JSON read of which YAML takes not all: tabs, of which valid JSON has none in
// strings, and two kinds of escapes. But for these all stays where it is.
func asYAML(raw []byte) []byte {
	if !bytes.ContainsAny(raw, "\t\\") || !json.Valid(raw) {
		return raw
	}
	raw = bytes.ReplaceAll(raw, []byte("\t"), []byte(" "))
	return jsonEscape.ReplaceAllFunc(raw, func(escape []byte) []byte {
		var text string
		switch {
		case string(escape) == `\/`:
			return []byte("/")
		case len(escape) > 2 && json.Unmarshal([]byte(`"`+string(escape)+`"`), &text) == nil:
			return []byte(text)
		}
		return escape
	})
}

// add keeps a fault, unless there are more already than people read at once.
func (f *Faults) add(fault Fault) {
	if len(*f) <= MaxFaults {
		*f = append(*f, fault)
	}
}

// bounded are as many as people read at once.
func (f Faults) bounded() Faults {
	if len(f) <= MaxFaults {
		return f
	}
	return append(f[:MaxFaults:MaxFaults], Fault{Message: "there are more faults: mend these first"})
}

// Join is what the documents declare together.
func Join(documents ...Document) Routing {
	m := newMerger()
	for _, d := range documents {
		m.add(d.Name, d.Routing)
	}
	return m.merged
}
