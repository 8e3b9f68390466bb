package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"envoke/internal/testrig"
)

const (
	pageA, pageB = "https://a.example", "https://b.example"
	stranger     = "https://evil.example"
)

// edged is an installation with all that browsers and clients may want of its edge.
type edged struct {
	*installation
	files *publicFiles
	*http.Client
}

func serveEdge(t *testing.T, filter bool) edged {
	t.Helper()
	f := newPublicFiles(t)
	i := serve(t, f.args("--tls-client-ca-file", f.ca, "--cors-origins", pageA+", "+pageB, "--compression", fmt.Sprintf("--filter=%v", filter))...)
	if filter {
		if err := i.awaitFilter(); err != nil {
			t.Fatal(err)
		}
	}
	return edged{i, f, f.client()}
}

func (e edged) ask(t *testing.T, method, path, body string, headers ...string) reply {
	t.Helper()
	r, err := sendBy(e.Client, method, e.base+path, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// allows is the origin that an answer allows.
func (r reply) allows() string {
	return strings.Join(r.header.Values("Access-Control-Allow-Origin"), "|")
}

// TestEdgeOfCaches: neither cache keeps what one origin, one encoding or one certificate was
// answered for another.
func TestEdgeOfCaches(t *testing.T) {
	for _, filter := range []bool{false, true} {
		t.Run(fmt.Sprintf("filter=%v", filter), func(t *testing.T) {
			if everyFilter != "" && everyFilter != fmt.Sprint(filter) {
				t.Skip("not in this run")
			}
			e := serveEdge(t, filter)
			definition, err := json.Marshal(map[string]any{
				"language": "nodejs", "title": "kept", "cache_ttl_seconds": 600,
				"script_content": "globalThis.runs = (globalThis.runs ?? 0) + 1; return {runs, text: 'x'.repeat(4000), path: event.context?.http?.path}",
			})
			if err != nil {
				t.Fatal(err)
			}
			if r := e.ask(t, http.MethodPost, functionsPath, string(definition)); r.status != http.StatusCreated {
				t.Fatalf("%d %s", r.status, r.body)
			}
			t.Run("origins", e.originsApart)
			t.Run("encodings", e.encodingsApart)
			t.Run("certificates", e.certificatesApart)
		})
	}
}

// byCache tells which cache answered; empty: a host did.
func (r reply) byCache() string {
	_, by, _ := strings.Cut(r.header.Get("Server-Timing"), `cache;desc="`)
	by, _, _ = strings.Cut(by, `"`)
	return by
}

func (e edged) originsApart(t *testing.T) {
	for _, path := range []string{"/function/nodejs-kept/origins", "/function/nodejs-kept/more"} {
		first := e.ask(t, http.MethodGet, path, "", "Origin", pageA)
		if first.allows() != pageA || first.byCache() != "" {
			t.Fatalf("first: %v", first.header)
		}
		by := map[string]bool{}
		for n := range 4 {
			for origin, want := range map[string]string{pageA: pageA, pageB: pageB, stranger: "", "": ""} {
				var headers []string
				if origin != "" {
					headers = []string{"Origin", origin}
				}
				r := e.ask(t, http.MethodGet, path, "", headers...)
				by[r.byCache()] = true
				if r.allows() != want || !bytes.Equal(r.body, first.body) || (r.header.Get("Access-Control-Allow-Credentials") == "true") != (want != "") {
					t.Errorf("%d. %q gets %q from %q: %v", n, origin, r.allows(), r.byCache(), r.header)
				}
				vary := strings.ToLower(strings.Join(r.header.Values("Vary"), ","))
				if strings.Count(vary, "origin") != 1 || strings.Join(r.header.Values("X-Content-Type-Options"), "|") != "nosniff" {
					t.Errorf("%d. %q: varies by %q, %v", n, origin, vary, r.header)
				}
			}
		}
		if by[""] || len(by) == 0 {
			t.Errorf("answered by %v", by)
		}
		t.Logf("%s: answered by %v", path, by)
	}
	refused := e.ask(t, http.MethodPost, "/api/v1/initialize", "{}", "Language-Title", "nodejs-a..b", "Origin", pageB)
	unknown := e.ask(t, http.MethodPost, "/api/v1/execute/none", "{}", "Origin", pageB)
	if refused.status != 400 || refused.allows() != pageB || unknown.status/100 != 4 || unknown.allows() != pageB {
		t.Errorf("errors: %d %v, %d %v", refused.status, refused.header, unknown.status, unknown.header)
	}
	preflight := e.ask(t, http.MethodOptions, "/api/v1/execute", "", "Origin", pageA, "Access-Control-Request-Method", "POST")
	if preflight.status != 200 || preflight.allows() != pageA {
		t.Errorf("preflight: %d %v", preflight.status, preflight.header)
	}
	own := e.ask(t, http.MethodOptions, "/function/nodejs-kept/own", "", "Origin", stranger, "Access-Control-Request-Method", "POST")
	if own.status != 200 || own.allows() != "" || !strings.Contains(string(own.body), "/own") {
		t.Errorf("a preflight that is the function's to answer: %d %s", own.status, own.body)
	}
}

func (e edged) encodingsApart(t *testing.T) {
	const path = "/function/nodejs-kept/encodings"
	first := e.ask(t, http.MethodGet, path, "", "Accept-Encoding", "gzip")
	if first.header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("first: %v", first.header)
	}
	body := unzip(t, first.body)
	for range 3 {
		for _, accept := range []string{"gzip", "br", "identity"} {
			r := e.ask(t, http.MethodGet, path, "", "Accept-Encoding", accept)
			got := r.body
			if accept == "gzip" {
				got = unzip(t, r.body)
			}
			if want := strings.TrimPrefix(accept, "identity"); r.header.Get("Content-Encoding") != want || accept != "br" && !bytes.Equal(got, body) || r.byCache() == "" {
				t.Errorf("%s: encoding %q from %q: %v", accept, r.header.Get("Content-Encoding"), r.byCache(), r.header)
			}
		}
	}
	script := `{"script_content":"return {statusCode: 200, headers: {'content-type': 'text/event-stream'}, body: 'data: ' + 'x'.repeat(4000)}"}`
	r := e.ask(t, http.MethodPost, "/api/v1/execute", script, "Language-Title", "nodejs-hello", "Accept-Encoding", "gzip")
	if r.status != http.StatusOK || r.header.Get("Content-Encoding") != "gzip" {
		t.Errorf("an envelope: %d %v", r.status, r.header)
	}
}

func unzip(t *testing.T, raw []byte) []byte {
	t.Helper()
	reader, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (e edged) certificatesApart(t *testing.T) {
	var session struct {
		RequestID string `json:"request_id"`
	}
	r := e.ask(t, http.MethodPost, "/api/v1/initialize", `{}`, "Language-Title", "nodejs-kept")
	if err := json.Unmarshal(r.body, &session); err != nil || r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	for _, who := range []string{"one.example", "two.example", ""} {
		client := e.files.client()
		if who != "" {
			client = e.files.client(e.files.issued(who))
		}
		testrig.Eventually(t, "a cached result of "+who+"'s own", func() bool {
			first, err := sendBy(client, http.MethodPost, e.base+"/api/v1/execute/"+session.RequestID, `{"params":"`+who+`"}`)
			if err != nil {
				t.Fatal(err)
			}
			return first.cached(t)
		})
		same := func(c *http.Client) reply {
			r, err := sendBy(c, http.MethodPost, e.base+"/api/v1/execute/"+session.RequestID, `{"params":"`+who+`"}`, "X-Forwarded-Client-Cert", "Subject=other")
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		if !same(client).cached(t) {
			t.Errorf("%q: a forged header counts", who)
		}
		if same(e.files.client(e.files.issued("other.example"))).cached(t) {
			t.Errorf("%q: another certificate got its result", who)
		}
	}
}
