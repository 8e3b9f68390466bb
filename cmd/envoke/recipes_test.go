package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"envoke/internal/envoytest"
	"envoke/internal/testrig"
)

// The recipes of examples/mesh that need the code of Istio or of Envoy Gateway, in modules of
// their own: minutes of building, so that only `make test-mesh` runs them.

const recipes = "../../examples/mesh"

func needsMesh(t *testing.T) {
	t.Helper()
	if os.Getenv("ENVOKE_TEST_MESH") == "" {
		t.Skip("make test-mesh runs it: it builds Istio's and Envoy Gateway's own code")
	}
}

// recipe is the text of recipes' files, with some of it replaced.
func recipe(t *testing.T, replace *strings.Replacer, files ...string) string {
	t.Helper()
	var all []string
	for _, file := range files {
		raw, err := os.ReadFile(filepath.Join(recipes, file))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, replace.Replace(string(raw)))
	}
	return strings.Join(all, "\n---\n")
}

// rendered is what a mesh's own code makes of a recipe.
type rendered struct {
	Listeners, Clusters, Routes, Endpoints []map[string]any
}

// runGo runs the go command in a module of examples/mesh/check.
func runGo(t *testing.T, module string, env []string, args ...string) []byte {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", append([]string{args[0], "-C", filepath.Join(recipes, "check", module)}, args[1:]...)...)
	c.Env = append(os.Environ(), env...)
	var log strings.Builder
	c.Stderr = &log
	out, err := c.Output()
	if err != nil {
		t.Fatalf("go %v: %v\n%s\n%s", args, err, log.String(), tail(string(out), 8<<10))
	}
	return out
}

// translate is Envoy Gateway's own translation.
func translate(t *testing.T, text string) rendered {
	t.Helper()
	file := filepath.Join(t.TempDir(), "recipe.yaml")
	writeFile(t, file, text)
	raw := runGo(t, "envoygateway", nil, "tool", "egctl", "experimental", "translate", "--from", "gateway-api", "--to", "gateway-api,xds", "--type", "all", "--output", "json", "--file", file)
	var found rendered
	var out any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("%v in %.500s", err, raw)
	}
	walk(out, func(object map[string]any) {
		if object["status"] == "False" { // a condition
			t.Errorf("Envoy Gateway refuses something: %v", object)
		}
		switch kind, _ := object["@type"].(string); {
		case strings.HasSuffix(kind, "config.listener.v3.Listener"):
			found.Listeners = append(found.Listeners, object)
		case strings.HasSuffix(kind, "config.cluster.v3.Cluster"):
			found.Clusters = append(found.Clusters, object)
		case strings.HasSuffix(kind, "config.route.v3.RouteConfiguration"):
			found.Routes = append(found.Routes, object)
		case strings.HasSuffix(kind, "config.endpoint.v3.ClusterLoadAssignment"):
			found.Endpoints = append(found.Endpoints, object)
		}
	})
	if len(found.Listeners) == 0 || len(found.Routes) == 0 {
		t.Fatalf("nothing was translated: %.2000s", raw)
	}
	return found
}

// walk visits every object of a tree, the outer ones first.
func walk(in any, visit func(map[string]any)) {
	switch in := in.(type) {
	case map[string]any:
		visit(in)
		for _, value := range in {
			walk(value, visit)
		}
	case []any:
		for _, value := range in {
			walk(value, visit)
		}
	}
}

