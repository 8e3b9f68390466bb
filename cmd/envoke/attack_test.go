package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/runtimepb"
)

// what an attacker wants: to run code.
const wanted, wantedBody = "/api/v1/execute", `{"script_content":"return 1","params":1}`

// TestForgedTokens: no token that the issuer has not signed for us lets anybody in.
func TestForgedTokens(t *testing.T) {
	d := openDoorWith(t)
	mallory := testrig.NewIssuer(t, d.issuer.URL, "1")
	claims := map[string]any{"iss": d.issuer.URL, "sub": "ada", "scope": "admin", "aud": "envoke", "exp": time.Now().Add(time.Hour).Unix()}
	hmacOf := func(secret []byte) string {
		signed := testrig.Unsigned(t, map[string]any{"alg": "HS256", "kid": "1"}, claims)
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(signed))
		return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	good := d.issuer.Token(t, claims)
	parts := strings.Split(good, ".")
	other := strings.Split(d.issuer.Token(t, map[string]any{"sub": "bob", "scope": "", "aud": "envoke"}), ".")
	for name, token := range map[string]string{
		"no algorithm":                  testrig.Unsigned(t, map[string]any{"alg": "none"}, claims) + ".",
		"no algorithm, as it is spelt":  testrig.Unsigned(t, map[string]any{"alg": "nOnE"}, claims) + ".",
		"no algorithm, and a signature": testrig.Unsigned(t, map[string]any{"alg": "none", "kid": "1"}, claims) + "." + parts[2],
		"the public key as a secret":    hmacOf(d.issuer.PublicBytes()),
		"an empty secret":               hmacOf(nil),
		"the key set as a secret":       hmacOf([]byte(testrig.KeySet(d.issuer))),
		"a key that it brings":          mallory.TokenWith(t, map[string]any{"alg": "RS256", "jwk": mallory.Key()}, claims),
		"a key of its own place":        mallory.TokenWith(t, map[string]any{"alg": "RS256", "kid": "1", "jku": "http://127.0.0.1:1/keys"}, claims),
		"a key of a path":               mallory.TokenWith(t, map[string]any{"alg": "RS256", "kid": "../../../../dev/null"}, claims),
		"another's signature":           parts[0] + "." + parts[1] + "." + other[2],
		"another's claims":              parts[0] + "." + other[1] + "." + parts[2],
		"no signature":                  parts[0] + "." + parts[1] + ".",
		"two parts":                     parts[0] + "." + parts[1],
		"more parts":                    good + "." + parts[2],
		"of another key":                mallory.Token(t, claims),
		"expired":                       d.issuer.Token(t, map[string]any{"sub": "ada", "scope": "admin", "aud": "envoke", "exp": 1}),
		"for others":                    d.issuer.Token(t, map[string]any{"sub": "ada", "scope": "admin", "aud": []string{"others", "envoke-not"}}),
		"huge":                          strings.Repeat("a", 30<<10),
	} {
		t.Run(name, func(t *testing.T) {
			r := d.send(t, http.MethodPost, wanted, wantedBody, "Authorization", "Bearer "+token, "Language-Title", "nodejs-x")
			r.isError(t, 401, "UNAUTHORIZED", "envoy")
		})
	}
	for name, headers := range map[string][]string{
		"in the query": nil, "in a cookie": {"Cookie", "access_token=" + good}, "as a key": {"X-API-Key", good},
		"behind another": {"Authorization", "Bearer x", "Authorization", "Bearer " + good},
	} {
		t.Run("a good token "+name, func(t *testing.T) {
			r := d.send(t, http.MethodPost, wanted+"?access_token="+good, wantedBody, append(headers, "Language-Title", "nodejs-x")...)
			if r.status != 401 {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
	if r := d.send(t, http.MethodPost, wanted, wantedBody, "Authorization", "Bearer "+good, "Language-Title", "nodejs-x"); r.status != 200 {
		t.Fatalf("the good one: %d %s", r.status, r.body)
	}
}

// TestSpoofedHeaders: what says who calls is said by Envoy alone.
func TestSpoofedHeaders(t *testing.T) {
	d := openDoorWith(t)
	ada := d.caller(t, "ada")
	session := d.sessionOf(t, ada, "nodejs-x", `{"script_content":"return context.user_id"}`)
	for _, spoof := range [][]string{
		{"X-User-ID", "ada"},
		{"x-user-id", "ada", "X-USER-ID", "ada"},
		{"X-User-ID", "ada", "X-Envoke-Scopes", "admin"},
		{"X-Envoke-Scopes", "admin execute:all"},
		{"X-User-ID", "ada", "Connection", "X-User-ID"},
		{"X-Forwarded-Client-Cert", `By=x;Hash=y;Subject="CN=ada";URI=ada`},
		{"X-Forwarded-User", "ada"},
		{"X-Envoy-Internal", "true", "X-Forwarded-For", "127.0.0.1"},
		{"X-Envoy-Original-Path", "/health"},
		{"X-Original-URL", "/health"},
		{"X-HTTP-Method-Override", "GET"},
		{"X-Envoke-Session", session, "X-Envoke-Cluster", "runtime-nodejs"},
		{"X-Envoke-Uncached", "1"},
		{"X-Envoke-Namespace", "team-b"},
		{"X-User-ID", "ada", "X-Envoke-Namespace", "team-b", "X-Envoke-Issuer", teamsURL},
	} {
		for _, path := range []string{wanted, "/api/v1/execute/" + session, "/function/nodejs-calculator"} {
			t.Run(strings.Join(spoof, " ")+" "+path, func(t *testing.T) {
				nobody := d.send(t, http.MethodPost, path, wantedBody, append(spoof, "Language-Title", "nodejs-x")...)
				if nobody.status != 401 {
					t.Errorf("as nobody: %d %s", nobody.status, nobody.body)
				}
				if path == wanted {
					return
				}
				bob := d.send(t, http.MethodPost, path, wantedBody, slices.Concat(spoof, d.caller(t, "bob"))...)
				if strings.Contains(path, session) && bob.status != 404 || strings.Contains(string(bob.body), `"ada"`) {
					t.Errorf("as bob: %d %s", bob.status, bob.body)
				}
			})
		}
	}
	// Names with underscores may become such with dashes behind us: they are refused.
	if r := d.send(t, http.MethodPost, wanted, wantedBody, "X_User_ID", "ada"); r.status != 400 {
		t.Errorf("an underscore: %d %s", r.status, r.body)
	}
	// A context says who calls only as it was checked.
	own := d.sessionOf(t, ada, "nodejs-x", `{"script_content":"return context.user_id","context":{"user_id":"root"}}`)
	if r := d.send(t, http.MethodPost, "/api/v1/execute/"+own, "{}", ada...); r.result(t) != `"ada"` {
		t.Errorf("the function is told of %s", r.body)
	}
	r := d.send(t, http.MethodPost, "/runtime/nodejs/calculator", `{"params":{"operation":"add","a":1,"b":2},"context":{"user_id":"root"}}`, ada...)
	if r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// TestTokensStayAtTheDoor: a function is somebody else's code, and sees nothing that it
// could call with.
func TestTokensStayAtTheDoor(t *testing.T) {
	d := openDoorWith(t)
	d.mustAs(t, d.caller(t, "carol"), 201, "POST /api/v1/functions", `{"language":"nodejs","title":"spy","script_content":"return context.http.headers"}`)
	for _, path := range []string{"/function/nodejs-spy", "/function/nodejs-spy/more"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r := d.send(t, method, path, "", d.caller(t, "ada")...)
			var headers map[string]string
			if err := json.Unmarshal(r.body, &headers); err != nil || r.status != 200 || headers["x-user-id"] != "ada" {
				t.Fatalf("%d %s", r.status, r.body)
			}
			for name := range headers {
				if name == "authorization" || name == "x-api-key" || strings.HasPrefix(name, "x-envoke") {
					t.Errorf("%s %s: the function sees %s", method, path, name)
				}
			}
		}
	}
}

// TestNobodyIsNobody: who shows nothing that is taken is nobody, whatever it says, and what it
// shows all the same goes no further either.
func TestNobodyIsNobody(t *testing.T) {
	d := openDoorWith(t, "--anonymous-scopes", "execute:nodejs write:functions")
	d.mustAs(t, d.caller(t, "carol"), 201, "POST /api/v1/functions", `{"language":"nodejs","title":"spy","script_content":"return context.http ? context.http.headers : context.user_id"}`)
	good := strings.TrimPrefix(d.caller(t, "ada")[1], "Bearer ")
	for _, shown := range []string{"Basic YTpi", "Token " + good, "BEARER " + good, "Bearer" + good, "Digest x"} {
		r := d.send(t, http.MethodGet, "/function/nodejs-spy", "", "Authorization", shown)
		if r.status == 200 && (strings.Contains(string(r.body), "authorization") || strings.Contains(string(r.body), `"ada"`)) { // a request's id may have the letters
			t.Errorf("%.20s: %d %s", shown, r.status, r.body)
		}
	}
	if r := d.send(t, http.MethodGet, "/function/nodejs-spy", "", "Authorization", "bearer "+good); !strings.Contains(string(r.body), `"x-user-id":"ada"`) {
		t.Errorf("a scheme in lower case: %d %s", r.status, r.body)
	}
	for _, tt := range []struct{ path, body, title string }{
		{wanted, `{"script_content":"return context.user_id","params":1,"context":{"user_id":"root"}}`, "nodejs-x"},
		{"/runtime/nodejs/spy", `{"context":{"user_id":"root"}}`, ""},
	} {
		r := d.send(t, http.MethodPost, tt.path, tt.body, "Language-Title", tt.title)
		if got := r.result(t); got != "null" {
			t.Errorf("%s: the function is told of %s", tt.path, got)
		}
	}
	script, callContext := "return context.user_id", `{"user_id":"root"}`
	reply, err := runtimepb.NewRuntimeServiceClient(d.public(t)).Execute(t.Context(), &runtimepb.ExecuteRequest{ScriptContent: &script, Context: callContext})
	if err != nil || reply.GetResult() != "null" {
		t.Errorf("by gRPC: %v, %v", reply, err)
	}
}

// TestGuessedSessions: ids are not guessed, chosen or kept by callers.
func TestGuessedSessions(t *testing.T) {
	d := openDoorWith(t)
	ada, bob := d.caller(t, "ada"), d.caller(t, "bob")
	session := d.sessionOf(t, ada, "nodejs-x", `{"script_content":"return 1"}`)
	for n := range 500 {
		guess := []byte(session)
		if n%2 == 0 { // all of it, or one digit
			copy(guess, fmt.Sprintf("%x", random(t, 4)))
		} else {
			guess[n%8] = "0123456789abcdef"[(strings.IndexByte("0123456789abcdef", guess[n%8])+1)%16]
		}
		if r := d.send(t, http.MethodPost, "/api/v1/execute/"+string(guess), "{}", ada...); string(guess) != session && r.status != 404 {
			t.Fatalf("%s: %d %s", guess, r.status, r.body)
		}
	}
	// An id of the caller's own choice is not taken.
	for _, header := range []string{"X-Request-ID", "X-Envoke-Session"} {
		chosen := string(faas.NewSessionKey().NewID(faas.NodeJS, true))
		made := d.sessionOf(t, append(slices.Clone(bob), header, chosen), "nodejs-x", `{"script_content":"return 1"}`)
		if made == chosen {
			t.Errorf("%s became the session's id", header)
		}
	}
	again := d.sessionOf(t, append(slices.Clone(bob), "X-Envoke-Session", session), "nodejs-x", `{"script_content":"return 2"}`)
	if r := d.send(t, http.MethodPost, "/api/v1/execute/"+session, "{}", ada...); again == session || r.result(t) != "1" {
		t.Errorf("the session is another one's: %s", r.body)
	}
}

func random(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestConfusedPaths: there is one spelling of a path that needs no caller, and no other
// leads past the door.
func TestConfusedPaths(t *testing.T) {
	d := openDoorWith(t)
	var all sync.WaitGroup
	defer all.Wait()
	for _, path := range []string{
		"/health/../api/v1/functions", "/health/..;/api/v1/functions", "/health%2f..%2fapi/v1/functions", "/health/%2e%2e/api/v1/functions",
		"//api/v1/functions", "/./api/v1/functions", "/api/v1/functions/", "/api/v1/functions;/health", "/api/v1/functions#/health",
		"/api/v1/functions?/health", "/API/V1/functions", "/api/v1/functions%00/health", `/health\..\api\v1\functions`, "/health/",
		"/api/v1/openapi.json/../functions", "http://localhost/health/../api/v1/functions", "/health?/../api/v1/functions",
	} {
		for _, method := range []string{"GET", "POST", "get", "OPTIONS", "TRACE", "PROPFIND"} {
			all.Go(func() { // Envoy closes a connection a second late
				reply := d.raw(t, method+" "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
				if strings.HasPrefix(path, "/health?") && method == "GET" {
					return // it is /health
				}
				if strings.Contains(reply, "nodejs-calculator") || strings.HasPrefix(reply, "HTTP/1.1 2") {
					t.Errorf("%s %s: %.300s", method, path, reply)
				}
			})
		}
	}
}

// raw sends bytes and returns all that comes back.
func (d *door) raw(t *testing.T, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.base, "http://"))
	if err != nil {
		t.Error(err)
		return ""
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		return ""
	}
	reply, _ := io.ReadAll(bufio.NewReader(conn))
	return string(reply)
}

// TestSmuggledRequests: a request within another is none, so that nobody's token is shown
// for it.
func TestSmuggledRequests(t *testing.T) {
	d := openDoorWith(t)
	token := d.caller(t, "ada")[1]
	var all sync.WaitGroup
	defer all.Wait()
	inner := "GET /api/v1/functions HTTP/1.1\r\nHost: x\r\nAuthorization: " + d.caller(t, "admin")[1] + "\r\n\r\n"
	for name, framing := range map[string]string{
		"both lengths":           fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s", 5+len(inner), inner),
		"two lengths":            fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner),
		"lengths in one":         fmt.Sprintf("Content-Length: 0, %d\r\n\r\n%s", len(inner), inner),
		"an encoding by a tab":   fmt.Sprintf("Transfer-Encoding:\tchunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n%s", 5+len(inner), inner),
		"an encoding, spelt":     fmt.Sprintf("Transfer-Encoding: xchunked\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner),
		"a space before a colon": fmt.Sprintf("Content-Length : %d\r\n\r\n%s", len(inner), inner),
		"a plus":                 fmt.Sprintf("Content-Length: +%d\r\n\r\n%s", len(inner), inner),
		"a chunk's extension":    "Transfer-Encoding: chunked\r\n\r\n0;\rx\r\n\r\n" + inner,
		"a negative chunk":       "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + inner,
		"a huge chunk":           "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n" + inner,
	} {
		all.Go(func() {
			reply := d.raw(t, "POST /function/nodejs-calculator HTTP/1.1\r\nHost: x\r\nAuthorization: "+token+"\r\n"+framing)
			if strings.Contains(reply, `"functions"`) || strings.Count(reply, "HTTP/1.1 ") > 1 {
				t.Errorf("%s: %.600s", name, reply)
			}
		})
	}
}

// TestPoisonedCaches: an answer for one caller is not given to another, whatever they share.
func TestPoisonedCaches(t *testing.T) {
	for _, filter := range []string{"false", "true"} {
		t.Run("filter "+filter, func(t *testing.T) {
			d := openDoorWith(t, "--filter="+filter)
			if filter == "true" {
				if err := d.awaitFilter(); err != nil {
					t.Fatal(err)
				}
			}
			d.mustAs(t, d.caller(t, "carol"), 201, "POST /api/v1/functions",
				`{"language":"nodejs","title":"who","script_content":"return (context.user_id || context.http.headers['x-user-id']) + context.tag","cache_ttl_seconds":60}`)
			for range 3 {
				for _, user := range []string{"ada", "bob"} {
					for _, path := range []string{"/runtime/nodejs/who", "/function/nodejs-who"} {
						headers := append(d.caller(t, user), "X-Cache-Control", "max-age=60")
						r := d.send(t, http.MethodPost, path, `{"params":1}`, headers...)
						if !strings.Contains(string(r.body), user) {
							t.Errorf("%s as %s: %d %s", path, user, r.status, r.body)
						}
					}
					r := d.send(t, http.MethodGet, "/function/nodejs-who", "", d.caller(t, user)...)
					if !strings.Contains(string(r.body), user) || r.header.Get("Age") != "" {
						t.Errorf("GET as %s: %d %v %s", user, r.status, r.header, r.body)
					}
				}
			}
			for _, headers := range [][]string{nil, {"X-User-ID", "ada"}} {
				if r := d.send(t, http.MethodPost, "/runtime/nodejs/who", `{"params":1}`, append(headers, "X-Cache-Control", "max-age=60")...); r.status != 401 {
					t.Errorf("as nobody: %d %s", r.status, r.body)
				}
			}
		})
	}
}

// TestCallersByGRPC: the same door stands before gRPC.
func TestCallersByGRPC(t *testing.T) {
	d := openDoorWith(t)
	client := runtimepb.NewRuntimeServiceClient(d.public(t))
	session := d.sessionOf(t, d.caller(t, "ada"), "nodejs-x", `{"script_content":"return context.user_id"}`)
	script := "return 1"
	for _, tt := range []struct {
		name   string
		caller []string
		want   codes.Code
	}{
		{"nobody", nil, codes.Unauthenticated},
		{"nobody, who says to be somebody", []string{"x-user-id", "ada"}, codes.Unauthenticated},
		{"expired", d.caller(t, "expired"), codes.Unauthenticated},
		{"ada", d.caller(t, "ada"), codes.OK},
		{"ada, who says to be of another namespace", append(d.caller(t, "ada"), "x-envoke-namespace", "team-b"), codes.OK},
		{"ada of another namespace", d.caller(t, "other"), codes.NotFound},
		{"bob", d.caller(t, "bob"), codes.NotFound},
		{"python", d.caller(t, "python"), codes.PermissionDenied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := metadata.AppendToOutgoingContext(t.Context(), tt.caller...)
			reply, err := client.Execute(ctx, &runtimepb.ExecuteRequest{RequestId: session})
			if status.Code(err) != tt.want || err == nil && reply.GetResult() != `"ada"` {
				t.Errorf("a session: %v, %v", reply, err)
			}
			want := tt.want
			if want == codes.NotFound {
				want = codes.OK
			}
			if _, err := client.Execute(ctx, &runtimepb.ExecuteRequest{ScriptContent: &script}); status.Code(err) != want {
				t.Errorf("a script: %v", err)
			}
		})
	}
}
