package xds

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	statusv3 "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

// keyServer takes one key.
type keyServer struct {
	authv3.UnimplementedAuthorizationServer
}

const goodKey = "ek_good"

func (keyServer) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	set := func(name, value string) *corev3.HeaderValueOption {
		return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}}
	}
	sent := r.GetAttributes().GetRequest().GetHttp().GetHeaders()
	if sent["x-api-key"] != goodKey && sent["authorization"] != "Bearer "+goodKey {
		return &authv3.CheckResponse{
			Status: &statusv3.Status{Code: int32(codes.Unauthenticated)},
			HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
				Status: &typev3.HttpStatus{Code: typev3.StatusCode_Unauthorized}, Body: `{"error":{"code":"UNAUTHORIZED"}}`,
				Headers: []*corev3.HeaderValueOption{set("content-type", "application/json"), set("www-authenticate", "Bearer")},
			}},
		}, nil
	}
	return &authv3.CheckResponse{HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
		Headers:         []*corev3.HeaderValueOption{set(faas.UserHeader, "keyed"), set(faas.ScopesHeader, "execute:nodejs")},
		HeadersToRemove: []string{"x-api-key", "authorization"},
	}}}, nil
}

func withAuth(auth *Auth) func(*State) { return func(s *State) { s.Auth = auth } }

func issuerOf(i *testrig.Issuer) Issuer {
	return Issuer{
		Issuer: i.URL, Audiences: []string{"envoke"}, Keys: testrig.KeySet(i),
		UserClaim: []string{"sub"}, ScopeClaim: []string{"scope"}, ClockSkew: time.Minute,
	}
}

