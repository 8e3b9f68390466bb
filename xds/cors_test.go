package xds

import (
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"envoke/internal/envoytest"
	"envoke/internal/testrig"
)

const (
	pageA, pageB = "https://a.example", "https://b.example"
	stranger     = "https://evil.example"
)

// allowed is what an answer tells a browser of its origin, and whether with credentials.
func allowed(r envoytest.Reply) (origin, credentials string) {
	return strings.Join(r.Header.Values("Access-Control-Allow-Origin"), "|"), r.Header.Get("Access-Control-Allow-Credentials")
}

func (s *stack) preflight(path, origin string) envoytest.Reply {
	s.t.Helper()
	return s.do(http.MethodOptions, path, "", "Origin", origin,
		"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type,language-title")
}

// TestCORS asks every kind of answer that a page may have: of a host, of control, of ext_proc,
// and of Envoy for somebody who is away.
func TestCORS(t *testing.T) {
	plain := executePath + "/" + somePlainID()
	answers := []struct {
		name, method, path string
		headers            []string
		status             int
	}{
		{"a host's", "POST", plain, nil, 200},
		{"control's", "GET", functionsPath, nil, 200},
		{"ext_proc's", "POST", initializePath, []string{"Language-Title", "immediate"}, 404},
		{"Envoy's, of no such path", "GET", "/nowhere", nil, 404},
		{"Envoy's, of no such language", "POST", "/function/cobol-a", nil, 404},
		{"Envoy's, of no such method", "POST", healthPath, nil, 405},
		{"one for ext_proc", "POST", initializePath, []string{"Language-Title", "fail"}, 503},
		{"one for a host that died", "POST", plain, []string{"X-Do", "die"}, 503},
	}
	for _, test := range []struct {
		name        string
		origins     []string
		allowed     []string
		refused     []string
		credentials string
	}{
		{"listed", []string{pageA, pageB}, []string{pageA, pageB}, []string{stranger, "https://a.example.evil", "http://a.example", "https://a.example:8443", "null"}, "true"},
		{"any", []string{"*"}, []string{pageA, stranger, "null"}, nil, ""},
		{"none", nil, nil, []string{pageA}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStack(t, func(state *State) { state.Listener.Origins = test.origins })
			for _, answer := range answers {
				for _, origin := range append(test.allowed, test.refused...) {
					reply := s.do(answer.method, answer.path, "{}", append(answer.headers, "Origin", origin)...)
					got, credentials := allowed(reply)
					want, wantCredentials := origin, test.credentials
					if slices.Contains(test.refused, origin) {
						want, wantCredentials = "", ""
					}
					if reply.Status != answer.status || got != want || credentials != wantCredentials {
						t.Errorf("%s to %s: %d, allows %q with %q, want %d and %q", answer.name, origin, reply.Status, got, credentials, answer.status, want)
					}
					if want != "" && reply.Header.Get("Access-Control-Expose-Headers") != corsExposed {
						t.Errorf("%s exposes %q", answer.name, reply.Header.Get("Access-Control-Expose-Headers"))
					}
					if vary := strings.Join(reply.Header.Values("Vary"), ","); (vary == "origin") != (test.origins != nil) {
						t.Errorf("%s varies by %q", answer.name, vary)
					}
				}
			}
			for _, path := range []string{plain, initializePath, functionsPath, "/function/nodejs-a/b", "/runtime/nodejs/a"} {
				for _, origin := range test.allowed {
					reply := s.preflight(path, origin)
					got, credentials := allowed(reply)
					if reply.Status != http.StatusOK || got != origin || credentials != test.credentials || len(reply.Body) > 0 {
						t.Errorf("preflight of %s by %s: %d, allows %q with %q", path, origin, reply.Status, got, credentials)
					}
					if h := reply.Header; h.Get("Access-Control-Allow-Methods") != corsMethods || h.Get("Access-Control-Allow-Headers") != corsHeaders || h.Get("Access-Control-Max-Age") != "7200" {
						t.Errorf("preflight of %s: %v", path, h)
					}
				}
				for _, origin := range test.refused {
					if got, _ := allowed(s.preflight(path, origin)); got != "" {
						t.Errorf("preflight of %s by %s: allows %q", path, origin, got)
					}
				}
			}
		})
	}
}

// TestCORSByTheFilter: what the filter refuses is readable too.
func TestCORSByTheFilter(t *testing.T) {
	s := newStack(t, func(state *State) { state.Listener.Origins = []string{pageA} })
	s.load(envoytest.Wasm(t, filterDir))
	testrig.Eventually(t, "the filter", s.refuses)
	reply := s.do("POST", initializePath, "{}", "Language-Title", "nodejs-a..b", "Origin", pageA)
	if got, _ := allowed(reply); reply.Status != 400 || got != pageA || reply.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %v", reply.Status, reply.Header)
	}
}

