package pool_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/egress"
	"envoke/runtimes/pool"
	"envoke/runtimes/sandbox"
)

// needEgress skips a test where the kernel cannot keep a worker to one port. It cannot be
// installed.
func needEgress(t *testing.T) {
	t.Helper()
	if why := sandbox.NoConnect(); why != "" {
		t.Skip(why)
	}
}

func proxyOf(t *testing.T, allow string) *egress.Proxy {
	t.Helper()
	rules, err := egress.ParseRules(allow, "")
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := egress.Open(t.Context(), egress.Options{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	testrig.Serve(t, proxy.Serve)
	return proxy
}

// outward is work with a network.
func outward(language pool.Runtime, nodejs, python, owner string) pool.Work {
	w := workOf(language, nodejs, python, owner)
	w.Network = faas.Egress
	return w
}

// What a function with a network reaches by what its language has for HTTP.
func TestEgress(t *testing.T) {
	needEgress(t)
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, r.Method, " ", r.URL.Path, r.Header.Get("Proxy-Authorization"))
	})
	plain, secure, closed := httptest.NewServer(hello), httptest.NewTLSServer(hello), httptest.NewServer(hello)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	t.Cleanup(closed.Close)
	proxy := proxyOf(t, plain.Listener.Addr().String()+","+secure.Listener.Addr().String())
	params := fmt.Sprintf(`{"http": %q, "https": %q, "closed": %q}`, plain.URL, secure.URL, closed.URL)
	const (
		trusting = "process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'; "
		whole    = "const whole = (m, u, o = {}) => new Promise((done, no) => m.request(u, { rejectUnauthorized: false, ...o }, (r) => { let s = ''; r.on('data', (d) => s += d).on('end', () => done(s)) }).on('error', no).end('')); const { params } = event; "
		unsafe   = "import ssl, urllib.request\nc = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE\n"
		refusal  = "is refused: an address that is loopback"
	)
	for _, test := range []struct {
		name           string
		nodejs, python string
		want           string // a part of the result, or of the error
	}{
		{"http", "return (await (await fetch(event.params.http + '/a')).text())", "import urllib.request\nresult = urllib.request.urlopen(params['http'] + '/a').read().decode()", `"GET /a"`},
		{"https", trusting + "return (await (await fetch(event.params.https + '/a', { method: 'POST', body: 'x' })).text())", unsafe + "result = urllib.request.urlopen(params['https'] + '/a', b'x', context=c).read().decode()", `"POST /a"`},
		{"http of node", whole + "return await whole(require('http'), params.http + '/b')", "", `"GET /b"`},
		{"https of node", whole + "return await whole(require('https'), params.https + '/b', { method: 'PUT' })", "", `"PUT /b"`},
		{"twice", whole + "return [await whole(require('https'), params.https), await whole(require('https'), params.https), await whole(require('http'), params.http)]", "", `["GET /","GET /","GET /"]`},
		{"many", "return (await Promise.all(Array.from({ length: 20 }, async (_, i) => (await fetch(event.params.http + '/' + i)).status))).every((s) => s === 200)", "", "true"},
		{"refused", "await fetch(event.params.closed)", "import urllib.request, urllib.error\ntry: urllib.request.urlopen(params['closed'])\nexcept urllib.error.HTTPError as e: result = e.read().decode()", refusal},
		{"refused https", whole + "await whole(require('https'), params.closed.replace('http:', 'https:'))", "import urllib.request\nurllib.request.urlopen(params['closed'].replace('http:', 'https:'))", refusal},
		{"metadata", "await fetch('http://169.254.169.254/latest')", "import urllib.request\nurllib.request.urlopen('https://169.254.169.254/latest')", "link-local"},
		{"another agent", "const http = require('http'); await new Promise((_, no) => http.get(event.params.http, { agent: new http.Agent() }).on('error', no))", "", "connect EACCES"},
		{"a resolver", "await require('dns').promises.lookup('example.com')", "import socket\nsocket.getaddrinfo('example.com', 80)", "EAI_AGAIN functions reach the network by Node Temporary failure in name resolution"},
		{"what the environment has", "return Object.keys(process.env).sort()", "import os\nresult = sorted(os.environ)", `"HOME","HTTPS_PROXY","HTTP_PROXY","LANG","PATH","TMPDIR","TZ","http_proxy","https_proxy"]`},
	} {
		for _, language := range []pool.Runtime{pool.JavaScript(t), pool.Python(t)} {
			source := map[faas.Language]string{faas.NodeJS: test.nodejs, faas.Python: test.python}[language.Language]
			if source == "" {
				continue
			}
			t.Run(string(language.Language)+", "+test.name, func(t *testing.T) {
				p := pool.New(pool.Options{Runtime: language, Sandbox: sandbox.Config{Scratch: testrig.OpenDir(t)}, Egress: proxy})
				testrig.Serve(t, p.Serve)
				result, err := p.Invoke(t.Context(), outward(language, source, source, "o"), invocation(params))
				got := string(result.JSON)
				if err != nil {
					got = faas.AsError(err).Message
				}
				if !strings.Contains(got, test.want) && (err == nil || !containsAny(got, test.want)) {
					t.Errorf("got %s (%v), want %s", got, err, test.want)
				}
			})
		}
	}
}

