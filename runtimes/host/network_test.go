package host

import (
	"net/http"
	"strings"
	"testing"

	"envoke/internal/faas"
	"envoke/runtimes/pool"
)

// Who gets a network: what is said of that is why the others do not. Those that do get no
// worker here, since the pool has no proxy.
func TestNetwork(t *testing.T) {
	r := newRig(t, pool.Options{})
	r.register(t, "plain", faas.Function{Script: javaScriptOf("return 1")})
	r.register(t, "outward", faas.Function{Script: javaScriptOf("return 1"), Network: faas.Egress})
	const (
		own       = `{"script_content":"return 1","compile_options":{"network":"egress"}}`
		inContext = `{"script_content":"return 1","context":{"compile_options":{"network":"egress"}}}`
		asked     = `{"compile_options":{"network":"egress"}}`
		noWay     = "this runtime host has no way out to the network for functions"
	)
	refuse := func(registered, others string) func(bool) string {
		return func(isRegistered bool) string {
			if isRegistered {
				return registered
			}
			return others
		}
	}
	for name, test := range map[string]struct {
		refuse      func(bool) string
		path, title string
		body        string
		status      int
		want        string
	}{
		"a script":                 {refuse("", "not you"), initializePath, "nodejs-x", own, 400, "compile_options.network cannot be egress: not you"},
		"a script, in the context": {refuse("", "not you"), executePath, "nodejs-x", inContext, 400, "context.compile_options.network cannot be egress: not you"},
		"a script of the protocol": {refuse("", "not you"), protocolPath, "nodejs-x", inContext, 400, "context.compile_options.network cannot be egress: not you"},
		"a script that may":        {refuse("not you", ""), executePath, "nodejs-x", own, 503, noWay},
		"a function":               {refuse("not you", ""), runtimePath + "nodejs/outward", "", "", 503, "the function needs a network and gets none here: not you"},
		"by plain HTTP":            {refuse("not you", ""), functionPath + "nodejs-outward", "", "", 503, "the function needs a network and gets none here: not you"},
		"its session":              {refuse("not you", ""), initializePath, "nodejs-outward", "{}", 503, "the function needs a network and gets none here: not you"},
		"a function that may":      {refuse("", "not you"), runtimePath + "nodejs/outward", "", "", 503, noWay},
		"more than the function":   {refuse("", ""), initializePath, "nodejs-plain", asked, 400, "registered without a network"},
		"more in a call":           {refuse("", ""), runtimePath + "nodejs/plain", "", `{"context":` + asked + `}`, 400, "registered without a network"},
		"a function without":       {refuse("not you", "not you"), runtimePath + "nodejs/plain", "", "", 200, `"result":1`},
	} {
		t.Run(name, func(t *testing.T) {
			r.NoEgress = test.refuse
			got := r.do(t, call{path: test.path, title: test.title, id: key.NewID(faas.NodeJS, true), body: strings.NewReader(test.body)})
			if got.Status != test.status || !strings.Contains(got.Body, test.want) {
				t.Errorf("got %d %s, want %d %q", got.Status, got.Body, test.status, test.want)
			}
		})
	}
}

// A function is registered with a network where it would get one.
func TestCheckOfANetwork(t *testing.T) {
	r := newRig(t, pool.Options{})
	for why, status := range map[string]int{"": http.StatusOK, "not here": http.StatusBadRequest} {
		r.NoEgress = func(registered bool) string {
			if !registered {
				t.Error("it is asked about a script of a session's")
			}
			return why
		}
		for network, want := range map[string]int{"": http.StatusOK, "egress": status} {
			request, err := http.NewRequest(http.MethodPost, "http://host"+checkPath, strings.NewReader(`{"script_content":"return 1"}`))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Language-Title", "nodejs-f")
			request.Header.Set(networkHeader, network)
			reply, err := r.client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = reply.Body.Close()
			if reply.StatusCode != want {
				t.Errorf("network %q where %q: %d, want %d", network, why, reply.StatusCode, want)
			}
		}
	}
}
