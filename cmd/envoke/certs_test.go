package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

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
		anew         bool
	}{
		{[]string{"--keep", "--days", "20"}, "made", "", true},
		{nil, "", "there is a set already", false},
		{[]string{"--keep", "--days", "60"}, "renewed", "", true}, // fewer than 30 days are left
		{[]string{"--keep"}, "kept", "", false},
		{[]string{"--renew"}, "renewed", "", true},
		{[]string{"--force", "--renew"}, "", "none of the others can be", false},
		{[]string{"--force", "--host", "host.example,10.0.0.7"}, "made", "", true},
		{[]string{"--days", "0"}, "", "--days is 0", false},
	} {
		var stdout bytes.Buffer
		err := run(t.Context(), append([]string{"certs", "--out", dir}, test.args...), func(string) string { return "" }, &stdout, &stdout)
		said := stdout.String()
		switch {
		case test.refuse != "" && (err == nil || !strings.Contains(err.Error(), test.refuse)):
			t.Errorf("%v: %v, want %q", test.args, err, test.refuse)
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

// TestHealth: the command says what the operators' port does, and what is missing.
func TestHealth(t *testing.T) {
	i := shared(t)
	port := i.operators[strings.LastIndexByte(i.operators, ':')+1:]
	testrig.Eventually(t, "Envoy to answer its operators", func() bool { // it may compile the filter
		r, err := send(http.MethodGet, i.operators+"/readyz", "")
		return err == nil && r.status == http.StatusOK
	})
	for _, test := range []struct {
		name, port, stdout, refuse string
	}{
		{"ready", port, "ready\n", ""},
		{"nobody", "1", "", "nothing answers on port 1"},
		{"somebody else", i.base[strings.LastIndexByte(i.base, ':')+1:], "", "is not that of Envoke's operators"},
	} {
		var stdout bytes.Buffer
		err := run(t.Context(), []string{"health", "--admin-port", test.port}, func(string) string { return "" }, &stdout, &stdout)
		if test.refuse == "" && err != nil || test.refuse != "" && (err == nil || !strings.Contains(err.Error(), test.refuse)) || stdout.String() != test.stdout {
			t.Errorf("%s: %q, %v", test.name, stdout.String(), err)
		}
	}
}
