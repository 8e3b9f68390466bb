package authz

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"envoke/internal/faas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// verify knows one key, and breaks on others.
func verify(_ context.Context, key, address string) (faas.Caller, error) {
	switch key {
	case "ek_ada":
		return faas.Caller{UserID: "ada@" + address, Scopes: faas.Scopes{faas.ExecuteAll, faas.ReadFunctions}}, nil
	case "ek_panic":
		panic("verify")
	case "ek_broken":
		return faas.Caller{}, errors.New("secret detail")
	case "ek_often":
		return faas.Caller{}, &faas.Error{Code: faas.RateLimited, Message: "too often"}
	}
	return faas.Caller{}, &faas.Error{Code: faas.Unauthorized, Message: "there is no such API key"}
}

func TestCheck(t *testing.T) {
	const cert = `Hash=1;Subject="CN=ada,O=x"`
	for _, tt := range []struct {
		name   string
		sent   map[string]string
		status int // 0: it goes on
		code   faas.Code
		set    map[string]string
	}{
		{"a key", map[string]string{"x-api-key": "ek_ada"}, 0, "", map[string]string{"x-user-id": "ada@10.0.0.1", "x-envoke-scopes": "execute:all read:functions"}},
		{"a key as a token", map[string]string{"authorization": "Bearer ek_ada"}, 0, "", map[string]string{"x-user-id": "ada@10.0.0.1", "x-envoke-scopes": "execute:all read:functions"}},
		{"no key of ours", map[string]string{"x-api-key": "ada"}, 401, faas.Unauthorized, nil},
		{"two keys, joined", map[string]string{"x-api-key": "ek_ada,ek_ada"}, 401, faas.Unauthorized, nil},
		{"a key and a token", map[string]string{"x-api-key": "ek_ada", "x-user-id": "bob"}, 400, faas.InvalidRequest, nil},
		{"a certificate", map[string]string{"x-forwarded-client-cert": cert}, 0, "", map[string]string{"x-user-id": "ada", "x-envoke-scopes": "execute:nodejs"}},
		{"a certificate and a key", map[string]string{"x-forwarded-client-cert": cert, "x-api-key": "ek_ada"}, 0, "", map[string]string{"x-user-id": "ada@10.0.0.1", "x-envoke-scopes": "execute:all read:functions"}},
		{"a certificate and a token", map[string]string{"x-forwarded-client-cert": cert, "x-user-id": "bob"}, 0, "", nil},
		{"a certificate of nobody", map[string]string{"x-forwarded-client-cert": "Hash=1"}, 401, faas.Unauthorized, nil},
		{"guessed too often", map[string]string{"x-api-key": "ek_often"}, 429, faas.RateLimited, nil},
		{"a fault", map[string]string{"x-api-key": "ek_broken"}, 500, faas.InternalError, nil},
		{"a panic", map[string]string{"x-api-key": "ek_panic"}, 500, faas.InternalError, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			told := 0
			s := New(Options{
				Verify: verify, Certificates: faas.Scopes{"execute:nodejs"}, Failed: func(faas.Failure) { told++ }, Logger: slog.New(slog.DiscardHandler),
			})
			answer, err := s.Check(t.Context(), request(tt.sent))
			if err != nil {
				t.Fatal(err)
			}
			if tt.status == 0 {
				checkAdmitted(t, answer.GetOkResponse(), tt.set)
				return
			}
			denied := answer.GetDeniedResponse()
			var body struct{ Error struct{ Code faas.Code } }
			if err := json.Unmarshal([]byte(denied.GetBody()), &body); err != nil || body.Error.Code != tt.code || int(denied.GetStatus().GetCode()) != tt.status {
				t.Errorf("status %d, body %s", denied.GetStatus().GetCode(), denied.GetBody())
			}
			if strings.Contains(denied.GetBody(), "secret") || strings.Contains(denied.GetBody(), "ek_") || told != 1 {
				t.Errorf("told %d times: %s", told, denied.GetBody())
			}
		})
	}
}

func request(headers map[string]string) *authv3.CheckRequest {
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
			SocketAddress: &corev3.SocketAddress{Address: "10.0.0.1"},
		}}},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Headers: headers}},
	}}
}

func checkAdmitted(t *testing.T, ok *authv3.OkHttpResponse, want map[string]string) {
	t.Helper()
	var set map[string]string
	for _, h := range ok.GetHeaders() {
		if set == nil {
			set = map[string]string{}
		}
		set[h.GetHeader().GetKey()] = h.GetHeader().GetValue()
	}
	if diff := cmp.Diff(want, set); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"x-api-key", "x-forwarded-client-cert", "authorization"}, ok.GetHeadersToRemove()); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
}

func TestSubject(t *testing.T) {
	for _, tt := range []struct{ name, header, want string }{
		{"URI first", `Hash=1;Subject="CN=a";URI=spiffe://x/y;DNS=z`, "spiffe://x/y"},
		{"the first URI", `URI=spiffe://x;URI=spiffe://y`, "spiffe://x"},
		{"a DNS name", `Hash=1;Subject="CN=a";URI=;DNS=z`, "z"},
		{"a common name", `Subject="O=x, CN=a b"`, "a b"},
		{"a common name that pretends", `Subject="CN=a\";URI=spiffe://root"`, `a";URI=spiffe://root`},
		{"nothing", ``, ""},
		{"no end", `Subject="CN=a`, "a"},
		{"no value", `URI`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := subjectOf(tt.header); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// Whatever a certificate says of its subject, it does not become a URI.
func FuzzSubject(f *testing.F) {
	f.Add(`CN=a";URI=b`)
	f.Fuzz(func(t *testing.T, subject string) {
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(subject)
		if got := fieldsOf(`Subject="` + quoted + `";URI=c`); got["URI"] != "c" || got["Subject"] != subject {
			t.Errorf("%q", got)
		}
	})
}
