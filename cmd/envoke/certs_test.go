package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"envoke/internal/cli"
	"envoke/internal/testrig"
)

// TestCerts: a set is made once, kept while it lasts, renewed when asked, and its end is said.
func TestCerts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	ends := regexp.MustCompile(`: the roles' certificates end on \d{4}-\d\d-\d\d, the authority on \d{4}-\d\d-\d\d\n$`)
	cert := func() string {
		raw, err := os.ReadFile(filepath.Join(dir, "host/tls.crt"))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	before := ""
	for _, test := range []struct {
		args         []string
		says, refuse string
		anew, usage  bool
	}{
		{[]string{"--keep", "--days", "20"}, "made", "", true, false},
		{nil, "", "there is a set already", false, false},
		{[]string{"--keep", "--days", "60"}, "renewed", "", true, false}, // fewer than 30 days are left
		{[]string{"--keep"}, "kept", "", false, false},
		{[]string{"--renew"}, "renewed", "", true, false},
		{[]string{"--force", "--renew"}, "", "none of the others can be", false, true},
		{[]string{"--force", "--host", "host.example,10.0.0.7"}, "made", "", true, false},
		{[]string{"--days", "0"}, "", "--days is 0", false, true},
	} {
		var stdout bytes.Buffer
		err := run(t.Context(), append([]string{"certs", "--out", dir}, test.args...), func(string) string { return "" }, &stdout, &stdout)
		said := stdout.String()
		switch {
		case test.refuse != "" && (err == nil || !strings.Contains(err.Error(), test.refuse)):
			t.Errorf("%v: %v, want %q", test.args, err, test.refuse)
		case test.usage != (cli.ExitCode(err) == 2):
			t.Errorf("%v: exit code %d of %v", test.args, cli.ExitCode(err), err)
		case test.refuse == "" && (err != nil || !strings.HasPrefix(said, test.says+" ") || !ends.MatchString(said)):
			t.Errorf("%v: %q, %v", test.args, said, err)
		}
		if now := cert(); (now != before) != test.anew {
			t.Errorf("%v: the certificate is another: %v", test.args, now != before)
		} else {
			before = now
		}
	}
}

func TestCertsWithoutAFolder(t *testing.T) {
	err := run(t.Context(), []string{"certs"}, func(string) string { return "" }, io.Discard, io.Discard)
	if cli.ExitCode(err) != 2 || !strings.Contains(err.Error(), `"out" not set; see envoke certs --help`) {
		t.Errorf("exit code %d, %v", cli.ExitCode(err), err)
	}
}

// TestHealth: the command says what the operators' port does, and what is missing.
func TestHealth(t *testing.T) {
	i := shared(t)
	port := i.operators[strings.LastIndexByte(i.operators, ':')+1:]
	testrig.Eventually(t, "Envoy to answer its operators", func() bool { // it may compile the filter
		r, err := send(http.MethodGet, i.operators+"/readyz", "")
		return err == nil && r.status == http.StatusOK
	})
	for _, test := range []struct {
		name           string
		args           []string
		operators      string // ENVOKE_OPERATORS_URL
		stdout, refuse string
	}{
		{"ready", []string{"--admin-port", port}, "", "ready\n", ""},
		{"by the variable", nil, i.operators, "ready\n", ""},
		{"by the variable, with a slash", nil, i.operators + "/", "ready\n", ""},
		{"the flag wins", []string{"--admin-port", port}, "http://127.0.0.1:1", "ready\n", ""},
		{"nobody", []string{"--admin-port", "1"}, "", "", "nothing answers at http://127.0.0.1:1: say by --admin-port or ENVOKE_OPERATORS_URL where the operators' port is"},
		{"nobody, by the variable", nil, "http://127.0.0.1:1", "", "nothing answers at http://127.0.0.1:1: say by --admin-port"},
		{"no URL", nil, "localhost", "", "ENVOKE_OPERATORS_URL: "},
		{"somebody else", []string{"--admin-port", i.base[strings.LastIndexByte(i.base, ':')+1:]}, "", "", "is not that of Envoke's operators"},
	} {
		var stdout bytes.Buffer
		getenv := func(name string) string {
			if name == operatorsVariable {
				return test.operators
			}
			return ""
		}
		err := run(t.Context(), append([]string{"health"}, test.args...), getenv, &stdout, &stdout)
		if test.refuse == "" && err != nil && strings.HasPrefix(err.Error(), "unready: wait for Envoy") { // on a busy machine
			continue
		}
		if test.refuse == "" && err != nil || test.refuse != "" && (err == nil || !strings.Contains(err.Error(), test.refuse)) || stdout.String() != test.stdout {
			t.Errorf("%s: %q, %v", test.name, stdout.String(), err)
		}
	}
}
