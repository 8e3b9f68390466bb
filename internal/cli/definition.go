package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"envoke/internal/client"
	"envoke/internal/faas"
)

// descriptionFile is what describes the function of a folder.
const descriptionFile = "function.yaml"

// description is what function.yaml may say. Schema and Examples are inline, or the
// path of a file of JSON or YAML.
type description struct {
	Name             string          `json:"name"`
	Language         faas.Language   `json:"language"`
	Handler          string          `json:"handler"`
	Description      string          `json:"description"`
	Schema           json.RawMessage `json:"schema"`
	Examples         json.RawMessage `json:"examples"`
	Tags             []string        `json:"tags"`
	TimeoutMS        int             `json:"timeout_ms"`
	MemoryLimitMB    int             `json:"memory_limit_mb"`
	CPULimitMS       int             `json:"cpu_limit_ms"`
	OutputLimitBytes int             `json:"output_limit_bytes"`
	MaxConcurrency   int             `json:"max_concurrency"`
	RatePerMinute    int             `json:"rate_per_minute"`
	CacheTTLSeconds  int             `json:"cache_ttl_seconds"`
	Network          string          `json:"network"`
	Environment      json.RawMessage `json:"environment"`
}

// define reads a file or a folder as a function, and its code. A name that is given
// wins over all others.
func define(path, name string) (client.Definition, source, error) {
	described, folder := description{Name: name}, ""
	file, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = misuse("there is no file or folder %s", path)
	case err == nil && file.IsDir():
		described, err = describeFolder(path, name)
		folder = path
		path = filepath.Join(path, described.Handler)
	}
	if err != nil {
		return client.Definition{}, source{}, err
	}
	code, err := readSource(path)
	if err != nil {
		return client.Definition{}, code, err
	}
	wanted, err := newDefinition(described, code)
	if err == nil && folder != "" {
		wanted.Dependencies, err = dependenciesOf(folder, wanted.Language)
	}
	return wanted, code, err
}

// pinning are the files of a folder that pin the packages of its function.
var pinning = map[faas.Language][]string{
	faas.NodeJS: {"package.json", "package-lock.json"},
	faas.Python: {"requirements.txt"},
}

// dependenciesOf reads the files that pin packages, where all of them are there: a
// package.json without its lock pins nothing.
func dependenciesOf(folder string, language faas.Language) (map[string]string, error) {
	var files map[string]string
	for _, name := range pinning[language] {
		path := filepath.Join(folder, name)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		raw, err := readFile(path)
		if err != nil {
			return nil, err
		}
		if files == nil {
			files = make(map[string]string)
		}
		files[name] = string(raw)
	}
	return files, nil
}

// describeFolder finds out what a folder's description leaves open.
func describeFolder(folder, name string) (description, error) {
	d, err := readDescription(folder)
	if err != nil {
		return d, err
	}
	absolute, err := filepath.Abs(folder) // "." has no name
	if err != nil {
		return d, err
	}
	d.Name = first(name, d.Name, titleOf(absolute))
	if d.Handler == "" {
		d.Handler, err = onlySource(folder)
	}
	return d, err
}

func newDefinition(d description, code source) (client.Definition, error) {
	language := code.name.Language
	if d.Language != "" && d.Language != language {
		return client.Definition{}, misuse("%s: the language is %s, but %s is %s", descriptionFile, d.Language, code.path, language)
	}
	name := code.name
	if d.Name != "" {
		var err error
		if name, err = parseName(d.Name, language); err != nil {
			return client.Definition{}, err
		}
	}
	return client.Definition{
		Language: language, Title: name.Title, Description: d.Description,
		ScriptContent: code.script(), CompileOptions: code.compileOptions(),
		Schema: d.Schema, Examples: d.Examples, Tags: d.Tags,
		TimeoutMS: d.TimeoutMS, MemoryLimitMB: d.MemoryLimitMB, CPULimitMS: d.CPULimitMS, OutputLimitBytes: d.OutputLimitBytes, MaxConcurrency: d.MaxConcurrency,
		RatePerMinute:   d.RatePerMinute,
		CacheTTLSeconds: d.CacheTTLSeconds, Network: d.Network, Environment: d.Environment,
	}, nil
}

// readDescription reads function.yaml. A folder need not have one.
func readDescription(folder string) (d description, err error) {
	path := filepath.Join(folder, descriptionFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return d, err
	}
	if err := yaml.UnmarshalStrict(raw, &d); err != nil {
		return d, descriptionFault(path, raw, err)
	}
	if d.Schema, err = inlined(folder, d.Schema); err != nil {
		return d, fmt.Errorf("schema: %w", err)
	}
	if d.Examples, err = inlined(folder, d.Examples); err != nil {
		return d, fmt.Errorf("examples: %w", err)
	}
	return d, nil
}

// inlined reads the file where a value is the path of one.
func inlined(folder string, value json.RawMessage) (json.RawMessage, error) {
	if value = bytes.TrimSpace(value); len(value) == 0 || value[0] != '"' {
		return value, nil
	}
	var path string
	if err := json.Unmarshal(value, &path); err != nil {
		return nil, err
	}
	raw, err := readFile(filepath.Join(folder, path))
	if err != nil {
		return nil, err
	}
	if raw, err = yaml.YAMLToJSON(raw); err != nil { // JSON is YAML
		return nil, yamlFault(path, err)
	}
	return raw, nil
}

// onlySource finds the one file of code in a folder.
func onlySource(folder string) (string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", err
	}
	var found []string
	for _, entry := range entries {
		if _, ok := languageOf(entry.Name()); ok && entry.Type().IsRegular() {
			found = append(found, entry.Name())
		}
	}
	switch len(found) {
	case 0:
		return "", misuse("%s has no file of code (known are %s)", folder, extensions())
	case 1:
		return found[0], nil
	}
	return "", misuse("%s has several files of code (%s): say which is the handler in %s", folder, strings.Join(found, ", "), descriptionFile)
}
