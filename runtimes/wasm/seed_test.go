package wasm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/migrations"
	"envoke/runtimes/pool"
)

// Each committed module was built from the source that lies beside it: `make seeds`
// records the hashes of both, as sha256sum writes them.
func TestModulesFitTheirSources(t *testing.T) {
	for _, record := range []string{
		"../../migrations/seeds/rust-data_validator.sha256",
		"../conformance/testdata/probe.sha256",
		"../../internal/bench/add.sha256",
		"../../examples/wasm/primes.sha256",
	} {
		text, err := os.ReadFile(record)
		if err != nil {
			t.Fatal(err)
		}
		recorded := map[string]string{}
		for scanner := bufio.NewScanner(bytes.NewReader(text)); scanner.Scan(); {
			hash, path, _ := strings.Cut(scanner.Text(), "  ")
			recorded[path] = hash
		}
		if diff := cmp.Diff(recorded, hashes(t, strings.TrimSuffix(record, ".sha256"))); diff != "" {
			t.Errorf("%s does not fit: run `make seeds` (-recorded +found):\n%s", record, diff)
		}
	}
}

// hashes are those of a module and of every file of its source.
func hashes(t *testing.T, source string) map[string]string {
	t.Helper()
	found := map[string]string{}
	add := func(path string) error {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		relative, err := filepath.Rel(filepath.Dir(source), path)
		found[relative] = hex.EncodeToString(sum[:])
		return err
	}
	err := filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return add(path)
	})
	if err == nil {
		err = add(source + ".wasm")
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func validator(t testing.TB) faas.Function {
	t.Helper()
	for _, seed := range migrations.Seeds() {
		if seed.Name.Language == faas.Rust {
			return seed
		}
	}
	t.Fatal("there is no seed in Rust")
	return faas.Function{}
}

func TestSeed(t *testing.T) {
	seed := validator(t)
	var examples []struct {
		Params json.RawMessage `json:"params"`
		Result any             `json:"result"`
	}
	if err := json.Unmarshal(seed.Examples, &examples); err != nil || len(examples) == 0 {
		t.Fatalf("%d examples, %v", len(examples), err)
	}
	e, w := serve(t, Options{}), pool.Work{Script: seed.Script}
	for _, example := range examples {
		result, err := e.Invoke(t.Context(), w, pool.Invocation{Deadline: time.Now().Add(10 * time.Second), Params: example.Params})
		if err != nil {
			t.Fatalf("%s: %v", example.Params, err)
		}
		var got any
		if err := json.Unmarshal(result.JSON, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(example.Result, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", example.Params, diff)
		}
	}
	for params, want := range map[string]string{
		`{"rules":{}}`:                                   "data must be an object",
		`{"data":{"a":1},"rules":{"a":1}}`:               "rules.a must be an object",
		`{"data":{"a":1},"rules":{"a":{"b":1}}}`:         "rules.a.b is no rule: use required, type, enum, min, max, min_length or max_length",
		`{"data":{"a":1},"rules":{"a":{"type":"date"}}}`: "rules.a.type must be string, number, integer, boolean, object or array",
	} {
		_, err := e.Invoke(t.Context(), w, pool.Invocation{Deadline: time.Now().Add(10 * time.Second), Params: []byte(params)})
		if got := wantFault(t, err, faas.RuntimeError).Message; got != "the function exited with code 1: "+want {
			t.Errorf("%s: %s", params, got)
		}
	}
}
