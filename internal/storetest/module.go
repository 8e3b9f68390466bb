package storetest

import (
	"bytes"
	"testing"

	"envoke/internal/faas"
)

func testModules(t *testing.T, open Open) {
	store := open(t, t.TempDir())
	defer store.Close()
	find := func(digest string, want []byte) {
		t.Helper()
		got, err := store.FindModule(t.Context(), digest)
		code := faas.Code("")
		if want == nil {
			code = faas.NotFound
		}
		wantCode(t, "find "+digest, err, code)
		if !bytes.Equal(got, want) {
			t.Errorf("%s is %q, want %q", digest, got, want)
		}
	}
	keep := func(digest string, wasm []byte) {
		t.Helper()
		wantCode(t, "keep "+digest, store.KeepModule(t.Context(), digest, wasm), "")
	}
	find("a", nil)
	keep("a", []byte("\x00asm\xff"))
	find("a", []byte("\x00asm\xff"))
	keep("a", []byte("again"))
	find("a", []byte("again"))
}

func testSweepModules(t *testing.T, open Open) {
	store := open(t, t.TempDir())
	defer store.Close()
	for _, digest := range []string{"a", "b", "c", "d"} {
		if err := store.KeepModule(t.Context(), digest, []byte("12345")); err != nil {
			t.Fatal(err)
		}
	}
	sweep := func(bytes int64, limit, want int) {
		t.Helper()
		swept, err := store.SweepModules(t.Context(), bytes, limit)
		wantCode(t, "sweep", err, "")
		if swept != want {
			t.Errorf("swept %d, want %d", swept, want)
		}
	}
	sweep(20, 10, 0)
	sweep(10, 1, 1) // the oldest
	for digest, code := range map[string]faas.Code{"a": faas.NotFound, "b": "", "d": ""} {
		_, err := store.FindModule(t.Context(), digest)
		wantCode(t, "find "+digest, err, code)
	}
	sweep(10, 10, 1)
	sweep(4, 10, 2) // no room for one
	sweep(4, 10, 0)
}