// standalone is a bootstrap of what was rendered: routes that come by RDS stand in their
// listeners, clusters by EDS have the addresses that are said, and what is the mesh's own (its
// filters, its certificates, its servers) is left out. Each listener gets a port of its own.
func (r rendered) standalone(t *testing.T, admin string, addresses map[string]string) string {
	t.Helper()
	routes := map[string]any{}
	for _, config := range r.Routes {
		delete(config, "@type")
		name, _ := config["name"].(string)
		routes[name] = config
	}
	var listeners, clusters []any
	for _, l := range r.Listeners {
		if name, _ := l["name"].(string); strings.HasPrefix(name, "envoy-gateway-proxy-") {
			continue // for probes
		}
		delete(l, "@type")
		alone(l, routes)
		l["address"] = map[string]any{"socketAddress": map[string]any{"address": "127.0.0.1", "portValue": 0}}
		l["name"] = "shop"
		for _, field := range []string{"trafficDirection", "bindToPort", "listenerFilters", "useOriginalDst", "accessLog", "additionalAddresses", "enableReusePort", "socketOptions"} {
			delete(l, field)
		}
		listeners = append(listeners, l)
	}
	for _, c := range r.Clusters {
		delete(c, "@type")
		name, _ := c["name"].(string)
		for _, e := range r.Endpoints {
			if e["clusterName"] == name {
				delete(e, "@type")
				c["type"], c["loadAssignment"] = "STATIC", e
			}
		}
		for part, address := range addresses {
			if strings.Contains(name, part) {
				place(c, name, address)
			}
		}
		if c["type"] == "EDS" || c["type"] == "ORIGINAL_DST" {
			continue // nobody's address is known here
		}
		for _, field := range []string{"transportSocket", "transportSocketMatches", "filters", "metadata", "edsClusterConfig"} {
			delete(c, field)
		}
		clusters = append(clusters, c)
	}
	raw, err := yaml.Marshal(map[string]any{
		"admin":            map[string]any{"address": map[string]any{"pipe": map[string]any{"path": admin}}},
		"static_resources": map[string]any{"listeners": listeners, "clusters": clusters},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// alone takes from a listener what another server would have to answer.
func alone(l, routes map[string]any) {
	walk(l, func(object map[string]any) {
		if rds, ok := object["rds"].(map[string]any); ok {
			name, _ := rds["routeConfigName"].(string)
			delete(object, "rds")
			object["routeConfig"] = routes[name]
		}
		for _, field := range []string{"accessLog", "tracing", "transportSocket"} {
			delete(object, field)
		}
		for _, field := range []string{"httpFilters", "filters"} {
			list, ok := object[field].([]any)
			if !ok {
				continue
			}
			kept := []any{}
			for _, f := range list {
				name, _ := f.(map[string]any)["name"].(string)
				if !strings.HasPrefix(name, "istio") && !strings.Contains(name, "metadata_exchange") && !strings.Contains(name, "grpc_stats") {
					kept = append(kept, f)
				}
			}
			object[field] = kept
		}
	})
}

func place(c map[string]any, name, address string) {
	host, port, _ := net.SplitHostPort(address)
	c["type"] = "STATIC"
	for _, field := range []string{"lbPolicy", "upstreamBindConfig"} { // of the sidecar's own place
		delete(c, field)
	}
	c["loadAssignment"] = map[string]any{"clusterName": name, "endpoints": []any{map[string]any{"lbEndpoints": []any{map[string]any{
		"endpoint": map[string]any{"address": map[string]any{"socketAddress": map[string]any{"address": host, "portValue": json.Number(port)}}},
	}}}}}
}

// start runs the pinned Envoy with what was rendered, once it has called that valid.
func (r rendered) start(t *testing.T, addresses map[string]string) foreignEnvoy {
	t.Helper()
	dir := testrig.Dir(t)
	admin, file := filepath.Join(dir, "admin.sock"), filepath.Join(dir, "envoy.yaml")
	writeFile(t, file, r.standalone(t, admin, addresses))
	if out, err := exec.Command(envoytest.Binary(t), "--mode", "validate", "-c", file, "--log-level", "warn").CombinedOutput(); err != nil {
		raw, _ := os.ReadFile(file)
		t.Fatalf("Envoy does not take what was rendered: %v\n%s\n%.20000s", err, out, raw)
	}
	return startForeign(t, file, admin)
}

// atPort is an installation's public address.
func (i *installation) atPort(t *testing.T) string {
	t.Helper()
	at, err := url.Parse(i.base)
	if err != nil {
		t.Fatal(err)
	}
	return at.Host
}

// checkQuote calls the function at its path, and what is beside it.
func (e foreignEnvoy) checkQuote(t *testing.T, host string) {
	t.Helper()
	for path, want := range map[string]string{
		"/quote/7?vat=no": `{"item":7,"cents":700}`, "/quotes/7": "GET /quotes/7 checked= robot=", "/": "GET / checked= robot=",
	} {
		if r := e.askAs(t, host, path); string(r.body) != want {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
}

func (e foreignEnvoy) askAs(t *testing.T, host, path string, headers ...string) reply {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, e.base+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	for n := 0; n < len(headers); n += 2 {
		request.Header.Set(headers[n], headers[n+1])
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	r, err := read(answer)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// checkOrders calls the hook's path.
func (e foreignEnvoy) checkOrders(t *testing.T, host string) {
	t.Helper()
	if r := e.askAs(t, host, "/orders/1", "X-Customer", "77"); string(r.body) != "GET /orders/1 checked=77 robot=" {
		t.Errorf("an order: %d %s", r.status, r.body)
	}
	if r := e.askAs(t, host, "/orders/1"); r.status != http.StatusForbidden {
		t.Errorf("an order of nobody: %d %s", r.status, r.body)
	}
}

// serveShop is an installation with the functions of the example, and the shop.
func serveShop(t *testing.T) (i *installation, shop string) {
	t.Helper()
	i = serve(t)
	for _, title := range []string{"quote", "checkorder", "tagreview"} {
		i.deployExample(t, title)
	}
	return i, newShop(t).Listener.Addr().String()
}

// TestRecipeService: Envoke as a plain Service behind a gateway of the Gateway API, of which
// Envoy Gateway is one.
func TestRecipeService(t *testing.T) {
	needsMesh(t)
	i, shop := serveShop(t)
	_, shopPort, _ := net.SplitHostPort(shop)
	_, envokePort, _ := net.SplitHostPort(i.atPort(t))
	text := recipe(t, strings.NewReplacer(
		"port: 8080", "port: "+shopPort, "port: 9000", "port: "+envokePort, "selector: {app: shop}", "clusterIP: 127.0.0.1",
	), "envoy-gateway/shop.yaml", "service/route.yaml") + fmt.Sprintf(`
---
apiVersion: v1
kind: Service
metadata: {name: envoke, namespace: envoke}
spec:
  clusterIP: 127.0.0.1
  ports: [{name: http, port: %s, protocol: TCP}]
`, envokePort)
	translate(t, text).start(t, nil).checkQuote(t, "shop.example")
}

// TestRecipeEnvoyGateway: a hook by EnvoyExtensionPolicy and Backend.
func TestRecipeEnvoyGateway(t *testing.T) {
	needsMesh(t)
	i, shop := serveShop(t)
	_, shopPort, _ := net.SplitHostPort(shop)
	text := recipe(t, strings.NewReplacer(
		"port: 8080", "port: "+shopPort, "selector: {app: shop}", "clusterIP: 127.0.0.1", "/run/envoke/nodejs-grpc.sock", filepath.Join(i.runDir, "nodejs-grpc.sock"),
	), "envoy-gateway/shop.yaml", "envoy-gateway/hook.yaml")
	e := translate(t, text).start(t, nil)
	if r := e.askAs(t, "shop.example", "/x"); string(r.body) != "GET /x checked= robot=" {
		t.Errorf("what is beside the hook: %d %s", r.status, r.body)
	}
	e.checkOrders(t, "shop.example")
}

// renderIstio is what istiod would tell a proxy.
func renderIstio(t *testing.T, proxy, text string) (r rendered) {
	t.Helper()
	dir := t.TempDir()
	file, out := filepath.Join(dir, "recipe.yaml"), filepath.Join(dir, "out.json")
	writeFile(t, file, text)
	runGo(t, "istio", []string{"RECIPE=" + file, "OUT=" + out, "PROXY=" + proxy}, "test", "-count=1", "-run", "TestRender", ".")
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	if err := decoder.Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRecipeIstioGateway: a function and a hook at an Istio gateway.
func TestRecipeIstioGateway(t *testing.T) {
	needsMesh(t)
	i, shop := serveShop(t)
	text := recipe(t, strings.NewReplacer("/run/envoke/nodejs-grpc.sock", filepath.Join(i.runDir, "nodejs-grpc.sock")), "istio/shop.yaml", "istio/gateway.yaml")
	e := renderIstio(t, "router", text).start(t, map[string]string{"||shop.shop.svc": shop, "||envoke.envoke.svc": i.atPort(t)})
	e.checkQuote(t, "shop.example")
	e.checkOrders(t, "shop.example")
}

// TestRecipeIstioSidecar: a hook at the door of one workload.
func TestRecipeIstioSidecar(t *testing.T) {
	needsMesh(t)
	i, shop := serveShop(t)
	text := recipe(t, strings.NewReplacer("/run/envoke/nodejs-grpc.sock", filepath.Join(i.runDir, "nodejs-grpc.sock")), "istio/shop.yaml", "istio/sidecar.yaml")
	r := renderIstio(t, "sidecar", text)
	r.Listeners = inbound(r.Listeners)
	e := r.start(t, map[string]string{"inbound|8080": shop})
	if got := e.askAs(t, "shop.example", "/", "User-Agent", "a bot"); got.status != http.StatusOK {
		t.Errorf("the shop: %d %s", got.status, got.body)
	} else if string(got.body) != "GET / checked= robot=true" {
		t.Errorf("the hook: %s", got.body)
	}
}

// inbound is the listener of what comes to a workload, with the one chain of its port.
func inbound(listeners []map[string]any) (out []map[string]any) {
	for _, l := range listeners {
		if l["name"] != "virtualInbound" {
			continue
		}
		chains, _ := l["filterChains"].([]any)
		for _, chain := range chains {
			chain, _ := chain.(map[string]any)
			matcher, _ := chain["filterChainMatch"].(map[string]any)
			if fmt.Sprint(matcher["destinationPort"]) == "8080" && matcher["transportProtocol"] != "tls" {
				delete(chain, "filterChainMatch")
				return append(out, map[string]any{"name": "shop", "filterChains": []any{chain}})
			}
		}
	}
	return out
}
