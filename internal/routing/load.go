package routing

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFiles bounds the files of one declaration.
const maxFiles = 1000

// Text is a file that holds a declaration, or a part of one.
type Text struct {
	Name string
	Raw  []byte
}

// ReadFiles reads files, and of folders the files in them that end with .yaml, .yml or .json,
// by their names. Together they are one declaration. The error names all that cannot be read.
func ReadFiles(paths ...string) ([]Text, error) {
	var (
		texts  []Text
		faults []error
		left   = int64(MaxDocument)
	)
	files, err := filesOf(paths)
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		raw, err := readFile(path, left)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		left -= int64(len(raw))
		texts = append(texts, Text{Name: path, Raw: raw})
	}
	return texts, errors.Join(faults...)
}

func filesOf(paths []string) (files []string, err error) {
	for _, path := range paths {
		found, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !found.IsDir() {
			files = append(files, path)
			continue
		}
		inside, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		before := len(files)
		for _, entry := range inside { // by their names
			if declares(path, entry) {
				files = append(files, filepath.Join(path, entry.Name()))
			}
		}
		if len(files) == before { // a mount that failed looks so, and declares nothing less than all
			return nil, fmt.Errorf("the folder %s has no file that ends with .yaml, .yml or .json: {} in one declares nothing", path)
		}
	}
	if len(files) > maxFiles {
		return nil, fmt.Errorf("there are %d files: there may be %d", len(files), maxFiles)
	}
	return files, nil
}

// declares tells whether a file in a folder is meant. Mounts of Kubernetes keep theirs behind
// links, beside folders whose names begin with dots; editors have hidden files too.
func declares(folder string, entry fs.DirEntry) bool {
	name := entry.Name()
	if strings.HasPrefix(name, ".") || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)) {
		return false
	}
	found, err := os.Stat(filepath.Join(folder, name))
	return err != nil || found.Mode().IsRegular() // what cannot be looked at cannot be read: that is told
}

func readFile(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	raw, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(raw)) > most {
		err = fmt.Errorf("%s: all files together are larger than %d bytes", path, MaxDocument)
	}
	return raw, err
}

// ParseAll parses and checks texts that are one declaration. Where there are no faults, that
// is what they declare.
func ParseAll(checks Checks, texts ...Text) (Routing, Faults) {
	documents := make([]Document, len(texts))
	var faults Faults
	whole := true
	for i, text := range texts {
		var found Faults
		documents[i], found = Parse(text.Name, text.Raw)
		whole = whole && documents[i].root != nil
		faults = append(faults, found...)
	}
	if whole { // else names would be missing that are declared where nobody can read them
		faults = append(faults, faults.without(Check(checks, documents...))...)
	}
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return Join(documents...), faults.bounded()
}

// without leaves out of others what is about fields that could not be read, and is known to be
// so.
func (f Faults) without(others Faults) Faults {
	return slices.DeleteFunc(others, func(other Fault) bool {
		return slices.ContainsFunc(f, func(unread Fault) bool {
			rest, below := strings.CutPrefix(other.Field, unread.Field)
			return other.File == unread.File && unread.Field != "" && below && (rest == "" || rest[0] == '.' || rest[0] == '[')
		})
	})
}

// Stamp is a digest of texts, or of why there are none.
func Stamp(texts []Text, err error) [sha256.Size]byte {
	var all bytes.Buffer
	for _, text := range texts {
		fmt.Fprintf(&all, "%q %d ", text.Name, len(text.Raw))
		all.Write(text.Raw)
	}
	fmt.Fprint(&all, err)
	return sha256.Sum256(all.Bytes())
}
