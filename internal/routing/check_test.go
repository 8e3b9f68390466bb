package routing

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func written(t *testing.T, r Routing) []byte {
	t.Helper()
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// rules are faults of rules: each field promises something.
var rules = map[string]struct{ rule, want string }{
	"fine":                    {"{backendRefs: [{name: u}]}", ""},
	"no such upstream":        {"{backendRefs: [{name: v}]}", `backendRefs[0].name: there is no upstream "v"`},
	"a function's kind":       {"{backendRefs: [{name: nodejs-a}]}", `and a function needs kind: Function`},
	"a function":              {"{backendRefs: [{kind: Function, name: 'nodejs-a:b', namespace: team}]}", ""},
	"no function":             {"{backendRefs: [{kind: Function, name: 'cobol-a'}]}", "backendRefs[0].name: "},
	"no version":              {"{backendRefs: [{kind: Function, name: 'nodejs-a@0'}]}", "after '@' comes a version"},
	"no namespace":            {"{backendRefs: [{kind: Function, name: nodejs-a, namespace: A}]}", "is no namespace"},
	"the default namespace":   {"{backendRefs: [{kind: Function, name: nodejs-a, namespace: default}]}", "leave it out"},
	"an upstream's namespace": {"{backendRefs: [{name: u, namespace: a}]}", "is of functions only"},
	"no kind":                 {"{backendRefs: [{kind: Service, name: u}]}", `kind: is "Service": it must be Upstream or Function`},
	"no weight":               {"{backendRefs: [{name: u, weight: -1}]}", "weight: is -1"},
	"weight 0":                {"{backendRefs: [{name: u, weight: 0}]}", ""},

	"no path":           {"{matches: [{path: {value: ''}}]}", "path.value: is missing"},
	"a relative path":   {"{matches: [{path: {value: a}}]}", "path.value: must begin with /"},
	"a query":           {"{matches: [{path: {value: '/a?b'}}]}", "has a query"},
	"a fragment":        {"{matches: [{path: {value: '/a#b'}}]}", "has a fragment"},
	"dots":              {"{matches: [{path: {value: /a/../b}}]}", "has //, /./"},
	"dots at the end":   {"{matches: [{path: {value: /a/..}}]}", "has //, /./"},
	"two slashes":       {"{matches: [{path: {value: //a}}]}", "has //"},
	"an escaped slash":  {"{matches: [{path: {value: /a%2Fb}}]}", "%2f"},
	"a space":           {"{matches: [{path: {value: '/a b'}}]}", "has a character"},
	"a lone percent":    {"{matches: [{path: {value: '/a%zz'}}]}", "has a character"},
	"an escaped letter": {"{matches: [{path: {type: Exact, value: '/%C3%BC'}}]}", ""},
	"a long path":       {"{matches: [{path: {value: /" + strings.Repeat("a", maxPath) + "}}]}", "is longer"},
	"no type of path":   {"{matches: [{path: {type: Prefix, value: /a}}]}", `type: is "Prefix"`},

	"a template":              {"{matches: [{path: {type: Template, value: '/a/{b}/c/{d=**}'}}]}", ""},
	"a template's end":        {"{matches: [{path: {type: Template, value: '/a/{b=**}/c'}}]}", "it is at the end only"},
	"half a segment":          {"{matches: [{path: {type: Template, value: '/a{b}'}}]}", "is no variable"},
	"twice a variable":        {"{matches: [{path: {type: Template, value: '/{b}/{b}'}}]}", "has {b} twice"},
	"six variables":           {"{matches: [{path: {type: Template, value: '/{a}/{b}/{c}/{d}/{e}/{f}'}}]}", "has 6 variables"},
	"a star":                  {"{matches: [{path: {type: Template, value: '/a/*'}}]}", "has a * outside"},
	"a relative template":     {"{matches: [{path: {type: Template, value: '{a}'}}]}", "must begin with /"},
	"a long variable":         {"{matches: [{path: {type: Template, value: '/{abcdefghijklmnopq}'}}]}", "longer than 16"},
	"an expression":           {"{matches: [{path: {type: RegularExpression, value: '/a/[0-9]+'}}]}", ""},
	"an open bracket":         {"{matches: [{path: {type: RegularExpression, value: '/a(b'}}]}", "is no regular expression of RE2: missing closing )"},
	"a look ahead":            {"{matches: [{path: {type: RegularExpression, value: '(?=a)'}}]}", "is no regular expression of RE2"},
	"a large expression":      {"{matches: [{path: {type: RegularExpression, value: '/[a-z]{200}'}}]}", "Envoy takes 100"},
	"a header's expression":   {"{matches: [{headers: [{type: RegularExpression, name: a, value: '('}]}]}", "is no regular expression"},
	"no header":               {"{matches: [{headers: [{name: 'a b', value: c}]}]}", "is no name of a header"},
	"a pseudo header":         {"{matches: [{headers: [{name: ':path', value: c}]}]}", "not for routes to say"},
	"the host":                {"{matches: [{headers: [{name: Host, value: c}]}]}", "not for routes to say"},
	"ours":                    {"{matches: [{headers: [{name: X-Envoke-User, value: c}]}]}", "is between Envoke's own parts"},
	"a header twice":          {"{matches: [{headers: [{name: a, value: c}, {name: A, value: d}]}]}", `"A" is there twice`},
	"a header without value":  {"{matches: [{headers: [{name: a, value: ''}]}]}", "value: must be text of 1"},
	"a header by its prefix":  {"{matches: [{headers: [{type: PathPrefix, name: a, value: b}]}]}", "must be Exact or RegularExpression"},
	"a parameter twice":       {"{matches: [{queryParams: [{name: a, value: c}, {name: a, value: d}]}]}", "is there twice"},
	"no parameter":            {"{matches: [{queryParams: [{name: '', value: c}]}]}", "must be the name of a query parameter"},
	"a method in lower case":  {"{matches: [{method: get}]}", `method: is "get"`},
	"a method of no path":     {"{matches: [{method: CONNECT}]}", `method: is "CONNECT"`},
	"too many matches":        {"{matches: [" + strings.Repeat("{}, ", maxMatches+1) + "]}", "matches: are 65: there may be 64"},
	"a filter of no type":     {"{filters: [{}]}", "filters[0].type: is missing"},
	"a filter of another":     {"{filters: [{type: URLRewrite}]}", "has no urlRewrite"},
	"a filter of two":         {"{filters: [{type: RequestRedirect, requestRedirect: {port: 1}, urlRewrite: {hostname: a}}]}", "urlRewrite: is of another type"},
	"a filter twice":          {"{filters: [{type: URLRewrite, urlRewrite: {hostname: a}}, {type: URLRewrite, urlRewrite: {hostname: b}}]}", "URLRewrite is there twice"},
	"two mirrors":             {"{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: u}}}, {type: RequestMirror, requestMirror: {backendRef: {name: u}}}]}", ""},
	"a mirror's function":     {"{filters: [{type: RequestMirror, requestMirror: {backendRef: {kind: Function, name: nodejs-a}}}]}", "functions get no copies"},
	"a mirror of nothing":     {"{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: w}}}]}", `there is no upstream "w"`},
	"a mirror of all":         {"{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: u}, percent: 101}}]}", "percent: is 101"},
	"redirect and rewrite":    {"{filters: [{type: URLRewrite, urlRewrite: {hostname: a}}, {type: RequestRedirect, requestRedirect: {port: 1}}]}", "has both"},
	"redirect and backends":   {"{filters: [{type: RequestRedirect, requestRedirect: {port: 1}}], backendRefs: [{name: u}]}", "leave them out"},
	"redirect to itself":      {"{filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301}}]}", "sends everybody to where they are"},
	"redirect by 200":         {"{filters: [{type: RequestRedirect, requestRedirect: {port: 1, statusCode: 200}}]}", "statusCode: is 200"},
	"redirect to many":        {"{filters: [{type: RequestRedirect, requestRedirect: {hostname: '*.a'}}]}", "is of many hosts"},
	"redirect to ftp":         {"{filters: [{type: RequestRedirect, requestRedirect: {scheme: ftp}}]}", `scheme: is "ftp"`},
	"rewrite of nothing":      {"{filters: [{type: URLRewrite, urlRewrite: {}}]}", "changes nothing"},
	"rewrite of a prefix":     {"{matches: [{path: {type: Exact, value: /a}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]}", "only PathPrefix has one"},
	"rewrite to a query":      {"{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: '/a?b'}}}]}", "has a query"},
	"rewrite of another type": {"{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /a, replacePrefixMatch: /a}}}]}", "replacePrefixMatch: is of another type"},
	"headers of nothing":      {"{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {}}]}", "changes nothing"},
	"a header of framing":     {"{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Content-Length, value: '1'}]}}]}", "is Envoy's to set"},
	"a header of two lines":   {"{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: \"b\\nc: d\"}]}}]}", "is no value of a header"},
	"a header set twice":      {"{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}, {name: A, value: b}]}}]}", "is there twice"},
	"who calls":               {"{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-User-ID, value: root}]}}]}", "says who calls"},
	"our header removed":      {"{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [x-envoke-a]}}]}", "is between Envoke's own parts"},

	"a long try":          {"{timeouts: {request: 1s, backendRequest: 2s}}", "one try cannot take longer"},
	"a long request":      {"{timeouts: {request: 48h}}", "is 48h0m0s: it must be 1ms to 24h0m0s"},
	"a retry of 200":      {"{retry: {codes: [200]}}", "codes[0]: is 200"},
	"a retry of two same": {"{retry: {codes: [500, 500]}}", "codes[1]: 500 is there twice"},
	"many tries":          {"{retry: {attempts: 11}}", "attempts: is 11"},
	"a hook's deadline":   {"{hooks: {request: {function: nodejs-a, failureMode: Open}}}", "hooks.request.deadline: is missing"},
	"a hook's mode":       {"{hooks: {request: {function: nodejs-a, deadline: 1s}}}", "hooks.request.failureMode: is missing: it is Open or Closed"},
	"a hook's long wait":  {"{hooks: {response: {function: nodejs-a, deadline: 11s, failureMode: Open}}}", "hooks.response.deadline: is 11s"},
	"a hook of nothing":   {"{hooks: {request: {deadline: 1s, failureMode: Open}}}", "hooks.request.function: is missing"},
	"public and scopes":   {"{access: {public: true, scopes: [admin]}}", "lets everybody"},
	"no scope":            {"{access: {scopes: [all]}}", `there is no scope "all"`},
	"a rule's name":       {"{name: A}", "rules[0].name: \"A\" is no name"},
	"a rule's name twice": {"{name: a}, {name: a}", "rules[1].name: \"a\" is there twice"},
}

// TestCheckRules: each field of a rule keeps what its comment says.
func TestCheckRules(t *testing.T) {
	for name, test := range rules {
		t.Run(name, func(t *testing.T) { wantFault(t, only(test.rule), test.want) })
	}
}

// wantFault wants one fault with a place, or none.
func wantFault(t *testing.T, document, want string) {
	t.Helper()
	got := faultsOf(document)
	switch {
	case want == "" && got != "":
		t.Errorf("faults: %s", got)
	case want != "" && (!strings.Contains(got, want) || strings.Contains(got, "\n") || !strings.HasPrefix(got, "f:")):
		t.Errorf("faults:\n%s\nwant one with %q", got, want)
	}
}

// TestCheckOthers: of hosts, listeners and upstreams.
func TestCheckOthers(t *testing.T) {
	upstream := func(fields string) string { return "upstreams: [{name: u, " + fields + "}]" }
	listener := func(fields string) string { return "listeners: [{name: l, " + fields + "}]" }
	hosts := func(names string) string { return "routes: [{name: r, hostnames: [" + names + "], rules: [{}]}]" }
	for name, test := range map[string]struct{ document, want string }{
		"hosts":               {hosts("a, a.b, '*.a.b', xn--4ca.de"), ""},
		"a port":              {hosts("'a:80'"), "is no name of a host"},
		"capitals":            {hosts("A.b"), "is no name of a host"},
		"a star inside":       {hosts("'a.*.b'"), "is no name of a host"},
		"a lone star":         {hosts("'*'"), "is no name of a host"},
		"an address":          {hosts("10.0.0.1"), "is an address"},
		"an IPv6 address":     {hosts("'::1'"), "is an address"},
		"twice":               {hosts("a, a"), "is there twice"},
		"a trailing dot":      {hosts("a.b."), "is no name of a host"},
		"of the API":          {"api: {hostnames: [A]}", "api.hostnames[0]"},
		"no rules":            {"routes: [{name: r}]", "routes[0].rules: is missing"},
		"a route twice":       {"routes: [{name: r, rules: [{}]}, {name: r, rules: [{}]}]", `routes[1].name: "r" is there twice: the other is f:1:17: routes[0].name`},
		"a route's name":      {"routes: [{name: a/b, rules: [{}]}]", "is no name"},
		"a long name":         {"routes: [{name: " + strings.Repeat("a", 254) + ", rules: [{}]}]", "is no name"},
		"no name":             {"upstreams: [{endpoints: []}]", "upstreams[0].name: is missing"},
		"defaults":            {"defaults: {retry: {attempts: 20}}", "defaults.retry.attempts: is 20"},
		"addresses":           {upstream("endpoints: [{host: 1.2.3.4, port: 1}, {path: /a}, {host: '::1', port: 2}]"), ""},
		"names":               {upstream("endpoints: [{host: a, port: 1}, {host: b, port: 1}]"), ""},
		"both":                {upstream("endpoints: [{host: a, port: 1}, {host: 1.2.3.4, port: 1}]"), "an upstream has only addresses or only names"},
		"an endpoint twice":   {upstream("endpoints: [{host: a, port: 1}, {host: a, port: 1}]"), "endpoints[1]: is there twice"},
		"no endpoint":         {upstream("endpoints: [{weight: 1}]"), "has neither a host"},
		"a socket's port":     {upstream("endpoints: [{path: /a, port: 1}]"), "has neither host nor port"},
		"a relative socket":   {upstream("endpoints: [{path: a}]"), "must be the absolute path"},
		"all addresses":       {upstream("endpoints: [{host: 0.0.0.0, port: 1}]"), "is no address of one machine"},
		"a port too large":    {upstream("endpoints: [{host: a, port: 65536}]"), "port: is 65536"},
		"a weight":            {upstream("endpoints: [{host: a, port: 1, weight: -1}]"), "weight: is -1"},
		"a protocol":          {upstream("appProtocol: grpc"), `appProtocol: is "grpc": it must be http1 or http2`},
		"a way":               {upstream("loadBalancing: Maglev"), "loadBalancing: is"},
		"a long connect":      {upstream("connectTimeout: 1h"), "connectTimeout: is 1h0m0s"},
		"TLS without a name":  {upstream("tls: {}"), "tls.hostname: is missing"},
		"half a certificate":  {upstream("tls: {hostname: a, certificateFile: b}"), "needs keyFile too"},
		"half a key":          {upstream("tls: {hostname: a, keyFile: b}"), "needs certificateFile too"},
		"a check's path":      {upstream("healthCheck: {path: a}"), "healthCheck.path: must begin with /"},
		"a check's query":     {upstream("healthCheck: {path: '/a?b=c'}"), ""},
		"no check's path":     {upstream("healthCheck: {}"), "healthCheck.path: is missing"},
		"a check's interval":  {upstream("healthCheck: {path: /, interval: 1ms}"), "interval: is 1ms"},
		"all ejected":         {upstream("outlierDetection: {maxEjectionPercent: 101}"), "maxEjectionPercent: is 101"},
		"a breaker":           {upstream("circuitBreakers: {maxRetries: -1}"), "maxRetries: is -1"},
		"a listener":          {listener("port: 80, protocol: HTTP, redirectTo: 443"), ""},
		"no protocol":         {listener("port: 80"), "protocol: is missing: it is HTTP or HTTPS"},
		"no port":             {listener("protocol: HTTP"), "port: is 0"},
		"no host":             {listener("host: a, port: 80, protocol: HTTP"), "is no IP address"},
		"no certificate":      {listener("port: 80, protocol: HTTPS, tls: {keyFile: a}"), "tls.certificateFile: is missing"},
		"plain TLS":           {listener("port: 80, protocol: HTTP, tls: {keyFile: a}"), "tls: is of HTTPS only"},
		"plain HTTP3":         {listener("port: 80, protocol: HTTP, http3: true"), "http3: is of HTTPS only"},
		"redirect from https": {listener("port: 80, protocol: HTTPS, redirectTo: 81, tls: {keyFile: a, certificateFile: b}"), "redirectTo: is of HTTP only"},
		"a port twice":        {"listeners: [{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTP}]", "80 is that of another listener"},
	} {
		t.Run(name, func(t *testing.T) { wantFault(t, test.document, test.want) })
	}
}

// TestCheckFiles: where asked, files are there.
func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	document := fmt.Sprintf("upstreams: [{name: u, tls: {hostname: a, caFile: %s/%%s}}]", dir)
	for file, want := range map[string]string{"ca": "", "none": "no such file", "": "is no file that can be read"} {
		_, faults := ParseAll(Checks{Files: true}, Text{Raw: fmt.Appendf(nil, document, file)})
		if got := faults.Error(); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%q: %q, want %q", file, got, want)
		}
		if got := faultsOf(fmt.Sprintf(document, file)); got != "" {
			t.Errorf("%q is looked at unasked: %s", file, got)
		}
	}
}

// TestCheckKubernetes: names of objects are taken from there only.
func TestCheckKubernetes(t *testing.T) {
	r := Routing{
		Upstreams: []Upstream{{Name: "prod/shop:http"}, {Name: "prod/shop:8080"}},
		Routes:    []Route{{Name: "prod/shop", Rules: []Rule{{BackendRefs: []BackendRef{{Name: "prod/shop:8080"}}}}}},
	}
	if faults := Check(Checks{Kubernetes: true}, Document{Routing: r}); len(faults) > 0 {
		t.Error(faults)
	}
	if faults := Check(Checks{}, Document{Routing: r}); len(faults) != 3 || faults[0].Error() != `upstreams[0].name: "prod/shop:http" is no name: it has `+nameRule {
		t.Error(faults)
	}
}