// TestCallers has each kind of caller call, and sees who is let in as whom.
func TestCallers(t *testing.T) {
	issuer, foreign := testrig.NewIssuer(t, "https://issuer", "1"), testrig.NewIssuer(t, "https://issuer", "1")
	s := newStack(t, withAuth(&Auth{Issuers: []Issuer{issuerOf(issuer)}}))
	plain := executePath + "/" + string(faas.NewSessionKey().NewID(faas.NodeJS, true))
	ada := map[string]any{"sub": "ada", "aud": "envoke", "scope": "openid execute:nodejs"}
	with := func(name string, value any) map[string]any {
		claims := maps.Clone(ada)
		claims[name] = value
		return claims
	}
	bearerOf := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	for _, tt := range []struct {
		name    string
		headers []string
		status  int
		code    faas.Code
		user    string
	}{
		{"nobody", nil, 401, faas.Unauthorized, ""},
		{"nobody, who says to be somebody", []string{"X-User-ID", "ada", "X-Envoke-Scopes", "admin"}, 401, faas.Unauthorized, ""},
		{"a token", bearerOf(issuer.Token(t, ada)), 200, "", "ada"},
		{"a token, and another name", append(bearerOf(issuer.Token(t, ada)), "X-User-ID", "root"), 200, "", "ada"},
		{"of all languages", bearerOf(issuer.Token(t, with("scope", "execute:all"))), 200, "", "ada"},
		{"of an administrator", bearerOf(issuer.Token(t, with("scope", "admin"))), 200, "", "ada"},
		{"of another language", bearerOf(issuer.Token(t, with("scope", "execute:python"))), 403, faas.Forbidden, ""},
		{"of a scope that only begins so", bearerOf(issuer.Token(t, with("scope", "execute:nodejsx xexecute:nodejs"))), 403, faas.Forbidden, ""},
		{"of no scope, and one in a header", append(bearerOf(issuer.Token(t, with("scope", ""))), "X-Envoke-Scopes", "admin"), 403, faas.Forbidden, ""},
		{"of nobody", bearerOf(issuer.Token(t, with("sub", ""))), 401, faas.Unauthorized, ""},
		{"expired", bearerOf(issuer.Token(t, with("exp", time.Now().Add(-2*time.Minute).Unix()))), 401, faas.Unauthorized, ""},
		{"expired a moment ago, by our clock", bearerOf(issuer.Token(t, with("exp", time.Now().Add(-5*time.Second).Unix()))), 200, "", "ada"},
		{"without an end", bearerOf(issuer.Token(t, with("exp", nil))), 401, faas.Unauthorized, ""},
		{"not valid yet", bearerOf(issuer.Token(t, with("nbf", time.Now().Add(time.Hour).Unix()))), 401, faas.Unauthorized, ""},
		{"for others", bearerOf(issuer.Token(t, with("aud", "other"))), 401, faas.Unauthorized, ""},
		{"of another issuer", bearerOf(issuer.Token(t, with("iss", "https://other"))), 401, faas.Unauthorized, ""},
		{"of another key", bearerOf(foreign.Token(t, ada)), 401, faas.Unauthorized, ""},
		{"of no algorithm", bearerOf(testrig.Unsigned(t, map[string]any{"alg": "none"}, with("iss", issuer.URL)) + "."), 401, faas.Unauthorized, ""},
		{"of an algorithm that takes the public key for a secret", bearerOf(issuer.TokenWith(t, map[string]any{"alg": "HS256", "kid": "1"}, ada)), 401, faas.Unauthorized, ""},
		{"no token", bearerOf("x"), 401, faas.Unauthorized, ""},
		{"an empty token", bearerOf(""), 401, faas.Unauthorized, ""},
		{"another scheme", []string{"Authorization", "Basic YTpi"}, 401, faas.Unauthorized, ""},
		{"a key", []string{"X-API-Key", goodKey}, 200, "", "keyed"},
		{"a key as a token", bearerOf(goodKey), 200, "", "keyed"},
		{"a wrong key", []string{"X-API-Key", goodKey + "x"}, 401, faas.Unauthorized, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reply := s.do(http.MethodPost, plain, "{}", tt.headers...)
			if reply.Status != tt.status {
				t.Fatalf("status %d, want %d: %s", reply.Status, tt.status, reply.Body)
			}
			if tt.status != 200 {
				var body struct{ Error struct{ Code faas.Code } }
				if err := json.Unmarshal(reply.Body, &body); tt.code != "" && (err != nil || body.Error.Code != tt.code) {
					t.Errorf("body %s", reply.Body)
				}
				if told := reply.Header.Get("WWW-Authenticate") != ""; tt.code == faas.Unauthorized && !told {
					t.Error("no WWW-Authenticate")
				}
				return
			}
			got := decode(t, reply)
			if user := got.Header.Get("X-User-ID"); user != tt.user {
				t.Errorf("the host is told of %q, not of %q", user, tt.user)
			}
			for _, secret := range []string{"Authorization", "X-API-Key"} {
				if got.Header.Get(secret) != "" {
					t.Errorf("the host sees %s", secret)
				}
			}
		})
	}
}

// TestUnusableUser: who is called so that no header could say it is told that, and not that it
// lacks a scope.
func TestUnusableUser(t *testing.T) {
	issuer := testrig.NewIssuer(t, "https://issuer.test/", "1")
	s := newStack(t, withAuth(&Auth{Issuers: []Issuer{issuerOf(issuer)}}))
	plain := executePath + "/" + string(faas.NewSessionKey().NewID(faas.NodeJS, true))
	for user, says := range map[string]string{
		"jürgen": "user id is not usable", "日本": "user id is not usable", "ada ": "user id is not usable", "a\tb": "user id is not usable",
		"ada lovelace": "no scope", "x": "no scope", strings.Repeat("y", 300): "no scope",
	} {
		token := issuer.Token(t, map[string]any{"sub": user, "aud": "envoke", "scope": "read:functions"})
		reply := s.do(http.MethodPost, plain, "{}", "Authorization", "Bearer "+token)
		if reply.Status != http.StatusForbidden || !strings.Contains(string(reply.Body), says) {
			t.Errorf("%q: %d %s", user, reply.Status, reply.Body)
		}
	}
}
