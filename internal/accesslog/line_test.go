package accesslog

import (
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
)

const (
	pathID   = "0a1b2c3d-0000-8110-8000-000000000000"
	headerID = "ffffffff-0000-8200-8000-000000000000"
)

// plainLine is as Envoy writes it (xds.TestAccessLog).
const plainLine = `{"bytes_in":34,"bytes_out":180,"client_ip":"127.0.0.1","details":"via_upstream","duration_us":412,"flags":"-","language_title":null,"method":"POST","path":"/api/v1/execute/` + pathID + `","request_id":"0a1b2c3d-0000-4110-8000-000000000000","route":"execute-plain-nodejs","session":null,"start":"1763834873.123456","status":200,"user_id":null}`

func TestParseLine(t *testing.T) {
	start := time.UnixMicro(1763834873123456).UTC()
	for name, test := range map[string]struct {
		line string
		want faas.RequestLog
	}{
		"plain execute": {
			line: `{"bytes_in":34,"bytes_out":180,"client_ip":"127.0.0.1","details":"via_upstream","duration_us":412,"flags":"-","language_title":null,"method":"POST","path":"/api/v1/execute/` + pathID + `","request_id":"r","route":"execute-plain-nodejs","session":null,"start":"1763834873.123456","status":200,"user_id":null}`,
			want: faas.RequestLog{
				RequestID: "r", Operation: faas.Execute, SessionID: pathID, Method: "POST", Path: "/api/v1/execute/" + pathID,
				StatusCode: 200, Duration: 412 * time.Microsecond, StartedAt: start, ClientIP: "127.0.0.1", BytesIn: 34, BytesOut: 180,
			},
		},
		"one-shot that Envoy ended": {
			line: `{"bytes_in":"34","details":"response_timeout","duration_us":"7","flags":"UT","language_title":"nodejs-é\u0001","method":"POST","path":"/api/v1/execute","route":"oneshot","session":"` + headerID + `","start":1763834873.123456,"status":"504","user_id":"ada"}`,
			want: faas.RequestLog{
				Operation: faas.OneShot, SessionID: headerID, LanguageTitle: "nodejs-é\x01", Method: "POST", Path: "/api/v1/execute",
				StatusCode: 504, Duration: 7 * time.Microsecond, StartedAt: start, UserID: "ada", BytesIn: 34,
				ErrorDetails: "response_timeout UT",
			},
		},
		"of a namespace": {
			line: `{"method":"GET","namespace":"team-a","path":"/","start":1763834873.123456,"status":200,"user_id":"ada"}`,
			want: faas.RequestLog{Operation: faas.OtherOperation, Method: "GET", Path: "/", StatusCode: 200, StartedAt: start, Namespace: "team-a", UserID: "ada"},
		},
		"refused with what is no namespace": {
			line: `{"method":"GET","namespace":"Team\u0000","path":"/","start":1763834873.123456,"status":403}`,
			want: faas.RequestLog{Operation: faas.OtherOperation, Method: "GET", Path: "/", StatusCode: 403, StartedAt: start},
		},
		"from ext_proc's cache": {
			line: `{"details":"envoke_cache","flags":"-","method":"POST","path":"/api/v1/execute/` + pathID + `","route":"execute-nodejs","start":1763834873.123456,"status":200}`,
			want: faas.RequestLog{Operation: faas.Execute, SessionID: pathID, Method: "POST", Path: "/api/v1/execute/" + pathID, StatusCode: 200, StartedAt: start, Cached: true},
		},
		"from the filter": {
			line: `{"details":"envoke_filter","method":"GET","path":"/function/nodejs-a","route":"invokehttp-nodejs","start":1763834873.123456,"status":200}`,
			want: faas.RequestLog{Operation: faas.InvokeHTTP, LanguageTitle: "nodejs-a", Method: "GET", Path: "/function/nodejs-a", StatusCode: 200, StartedAt: start, Cached: true},
		},
		"a function by a declared route": {
			line: `{"function":"nodejs-users:prod","language_title":"nodejs-theirs","method":"GET","path":"/function/x","route":"route/shop/2","start":1763834873.123456,"status":200}`,
			want: faas.RequestLog{Operation: faas.InvokeHTTP, LanguageTitle: "nodejs-users:prod", Method: "GET", Path: "/function/x", StatusCode: 200, StartedAt: start},
		},
		"an upstream by a declared route": {
			line: `{"function":null,"language_title":"nodejs-theirs","method":"GET","path":"/","route":"route/shop/execute-1","start":1763834873.123456,"status":200}`,
			want: faas.RequestLog{Operation: faas.Proxied, Method: "GET", Path: "/", StatusCode: 200, StartedAt: start},
		},
		"refused by ext_proc": {
			line: `{"details":"envoke","method":"POST","path":"/api/v1/execute/x","route":"execute","start":1763834873.123456,"status":404}`,
			want: faas.RequestLog{Operation: faas.Execute, Method: "POST", Path: "/api/v1/execute/x", StatusCode: 404, StartedAt: start, ErrorDetails: "envoke"},
		},
		"the path's id wins": {
			line: `{"method":"POST","path":"/api/v1/execute/` + pathID + `","route":"execute","session":"` + headerID + `","start":1763834873.123456,"status":200}`,
			want: faas.RequestLog{Operation: faas.Execute, SessionID: pathID, Method: "POST", Path: "/api/v1/execute/" + pathID, StatusCode: 200, StartedAt: start},
		},
		"function by its path": {
			line: `{"language_title":"python-other","method":"POST","path":"/runtime/nodejs/a@12","route":"invoke-nodejs","start":1763834873.123456,"status":200}`,
			want: faas.RequestLog{Operation: faas.Invoke, LanguageTitle: "nodejs-a@12", Method: "POST", Path: "/runtime/nodejs/a@12", StatusCode: 200, StartedAt: start},
		},
		"plain HTTP": {
			line: `{"language_title":"python-other","method":"GET","path":"/function/nodejs-a/b/c","route":"invokehttp-nodejs","start":1763834873.123456,"status":204}`,
			want: faas.RequestLog{Operation: faas.InvokeHTTP, LanguageTitle: "nodejs-a", Method: "GET", Path: "/function/nodejs-a/b/c", StatusCode: 204, StartedAt: start},
		},
		"a secret where an id should be": {
			line: `{"method":"DELETE","path":"/api/v1/keys/ek_0aZ9bY8cX7dW_secret","route":"key","start":1763834873.123456,"status":404}`,
			want: faas.RequestLog{Operation: faas.KeyWrite, Method: "DELETE", Path: "/api/v1/keys/ek_0aZ9bY8cX7dW_***", StatusCode: 404, StartedAt: start},
		},
		"a secret where a name should be": {
			line: `{"language_title":"ek_0aZ9bY8cX7dW_secret","method":"POST","path":"/api/v1/execute","route":"oneshot","start":1763834873.123456,"status":400}`,
			want: faas.RequestLog{Operation: faas.OneShot, LanguageTitle: "ek_0aZ9bY8cX7dW_***", Method: "POST", Path: "/api/v1/execute", StatusCode: 400, StartedAt: start},
		},
		"ids that are none": {
			line: `{"method":"GET","path":"/api/v1/sessions/x","route":"session","session":"` + headerID + `0","start":1763834873.123456,"status":404}`,
			want: faas.RequestLog{Operation: faas.SessionRead, Method: "GET", Path: "/api/v1/sessions/x", StatusCode: 404, StartedAt: start},
		},
		"refused before any route": {
			line: `{"start":"1763834873.123456","request_id":"-","route":"-","method":"-","path":"-","status":0,"duration_us":null,"bytes_in":-1,"details":"http1.codec_error","flags":"DPE","more":{"a":[1]}}`,
			want: faas.RequestLog{Operation: faas.OtherOperation, StartedAt: start, ErrorDetails: "http1.codec_error DPE"},
		},
		"bytes that are no text": {
			line: "{\"start\":1763834873.123456,\"method\":\"GET\",\"status\":200,\"user_id\":\"a\xffb\"}",
			want: faas.RequestLog{Operation: faas.OtherOperation, Method: "GET", StatusCode: 200, StartedAt: start, UserID: "a\ufffdb"},
		},
	} {
		got, err := parseLine(test.line)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestOperation(t *testing.T) {
	for route, want := range map[string]faas.Operation{
		"initialize": faas.Initialize, "oneshot": faas.OneShot, "execute": faas.Execute, "execute-plain-rust": faas.Execute,
		"execute-grpc-nodejs": faas.Execute, "grpc-health-nodejs": faas.OtherOperation, "grpc-elsewhere": faas.OtherOperation,
		"invoke-nodejs": faas.Invoke, "invokehttp-python": faas.InvokeHTTP, "invokehttp": faas.InvokeHTTP,
		"session": faas.SessionRead, "function": faas.FunctionRead, "health": faas.Health,
		"": faas.OtherOperation, "other": faas.OtherOperation, "not-found": faas.OtherOperation, "executes": faas.OtherOperation,
	} {
		if got := operation(route, ""); got != want {
			t.Errorf("route %q is %s, want %s", route, got, want)
		}
	}
}

// FuzzParseLine: whatever stands in the file, what is stored is text, within what
// the columns and labels hold.
func FuzzParseLine(f *testing.F) {
	f.Add([]byte(`{"bytes_in":34,"client_ip":"::1","duration_us":412,"method":"POST","path":"/a/` + pathID + `","route":"execute","start":"1763834873.123456","status":200}`))
	f.Add([]byte(`{"start":1e9,"method":"\ud800","status":-1,"duration_us":9223372036854775807}`))
	f.Add([]byte(`{"start":"9999999999999.","method":"x","status":"99999","path":"-"}`))
	f.Add([]byte("{\"start\":1,\"method\":\"\xff\",\"status\":null}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		row, err := parseLine(string(text))
		if err != nil {
			return
		}
		for _, s := range []string{row.RequestID, row.Method, row.Path, row.LanguageTitle, row.ClientIP, row.UserID, row.ErrorDetails} {
			if !utf8.ValidString(s) {
				t.Errorf("%q is no text", s)
			}
		}
		if row.StatusCode < 0 || row.StatusCode > 999 || row.Duration < 0 || row.BytesIn < 0 || row.BytesOut < 0 || row.StartedAt.Unix() < 0 {
			t.Errorf("out of range: %+v", row)
		}
		if _, ok := row.SessionID.Language(); row.SessionID != "" && !ok {
			t.Errorf("session %q is malformed", row.SessionID)
		}
	})
}

// FuzzScan: where the scanner takes a line, it reads what the decoder does.
func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"bytes_in":0,"client_ip":"::1","duration_us":"412","language_title":null,"path":"/a?","start":"1763834873.123456","status":200}`))
	f.Add([]byte(`{"status":01}`))
	f.Add([]byte(`{"status":1e3,"path":"\u0041"}`))
	f.Add([]byte(`{"path":1}`))
	f.Add([]byte(`{"path":"","path":"a"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var scanned, decoded line
		if !scanned.scan(string(text)) {
			return
		}
		if err := json.Unmarshal(text, &decoded); err != nil {
			t.Fatalf("%q is no JSON: %v", text, err)
		}
		if diff := cmp.Diff(decoded, scanned); diff != "" {
			t.Errorf("%q (-decoded +scanned):\n%s", text, diff)
		}
	})
}

// TestScanTakesWhatEnvoyWrites: else each line costs the decoder's time.
func TestScanTakesWhatEnvoyWrites(t *testing.T) {
	var l line
	if !l.scan(plainLine) {
		t.Errorf("%s is left to the decoder", plainLine)
	}
}

func BenchmarkParseLine(b *testing.B) {
	line := []byte(plainLine)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseLine(string(line)); err != nil {
			b.Fatal(err)
		}
	}
}
