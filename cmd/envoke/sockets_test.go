package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/xds"
)

func TestParseEndpoint(t *testing.T) {
	for _, test := range []struct {
		in   string
		want xds.Endpoint
		ok   bool
	}{
		{"unix:/run/x.sock", xds.Endpoint{Path: "/run/x.sock"}, true},
		{"unix:///run/x.sock", xds.Endpoint{Path: "/run/x.sock"}, true},
		{"http://127.0.0.1:9100", xds.Endpoint{Host: "127.0.0.1", Port: 9100}, true},
		{"http://10.0.0.1/", xds.Endpoint{Host: "10.0.0.1", Port: 80}, true},
		{"http://runtime:9100", xds.Endpoint{}, false},
		{"unix:", xds.Endpoint{}, false},
		{"https://runtime", xds.Endpoint{}, false},
		{"http://runtime/path", xds.Endpoint{}, false},
		{"http://127.0.0.1:99999", xds.Endpoint{}, false},
		{"", xds.Endpoint{}, false},
	} {
		got, err := parseEndpoint(test.in)
		if (err == nil) != test.ok {
			t.Errorf("%q: error %v, want ok %v", test.in, err, test.ok)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q: %s", test.in, diff)
		}
	}
}

func TestParseEndpoints(t *testing.T) {
	got, err := parseEndpoints("unix:/run/x.sock, http://10.0.0.1:9100")
	want := []xds.Endpoint{{Path: "/run/x.sock"}, {Host: "10.0.0.1", Port: 9100}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%s (%v)", diff, err)
	}
	if _, err := parseEndpoints("unix:/run/x.sock,"); err == nil {
		t.Error("an empty address is taken")
	}
}

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	first, err := listenUnix(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(t.Context(), path); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("a second listener got %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as a killed process leaves it
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := listenUnix(t.Context(), path)
	if err != nil {
		t.Fatalf("a stale socket was not taken over: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSocketPathTooLong(t *testing.T) {
	_, _, err := openSockets(filepath.Join(t.TempDir(), strings.Repeat("x", 120)))
	if err == nil || !strings.Contains(err.Error(), "--run-dir") {
		t.Fatalf("got %v", err)
	}
}
