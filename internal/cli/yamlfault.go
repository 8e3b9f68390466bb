package cli

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"

	"envoke/internal/faas"
	"envoke/internal/strict"
)

// lineOf finds the line in what the YAML library says.
var lineOf = regexp.MustCompile(`line (\d+): (.*)`)

// yamlFault says where a file is no YAML, and why, without the library's own words
// about itself.
func yamlFault(path string, err error) error {
	if found := lineOf.FindStringSubmatch(err.Error()); found != nil {
		return misuse("%s:%s: %s", path, found[1], found[2])
	}
	_, reason, _ := strings.Cut(err.Error(), "yaml: ")
	return misuse("%s: it is no YAML: %s", path, first(reason, err.Error()))
}

// descriptionFault says which key of a description is wrong, and what is expected
// there. The library's own error is of Go's types.
func descriptionFault(path string, raw []byte, err error) error {
	content, invalid := yaml.YAMLToJSONStrict(raw)
	if invalid != nil {
		return yamlFault(path, invalid)
	}
	if bytes.IndexByte([]byte(`{n`), content[0]) < 0 {
		return misuse("%s must be keys with values, such as 'handler: main.js'", path)
	}
	fault := strict.Decode(content, "", new(description))
	if fault == nil {
		return misuse("%s: %w", path, err)
	}
	told := faas.AsError(fault)
	key, _, _ := strings.Cut(fmt.Sprint(told.Details["member"]), ".")
	return misuse("%s%s: %s", path, keyLine(raw, key), told.Message)
}

// keyLine is the line of a key at the beginning of a line, as ":3"; "" where there is
// none.
func keyLine(raw []byte, key string) string {
	at := regexp.MustCompile(`(?m)^["']?` + regexp.QuoteMeta(key) + `["']?\s*:`).FindIndex(raw)
	if at == nil {
		return ""
	}
	return fmt.Sprintf(":%d", 1+bytes.Count(raw[:at[0]], []byte("\n")))
}
