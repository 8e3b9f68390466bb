package cli

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"envoke/internal/faas"
)

// maxSource is above every limit of a server (32 MiB for wasm modules); it keeps a
// wrong file from filling the memory.
const maxSource = 64 << 20

const wasm = ".wasm"

// languageOf tells it by the end of a file's name.
func languageOf(path string) (faas.Language, bool) {
	for _, language := range faas.Languages() {
		if slices.Contains(language.Extensions(), filepath.Ext(path)) {
			return language, true
		}
	}
	return "", false
}

// extensions lists them for people.
func extensions() string {
	var all []string
	for _, language := range faas.Languages() {
		all = append(all, fmt.Sprintf("%s (%s)", strings.Join(language.Extensions(), ", "), language))
	}
	return strings.Join(all, ", ")
}

// source is code in a local file.
type source struct {
	path    string
	name    faas.Name
	content []byte
}

// readSource reads a file and names it after itself.
func readSource(path string) (source, error) {
	language, ok := languageOf(path)
	if !ok {
		return source{}, misuse("%s: the end of its name tells no language: known are %s", path, extensions())
	}
	content, err := readFile(path)
	if err != nil {
		return source{}, err
	}
	name := faas.Name{Language: language, Title: titleOf(path)}
	if _, err := faas.ParseName(name.String()); err != nil {
		return source{}, misuse("%s: no name can be made of that file's: rename it", path)
	}
	return source{path: path, name: name, content: content}, nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, misuse("there is no file %s", path)
	case err != nil:
		return nil, err
	case !file.Mode().IsRegular():
		return nil, misuse("%s is no regular file", path)
	case file.Size() > maxSource:
		return nil, misuse("%s has more than %d bytes", path, maxSource)
	}
	return os.ReadFile(path)
}

// titleOf makes a title of a file's or folder's name.
func titleOf(path string) string {
	base := filepath.Base(path)
	title := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_':
			return r
		}
		return '-'
	}, strings.TrimSuffix(base, filepath.Ext(base)))
	return strings.Trim(title, "-_")
}

func (s source) isModule() bool { return filepath.Ext(s.path) == wasm }

// script is the code as script_content takes it.
func (s source) script() string {
	if s.isModule() {
		return base64.StdEncoding.EncodeToString(s.content)
	}
	return string(s.content)
}

func (s source) compileOptions() json.RawMessage {
	if s.isModule() {
		return json.RawMessage(`{"target":"wasm32-wasip1"}`)
	}
	return nil
}

// line is a line of the code, from 1; "" where there is none.
func (s source) line(n int) string {
	lines := strings.Split(string(s.content), "\n")
	if s.isModule() || n < 1 || n > len(lines) {
		return ""
	}
	return strings.TrimRight(lines[n-1], "\r")
}

// parseName reads the name that somebody gives to code of a language: a title, or
// the whole name.
func parseName(text string, language faas.Language) (faas.Name, error) {
	if title, ok := strings.CutPrefix(text, string(language)+"-"); ok {
		text = title
	}
	name, err := faas.ParseName(string(language) + "-" + text)
	if err != nil {
		return name, misuse("the name %q: %s", text, faas.AsError(err).Message)
	}
	for _, other := range faas.Languages() {
		if strings.HasPrefix(text, string(other)+"-") {
			return name, misuse("the name %q is %s's, but the code is %s", text, other, language)
		}
	}
	return name, nil
}
