package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// TestEachSettingBelongsToAPart: a flag that no part has could be given to serve only.
func TestEachSettingBelongsToAPart(t *testing.T) {
	all := newSettings(nil)
	known := map[string]bool{}
	parts := [][]string{flagsOfEach, flagsOfControl, flagsOfEnvoy}
	for _, l := range languages() {
		parts = append(parts, flagsOfHost(l))
	}
	for _, names := range parts {
		for _, name := range names {
			if known[name] = true; all.all.Lookup(name) == nil {
				t.Errorf("there is no setting %s", name)
			}
		}
	}
	all.all.VisitAll(func(f *pflag.Flag) {
		if !known[f.Name] {
			t.Errorf("no part has --%s: name it in settings.go", f.Name)
		}
	})
}

// TestAPartMakesItsOwnFoldersOnly: another's may be where it cannot write.
func TestAPartMakesItsOwnFoldersOnly(t *testing.T) {
	for name, test := range map[string]struct{ flags, want []string }{
		"control": {flagsOfControl, []string{"data"}},
		"nodejs":  {flagsOfHost(languages()[0]), []string{"cache"}},
		"envoy":   {flagsOfEnvoy, []string{"cache"}},
		"serve":   {nil, []string{"cache", "data"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			given := newSettings(test.flags)
			given.config.DataDir, given.config.CacheDir = filepath.Join(dir, "data"), filepath.Join(dir, "cache")
			if err := makeFolders(given); err != nil {
				t.Fatal(err)
			}
			made, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, folder := range made {
				got = append(got, folder.Name())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
