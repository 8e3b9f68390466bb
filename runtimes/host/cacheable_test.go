package host

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/runtimes/pool"
)

// What a host says of a plain HTTP response that others may have, where it is asked.
func TestCacheableResponse(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "respond", faas.Function{Script: javaScriptOf(`return event.params`)})
	for _, tt := range []struct {
		name, body string
		want       [][2]string // nil: others may not have it
	}{
		{"JSON", `{"a":1}`, [][2]string{{"content-type", "application/json"}}},
		{"nothing", `null`, [][2]string{}},
		{"headers", `{"statusCode":200,"headers":{"X-B":"2","Link":["<a>","<b>"],"Date":"x","Server-Timing":"db"},"body":"x"}`, [][2]string{
			{"content-type", "text/plain; charset=utf-8"}, {"link", "<a>"}, {"link", "<b>"}, {"x-b", "2"},
		}},
		{"moved", `{"statusCode":301,"headers":{"location":"/a"}}`, [][2]string{{"location", "/a"}}},
		{"cached by others for some time", `{"statusCode":200,"headers":{"cache-control":"max-age=5"}}`, [][2]string{{"cache-control", "max-age=5"}}},
		{"an age of its own", `{"statusCode":200,"headers":{"Age":"9"},"body":"x"}`, nil},
		{"a type that is empty", `{"statusCode":200,"headers":{"Content-Type":""},"body":"x"}`, nil},
		{"another header that is empty", `{"statusCode":200,"headers":{"X-A":""},"body":"x"}`, nil},
		{"no type, and nothing to have one", `{"statusCode":200,"headers":{"x-a":"1"}}`, [][2]string{{"x-a", "1"}}},
		{"an error", `{"statusCode":404}`, nil},
		{"found elsewhere for now", `{"statusCode":302,"headers":{"location":"/a"}}`, nil},
		{"a cookie", `{"statusCode":200,"headers":{"Set-Cookie":"a=b"}}`, nil},
		{"a rule of its own for browsers", `{"statusCode":200,"headers":{"Strict-Transport-Security":"max-age=1"}}`, nil},
		{"what Envoy says too", `{"statusCode":200,"headers":{"content-type":"text/a","X-Content-Type-Options":"NoSniff"},"body":"x"}`, [][2]string{{"content-type", "text/a"}}},
		{"the same, otherwise", `{"statusCode":200,"headers":{"content-type":"text/a","X-Content-Type-Options":"none"},"body":"x"}`, nil},
		{"varies", `{"statusCode":200,"headers":{"Vary":"Accept"}}`, nil},
		{"private", `{"statusCode":200,"headers":{"Cache-Control":"Private, max-age=5"}}`, nil},
		{"not to be stored", `{"statusCode":200,"headers":{"cache-control":"no-store"}}`, nil},
		{"many headers", `{"statusCode":200,"headers":{"x-a":"` + strings.Repeat("a", maxCacheable) + `"}}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			response := r.plain(t, http.MethodPost, "/function/nodejs-respond", tt.body,
				"Content-Type: application/json", cacheHeader+": 1")
			var got [][2]string
			if said := response.Header.Get(cacheableHeader); said != "" {
				got = [][2]string{}
				var pairs [][2]string
				if err := json.Unmarshal([]byte(said), &pairs); err != nil {
					t.Fatal(err)
				}
				got = append(got, pairs...)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			unasked := r.plain(t, http.MethodPost, "/function/nodejs-respond", tt.body, "Content-Type: application/json")
			if said := unasked.Header.Get(cacheableHeader); said != "" {
				t.Errorf("nobody asked, and it says %q", said)
			}
		})
	}
}

// A function whose response others may have sees nothing by which they differ, and
// ext_proc's word on which version it is counts.
func TestCacheableRequest(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "headers", faas.Function{Script: javaScriptOf(`return Object.keys(event.context.http.headers).length`)})
	if got := bodyOf(r.plain(t, http.MethodGet, "/function/nodejs-headers", "", cacheHeader+": 1", "X-Own: 1")); got != "0" {
		t.Errorf("the function sees %s headers", got)
	}
	if got := bodyOf(r.plain(t, http.MethodGet, "/function/nodejs-headers", "", "X-Own: 1")); got == "0" {
		t.Error("the function sees no headers, and nobody asked for it")
	}
	response := r.plain(t, http.MethodGet, "/function/nodejs-headers", "", "X-Envoke-Function: nodejs-headers@7")
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("a version that is not there: %d %s", response.StatusCode, bodyOf(response))
	}
}
