package host

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"envoke/internal/faas"
	"envoke/runtimes/pool"
)

// A function behind a declared route is called at any path, by what Envoy says of the route.
func TestRouted(t *testing.T) {
	r := newRig(t, pool.Options{})
	name := r.register(t, "shop", faas.Function{Script: javaScriptOf(`return { statusCode: 200, body: event }`)},
		faas.Function{Script: javaScriptOf(`return { statusCode: 201, body: event }`)})
	if _, err := r.store.PutAlias(t.Context(), faas.Actor{}, name, faas.Alias{Name: "first", Version: 1}); err != nil {
		t.Fatal(err)
	}
	r.registry.FunctionChanged(t.Context(), name)
	behind := func(function string) []string {
		return []string{"X-Envoke-Route: route/shop/1", "X-Envoke-Function: " + function}
	}
	for _, tt := range []struct {
		name, method, path, function string
		status                       int
	}{
		{"any path", "GET", "/orders/7%2F8?q=1", "nodejs-shop", 201},
		{"the root", "POST", "/", "nodejs-shop", 201},
		{"a path of the API", "POST", executePath + "/x", "nodejs-shop", 201},
		{"a path of functions", "DELETE", "/function/nodejs-other/x", "nodejs-shop", 201},
		{"the health", "GET", "/health", "nodejs-shop", 201},
		{"an alias", "PUT", "/x", "nodejs-shop:first", 200},
		{"a version", "PATCH", "/x", "nodejs-shop@1", 200},
		{"no such function", "GET", "/x", "nodejs-missing", 404},
		{"another namespace", "GET", "/x", "team/nodejs-shop", 404},
		{"another language", "GET", "/x", "python-shop", 400},
		{"no function", "GET", "/x", "", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			response := r.plain(t, tt.method, tt.path, "", behind(tt.function)...)
			body := bodyOf(response)
			if response.StatusCode != tt.status {
				t.Fatalf("%d %s", response.StatusCode, body)
			}
			if tt.status >= 300 {
				return
			}
			var got struct{ Context struct{ HTTP map[string]any } }
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			path, _, _ := strings.Cut(tt.path, "?")
			headers, _ := got.Context.HTTP["headers"].(map[string]any)
			if got.Context.HTTP["path"] != path || got.Context.HTTP["route"] != "route/shop/1" || headers["x-envoke-route"] != nil {
				t.Errorf("context.http is %v", got.Context.HTTP)
			}
		})
	}
	if response := r.plain(t, http.MethodGet, "/orders", "", "X-Envoke-Function: nodejs-shop"); response.StatusCode != 404 {
		t.Errorf("without a route: %d %s", response.StatusCode, bodyOf(response))
	}
	if response := r.plain(t, http.MethodGet, "/orders", "", append(behind("nodejs-shop"), "X-Envoke-Namespace: team")...); response.StatusCode != 404 {
		t.Errorf("of another namespace: %d %s", response.StatusCode, bodyOf(response))
	}
}
