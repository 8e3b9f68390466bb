package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
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

// TestSeveralControlsNeedPostgres: each would have a database of its own.
func TestSeveralControlsNeedPostgres(t *testing.T) {
	const fault = "DATABASE_URL is no postgres:// address, although CONTROL_ADDRESSES has 2 controls"
	for _, test := range []struct {
		addresses, database string
		want                bool
	}{
		{"a:1,b:1", "", true},
		{"a:1,b:1", "sqlite:/tmp/x.db", true},
		{"a:1,b:1", "postgres://u@h/d", false},
		{"a:1", "", false},
	} {
		c := newSettings(flagsOfControl).config
		c.ControlListen, c.ControlAddresses, c.DatabaseURL, c.RedisURL = "10.0.0.1:1", test.addresses, test.database, "redis://h"
		if faults := fmt.Sprint(checkRemoteControl(c)); strings.Contains(faults, fault) != test.want {
			t.Errorf("%+v: %s", test, faults)
		}
	}
}

// TestFaultsOfAPartAreReportedTogether: what only one part lacks, and what is wrong with the
// files of its certificate, is said in the same round as all else.
func TestFaultsOfAPartAreReportedTogether(t *testing.T) {
	key := filepath.Join(t.TempDir(), "tls.key")
	writeFile(t, key, "x")
	environment := map[string]string{
		"CONTROL_ADDRESSES": "control-1:9010", "HOST_DRAIN_SECONDS": "-1", "REDIS_CACHE_URL": "http://cache",
		"TLS_CA": "/no/such/ca", "TLS_CERT": "/no/such/cert", "TLS_KEY": key, "NODEJS_RUNTIME_URL": "http://127.0.0.1:9100",
	}
	everyPart := []string{"HOST_DRAIN_SECONDS is -1", "REDIS_CACHE_URL", "TLS_CA: stat /no/such/ca", "TLS_CERT: stat /no/such/cert"}
	for name, test := range map[string]struct{ flags, want []string }{
		"control": {flagsOfControl, append(everyPart, "CONTROL_LISTEN is not set", "REDIS_URL is not set", "NODEJS_RUNTIME_URL is set")},
		"nodejs":  {flagsOfHost(languages()[0]), append(everyPart, "HOST_LISTEN is not set", "REDIS_URL is not set")},
		"envoy":   {flagsOfEnvoy, everyPart},
		"serve":   {nil, []string{"HOST_DRAIN_SECONDS is -1", "REDIS_CACHE_URL", "serve runs all on this machine"}},
	} {
		_, _, err := newEnvironment(streams{getenv: func(name string) string { return environment[name] }, stderr: io.Discard}, newSettings(test.flags))
		if err == nil {
			t.Fatalf("%s: no fault was found", name)
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error does not say %q:\n%v", name, want, err)
			}
		}
	}
}