// containsAny tells whether the text has what one of the languages says.
func containsAny(text, words string) bool {
	return strings.HasPrefix(words, "EAI_AGAIN ") &&
		(strings.Contains(text, "functions reach the network by Node") || strings.Contains(text, "ame resolution"))
}

// Escapes of functions with a network. Beside what others see of event.params, theirs has
// proxy (its port) and stolen (another worker's HTTPS_PROXY).
var egressEscapes = []escape{
	{
		name:   "servers on this machine, metadata, sockets, directly",
		nodejs: `const net = require("net"); const reach = (o) => new Promise((done) => { const c = net.connect(o, () => done("connected")).on("error", () => done(false)) }); for (const o of [{port, host: "127.0.0.1"}, {port, host: "::1"}, {port: 80, host: "169.254.169.254"}, {port: 53, host: "8.8.8.8"}, {path: socket}, {path: "\0abstract"}]) { const got = await reach(o); if (got) return got } return await new Promise((done) => require("dgram").createSocket("udp4").on("error", () => done(false)).on("listening", () => done("bound")).bind(0))`,
		python: `result = any_of(*(lambda a=a: s.create_connection(a, 1) for a in (("127.0.0.1", port), ("::1", port), ("169.254.169.254", 80), ("8.8.8.8", 53))), lambda: s.socket(s.AF_UNIX).connect(socket), lambda: s.socket(s.AF_INET, s.SOCK_DGRAM), lambda: s.socket(s.AF_INET, s.SOCK_RAW, 1), lambda: s.socket(s.AF_INET, s.SOCK_STREAM, 262), lambda: s.socket(s.AF_PACKET, s.SOCK_RAW), lambda: s.socket(s.AF_NETLINK, s.SOCK_RAW), lambda: s.socket(s.AF_VSOCK, s.SOCK_STREAM), lambda: s.socket().bind(("127.0.0.1", 0)), lambda: s.socket().listen(), lambda: s.socket().sendmsg([b"x"], [], 0x20000000, ("127.0.0.1", port)))`,
	},
	{
		name:   "servers on this machine and metadata, by the proxy",
		nodejs: `for (const url of ["http://127.0.0.1:" + port, "http://localhost:" + port, "https://127.0.0.1:" + port, "http://[::1]:" + port, "http://[::ffff:127.0.0.1]:" + port, "http://2130706433:" + port, "http://0x7f.1:" + port, "http://169.254.169.254/", "http://0.0.0.0:" + port, "http://127.0.0.1:" + event.params.proxy]) { try { return (await fetch(url)).status } catch (e) { if (!/refused|502|failed/.test(e.cause?.message ?? e.message)) return String(e.cause ?? e) } } return false`,
		python: `import urllib.request, urllib.error
def ask(url):
    with urllib.request.urlopen(url, timeout=5) as reply: return reply.status
result = any_of(*(lambda u=u: ask(u) for u in (f"http://127.0.0.1:{port}", f"http://localhost:{port}", f"https://127.0.0.1:{port}", f"http://[::1]:{port}", f"http://[::ffff:127.0.0.1]:{port}", f"http://2130706433:{port}", "http://169.254.169.254/", f"http://0.0.0.0:{port}", f"http://127.0.0.1:{params['proxy']}")))`,
	},
	{
		name:   "without an identity, or a made-up one",
		nodejs: `const http = require("http"), net = require("net"); for (const auth of [undefined, "Basic " + Buffer.from("worker:").toString("base64"), "Basic " + Buffer.from("worker:x").toString("base64")]) { const status = await new Promise((done) => http.request({ agent: new http.Agent(), port: event.params.proxy, host: "127.0.0.1", path: "http://example.com/", headers: auth ? { "proxy-authorization": auth } : {} }, (r) => done(r.statusCode)).on("error", () => done(407)).end()); if (status !== 407) return status } return false`,
		python: `import http.client
def ask(headers):
    c = http.client.HTTPConnection("127.0.0.1", params["proxy"], timeout=5)
    c.request("GET", "http://example.com/", headers=headers)
    status = c.getresponse().status
    if status == 407: raise OSError(status)
    return status
result = any_of(lambda: ask({}), lambda: ask({"Proxy-Authorization": "Basic d29ya2VyOg=="}), lambda: ask({"Proxy-Authorization": "Basic d29ya2VyOng="}))`,
	},
	{
		name:   "another worker's identity",
		nodejs: `return any(() => fs.readFileSync("/proc/" + victim.pid + "/environ"), () => fs.readFileSync("/proc/" + process.pid + "/environ"), () => process._debugProcess(victim.pid))`,
		python: `result = any_of(lambda: open(f"/proc/{victim['pid']}/environ").read(), lambda: open("/proc/self/environ").read(), lambda: check(libc.ptrace(16, victim["pid"], 0, 0)))`,
	},
}

