package secrets_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"envoke/internal/faas"
	"envoke/internal/secrets"
	"envoke/internal/sqlite"
)

var (
	keyA = bytes.Repeat([]byte{'k'}, 32)
	keyB = bytes.Repeat([]byte{0xff}, 32)
)

func readKeys(t *testing.T, content string) (*secrets.Keys, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return secrets.ReadKeys(path)
}

func mustRead(t *testing.T, content string) *secrets.Keys {
	t.Helper()
	keys, err := readKeys(t, content)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestReadKeys(t *testing.T) {
	first := mustRead(t, string(keyA)).First()
	for name, content := range map[string]string{
		"hexadecimal": hex.EncodeToString(keyA), "upper case": strings.ToUpper(hex.EncodeToString(keyA)) + "\n",
		"base64": base64.StdEncoding.EncodeToString(keyA), "without padding": base64.RawURLEncoding.EncodeToString(keyA) + "\r\n",
		"several": "\n" + hex.EncodeToString(keyA) + "\n" + base64.StdEncoding.EncodeToString(keyB) + "\n",
	} {
		if got := mustRead(t, content).First(); got != first {
			t.Errorf("%s: the first key is %s, want %s", name, got, first)
		}
	}
	for content, want := range map[string]string{
		"": "no key", "\n \n": "no key", "short": "line 1", hex.EncodeToString(keyA[:16]): "half a key", hex.EncodeToString(keyA[:15]): "line 1",
		hex.EncodeToString(keyA) + "\nhidden": "line 2", strings.Repeat("x", 65<<10): "too large",
		strings.Repeat(hex.EncodeToString(keyA)+"\n", 17): "more than 16",
	} {
		if _, err := readKeys(t, content); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%.20q: %v, want %s", content, err, want)
		}
	}
}

func TestSealIsBound(t *testing.T) {
	keys := mustRead(t, string(keyA))
	id, sealed, err := keys.Seal(t.Context(), []byte("value"), []byte("here"))
	if err != nil || bytes.Contains(sealed, []byte("value")) {
		t.Fatalf("%q, %v", sealed, err)
	}
	if got, err := keys.Open(t.Context(), id, sealed, []byte("here")); err != nil || string(got) != "value" {
		t.Errorf("opened %q, %v", got, err)
	}
	_, again, _ := keys.Seal(t.Context(), []byte("value"), []byte("here"))
	if bytes.Equal(sealed, again) {
		t.Error("a nonce was used twice")
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"elsewhere":     func() ([]byte, error) { return keys.Open(t.Context(), id, sealed, []byte("there")) },
		"changed":       func() ([]byte, error) { return keys.Open(t.Context(), id, changed, []byte("here")) },
		"cut":           func() ([]byte, error) { return keys.Open(t.Context(), id, sealed[:5], []byte("here")) },
		"by no key":     func() ([]byte, error) { return keys.Open(t.Context(), "x", sealed, []byte("here")) },
		"by another's ": func() ([]byte, error) { return mustRead(t, string(keyB)).Open(t.Context(), id, sealed, []byte("here")) },
	} {
		if got, err := open(); err == nil {
			t.Errorf("%s: opened %q", name, got)
		}
	}
}

func TestOwnedKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.key")
	var log strings.Builder
	open := func() *secrets.Owned {
		t.Helper()
		owned, err := secrets.OpenOwned(path, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		return owned
	}
	first := open()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) || first.Keys() != nil {
		t.Fatalf("there is a key before anybody needs one: %v", err)
	}
	id, sealed, err := first.Seal(t.Context(), []byte("value"), nil)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Stat(path)
	if err != nil || file.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", file.Mode(), err)
	}
	if !strings.Contains(log.String(), path) {
		t.Errorf("the log says %s", log.String())
	}
	if got, err := open().Open(t.Context(), id, sealed, nil); err != nil || string(got) != "value" {
		t.Errorf("opened %q, %v", got, err)
	}
	if err := secrets.MakeKey(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made over another: %v", err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("left are %v", files)
	}
}

// TestRotation: with another first key all is sealed anew, and what no key opens stays.
func TestRotation(t *testing.T) {
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "envoke.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var log strings.Builder
	with := func(keys *secrets.Keys) *secrets.Secrets {
		return secrets.New(secrets.Options{Store: store, Sealer: keys, Changed: func(context.Context) {}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	}
	lost, old := mustRead(t, strings.Repeat("l", 32)), mustRead(t, string(keyA))
	if err := with(lost).Put(t.Context(), faas.Actor{}, faas.Secret{Owner: "ada", Name: "LOST"}, "x"); err != nil {
		t.Fatal(err)
	}
	const many = 50
	for n := range many {
		for _, owner := range []string{"ada", "bob", ""} {
			if err := with(old).Put(t.Context(), faas.Actor{}, faas.Secret{Owner: owner, Name: fmt.Sprint("S", n)}, fmt.Sprint(owner, n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	both := mustRead(t, hex.EncodeToString(keyB)+"\n"+hex.EncodeToString(keyA))
	resealed, err := with(both).Reseal(t.Context(), store, both.First())
	if err != nil || resealed != 3*many {
		t.Errorf("resealed %d, %v", resealed, err)
	}
	only := with(mustRead(t, string(keyB)))
	values, err := only.Values(t.Context(), "bob", []string{"S0", "S49", "NONE"})
	if err != nil || len(values) != 2 || values["S0"] != "bob0" || values["S49"] != "bob49" {
		t.Errorf("%d values, %v", len(values), err)
	}
	values, err = only.Values(t.Context(), "ada", []string{"LOST"})
	if err != nil || len(values) != 0 || !strings.Contains(log.String(), "LOST") {
		t.Errorf("%d values, %v; the log says %s", len(values), err, log.String())
	}
	if text := fmt.Sprintf("%v %+v %#v", faas.Secrets{"A": "canary"}, faas.Secrets{"A": "canary"}, faas.Secrets{"A": "canary"}); strings.Contains(text, "canary") {
		t.Errorf("secrets print as %s", text)
	}
}