// TestSecurityHeaders are on every answer, once, and a function's own stay.
func TestSecurityHeaders(t *testing.T) {
	plain := executePath + "/" + somePlainID()
	for name, s := range map[string]*stack{
		"plain":        newStack(t, func(state *State) { state.Listener.HSTS = time.Hour }),
		"TLS":          newTLSStack(t, newAuthority(t), nil),
		"TLS and HSTS": newTLSStack(t, newAuthority(t), func(state *State) { state.Listener.HSTS = 90 * time.Second }),
	} {
		t.Run(name, func(t *testing.T) {
			hsts := ""
			if name == "TLS and HSTS" {
				hsts = "max-age=90"
			}
			for _, test := range []struct {
				name, method, path string
				headers            []string
				status             int
			}{
				{"a host's", "POST", plain, nil, 200},
				{"control's", "GET", functionsPath, nil, 200},
				{"ext_proc's", "POST", initializePath, []string{"Language-Title", "immediate"}, 404},
				{"one for ext_proc", "POST", initializePath, []string{"Language-Title", "fail"}, 503},
				{"one for a host that died", "POST", plain, []string{"X-Do", "die"}, 503},
				{"a route's", "GET", executePath, nil, 405},
				{"no route's", "GET", "/nowhere", nil, 404},
				{"before any route", "GET", "/a%2Fb", nil, 400},
			} {
				reply := s.do(test.method, test.path, "{}", test.headers...)
				sniff, strict := strings.Join(reply.Header.Values("X-Content-Type-Options"), "|"), strings.Join(reply.Header.Values("Strict-Transport-Security"), "|")
				if reply.Status != test.status || sniff != "nosniff" || strict != hsts {
					t.Errorf("%s: %d, %q, %q; want %d, nosniff, %q", test.name, reply.Status, sniff, strict, test.status, hsts)
				}
			}
			reply := s.do("POST", plain, "{}", "X-Do", "headers")
			sniff, strict := reply.Header.Values("X-Content-Type-Options"), reply.Header.Values("Strict-Transport-Security")
			if strings.Join(sniff, "|") != "own" || strings.Join(strict, "|") != "own" {
				t.Errorf("a host's own: %q, %q", sniff, strict)
			}
		})
	}
}

func TestCompression(t *testing.T) {
	off := newStack(t, nil)
	on := newStack(t, func(state *State) { state.Listener.Compress = true })
	plain := executePath + "/" + somePlainID()
	const large, small = "4096", "512"
	for _, test := range []struct {
		name, accept, do string
		want             string // the encoding
		length           int
	}{
		{"gzip", "gzip", "typed application/json " + large, "gzip", 4096},
		{"br", "br", "typed application/json " + large, "br", 4096},
		{"both", "gzip, br", "typed text/plain " + large, "br", 4096},
		{"by weight", "gzip;q=1, br;q=0.1", "typed text/plain " + large, "gzip", 4096},
		{"with a charset", "gzip", "typed text/html;charset=utf-8 " + large, "gzip", 4096},
		{"small", "gzip, br", "typed application/json " + small, "", 512},
		{"nobody asks", "", "typed application/json " + large, "", 4096},
		{"refused", "gzip;q=0", "typed application/json " + large, "", 4096},
		{"an image", "gzip, br", "typed image/png " + large, "", 4096},
		{"a stream", "gzip, br", "typed text/event-stream " + large, "", 4096},
		{"gRPC", "gzip, br", "typed application/grpc " + large, "", 4096},
		{"encoded already", "gzip, br", "encoded", "zstd", 4096},
	} {
		t.Run(test.name, func(t *testing.T) {
			headers := []string{"X-Do", test.do}
			if test.accept != "" {
				headers = append(headers, "Accept-Encoding", test.accept)
			}
			reply := on.do("POST", plain, "{}", headers...)
			if got := reply.Header.Get("Content-Encoding"); reply.Status != 200 || got != test.want {
				t.Fatalf("%d, encoding %q, want %q", reply.Status, got, test.want)
			}
			length := len(reply.Body)
			if test.want == "gzip" {
				length = len(unzip(t, reply.Body))
			}
			if compressed := test.want == "gzip" || test.want == "br"; compressed != (len(reply.Body) < 1000 && test.length > 1000) {
				t.Errorf("%d bytes came", len(reply.Body))
			}
			if test.want != "br" && length != test.length {
				t.Errorf("%d bytes, want %d", length, test.length)
			}
			if got := off.do("POST", plain, "{}", headers...).Header.Get("Content-Encoding"); got != strings.TrimLeft(test.want, "gzipbr") && got != "zstd" {
				t.Errorf("without the setting: encoding %q", got)
			}
		})
	}
	for tag, want := range map[string]string{`"strong"`: "", `W/"weak"`: `W/"weak"`} {
		reply := on.do("POST", plain, "{}", "X-Do", "tagged "+tag, "Accept-Encoding", "gzip")
		if got := reply.Header.Get("Etag"); got != want || reply.Header.Get("Content-Encoding") != "gzip" || reply.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("of the tag %s comes %q: %v", tag, got, reply.Header)
		}
	}
}

func unzip(t *testing.T, raw []byte) []byte {
	t.Helper()
	reader, err := gzip.NewReader(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