func TestEgressEscapes(t *testing.T) {
	needEgress(t)
	for _, own := range []bool{false, true} {
		for _, language := range []pool.Runtime{pool.JavaScript(t), pythonFor(t, own)} {
			t.Run(fmt.Sprintf("%s, users of their own %v", language.Language, own), func(t *testing.T) {
				server, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = server.Close() })
				path := filepath.Join(t.TempDir(), "s")
				local, err := net.Listen("unix", path)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = local.Close() })
				proxy := proxyOf(t, "")
				a := attack{escapes: egressEscapes, proxy: proxy, own: own}
				a.try(t, language, map[string]any{
					"host": os.Getpid(), "port": server.Addr().(*net.TCPAddr).Port, "socket": path, "secret": path, "proxy": proxy.Port(),
				})
			})
		}
	}
}

// TestEgressEscapesAsAnOrdinaryUser is TestEgressEscapes by a host without privileges.
func TestEgressEscapesAsAnOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user; TestEgressEscapes just ran as an ordinary one")
	}
	needEgress(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestEgressEscapes$", "-test.count=1", "-test.v")
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/local/bin:/usr/bin:/bin", "NODE=" + os.Getenv("NODE")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestEgressEscapes/nodejs") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Functions with and without a network share the places for workers, and neither keeps the
// other from one for ever.
func TestEgressSharesThePlaces(t *testing.T) {
	needEgress(t)
	language := pool.JavaScript(t)
	p := pool.New(pool.Options{Runtime: language, Sandbox: sandbox.Config{Scratch: testrig.OpenDir(t)}, Idle: 1, MaxWorkers: 2, Egress: proxyOf(t, "")})
	testrig.Serve(t, p.Serve)
	const source = "return process.env.HTTPS_PROXY !== undefined"
	for i := range 3 {
		for _, work := range []pool.Work{workOf(language, source, "", fmt.Sprint("plain", i)), outward(language, source, "", fmt.Sprint("out", i))} {
			result, err := p.Invoke(t.Context(), work, invocation("{}"))
			if want := fmt.Sprint(work.Network == faas.Egress); err != nil || string(result.JSON) != want {
				t.Errorf("%s: %s, %v; want %s", work.Owner, result.JSON, err, want)
			}
		}
	}
}

// One function is another with a network: they share no worker.
func TestNetworkIsPartOfTheKey(t *testing.T) {
	language := pool.JavaScript(t)
	p := pool.New(pool.Options{Runtime: language, Sandbox: sandbox.Config{Scratch: testrig.OpenDir(t)}})
	testrig.Serve(t, p.Serve)
	if _, err := p.Invoke(t.Context(), workOf(language, "return 1", "", "o"), invocation("{}")); err != nil {
		t.Fatal(err)
	}
	_, err := p.Invoke(t.Context(), outward(language, "return 1", "", "o"), invocation("{}"))
	if faas.AsError(err).Code != faas.Unavailable {
		t.Errorf("without a proxy: %v", err)
	}
}
