package pool_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/runtimes/egress"
	"envoke/runtimes/pool"
	"envoke/runtimes/sandbox"
)

// An escape is what a stranger's function tries against another function, its host or the
// machine. It sees event.params: victim (a process and its scratch folder), host (a
// process), port (of a server on this machine), socket, secret (a file of the host's).
// Whatever does not fail by itself must come to nothing: it returns false.
type escape struct {
	name           string
	nodejs, python string    // false: it did not come out
	ends           faas.Code // the error that the call ends with instead; empty: none
	limit          string    // that was hit, of details
	refused        string    // what its own error may say in place of that, where the interpreter asks before it takes
}

// Helpers of the escapes in both languages: tried is false where f throws.
const (
	nodejsHelpers = `
const fs = require("fs"), { victim, host, port, socket, secret } = event.params;
const tried = (f) => { try { const got = f(); return got === undefined ? true : String(got).slice(0, 200) } catch (e) { return false } };
const any = (...fs) => fs.map(tried).find((x) => x !== false) ?? false;
`
	pythonHelpers = `
import os, ctypes, socket as s, signal, mmap, sys
victim, host, port, socket, secret = (params[k] for k in ("victim", "host", "port", "socket", "secret"))
libc = ctypes.CDLL(None, use_errno=True)
def tried(f):
    try:
        got = f()
        return True if got is None else str(got)[:200]
    except Exception: return False
def any_of(*fs): return next((x for x in map(tried, fs) if x is not False), False)
def check(code):
    if code == -1: raise OSError(ctypes.get_errno())
    return code
`
)

var escapes = []escape{
	{
		name:   "files of the system and the host",
		nodejs: `return any(() => fs.readFileSync("/etc/shadow"), () => fs.readFileSync("/etc/passwd"), () => fs.readFileSync(secret), () => fs.readdirSync("/root"), () => fs.readdirSync("/"), () => fs.writeFileSync("/tmp/envoke-escaped", ""))`,
		python: `result = any_of(*(lambda p=p: open(p).read() for p in ("/etc/shadow", "/etc/passwd", secret)), lambda: os.listdir("/root"), lambda: os.listdir("/"), lambda: open("/tmp/envoke-escaped", "w"))`,
	},
	{
		name:   "another function's scratch folder",
		nodejs: `return any(() => fs.readFileSync(victim.scratch + "/secret"), () => fs.readdirSync(victim.scratch), () => fs.writeFileSync(victim.scratch + "/x", ""), () => fs.readdirSync(".."), () => fs.linkSync(victim.scratch + "/secret", "mine"), () => { fs.symlinkSync(victim.scratch, "l"); return fs.readFileSync("l/secret") })`,
		python: `result = any_of(lambda: open(victim["scratch"] + "/secret").read(), lambda: os.listdir(victim["scratch"]), lambda: open(victim["scratch"] + "/x", "w"), lambda: os.listdir(".."), lambda: os.link(victim["scratch"] + "/secret", "mine"), lambda: os.rename(victim["scratch"] + "/secret", "mine"))`,
	},
	{
		name:   "rights of the host's files",
		nodejs: `return any(() => fs.chmodSync(secret, 0o777), () => fs.chownSync(secret, 1, 1), () => fs.utimesSync(secret, 1, 1), () => fs.unlinkSync(secret), () => fs.truncateSync(secret), () => fs.watch(secret).close())`,
		python: `result = any_of(lambda: os.chmod(secret, 0o777), lambda: os.chown(secret, 1, 1), lambda: os.utime(secret, (1, 1)), lambda: os.unlink(secret), lambda: os.truncate(secret, 0), lambda: os.setxattr(secret, "user.x", b"x"))`,
	},
	{
		name:   "/proc of others",
		nodejs: `const all = []; for (const pid of [victim.pid, host, 1]) for (const f of ["environ", "cmdline", "maps", "mem", "status", "fd/3", "root/etc/passwd", "cwd/secret"]) all.push(() => fs.readFileSync("/proc/" + pid + "/" + f)); return any(...all, () => fs.readlinkSync("/proc/" + victim.pid + "/fd/3"), () => fs.readdirSync("/proc"))`,
		python: `result = any_of(*(lambda p=pid, f=f: open(f"/proc/{p}/{f}", "rb").read(10) for pid in (victim["pid"], host, 1) for f in ("environ", "cmdline", "maps", "mem", "status", "fd/3", "root/etc/passwd", "cwd/secret")), lambda: os.readlink(f"/proc/{victim['pid']}/fd/3"), lambda: os.listdir("/proc"))`,
	},
	{
		name:   "servers on this machine, metadata, sockets",
		nodejs: `const net = require("net"); const reach = (o) => new Promise((done) => { const c = net.connect(o, () => done("connected")).on("error", () => done(false)) }); for (const o of [{port, host: "127.0.0.1"}, {port, host: "::1"}, {port: 80, host: "169.254.169.254"}, {path: socket}, {path: "\0abstract"}]) { const got = await reach(o); if (got) return got } return await new Promise((done) => require("dgram").createSocket("udp4").on("error", () => done(false)).on("listening", () => done("bound")).bind(0))`,
		python: `result = any_of(*(lambda a=a: s.create_connection(a, 1) for a in (("127.0.0.1", port), ("::1", port), ("169.254.169.254", 80))), lambda: s.socket(s.AF_UNIX).connect(socket), lambda: s.socket(s.AF_INET, s.SOCK_RAW, 1), lambda: s.socket(s.AF_PACKET, s.SOCK_RAW), lambda: s.socket(s.AF_NETLINK, s.SOCK_RAW), lambda: s.socket(s.AF_VSOCK, s.SOCK_STREAM))`,
	},
	{
		name:   "signals to others",
		nodejs: `return any(...[victim.pid, host, -1, -victim.pid, 1].map((pid) => () => process.kill(pid, "SIGKILL")))`,
		python: `result = any_of(*(lambda p=p: os.kill(p, signal.SIGKILL) for p in (victim["pid"], host, -1, 1)), lambda: os.killpg(victim["pid"], 9), lambda: check(libc.syscall(200, victim["pid"], 9)), lambda: signal.pidfd_send_signal(os.pidfd_open(victim["pid"]), 9), lambda: os.sched_setaffinity(victim["pid"], {0}), lambda: check(libc.fcntl(os.pipe()[0], 8, victim["pid"])), lambda: check(libc.syscall(72, ctypes.c_long(os.pipe()[0]), ctypes.c_long(1 << 40 | 8), ctypes.c_long(victim["pid"]))), lambda: check(libc.ioctl(s.socketpair()[0].fileno(), 0x8901, ctypes.byref(ctypes.c_int(victim["pid"])))), lambda: os.setpriority(os.PRIO_PROCESS, victim["pid"], 19))`,
	},
	{
		name:   "ptrace, and memory of others",
		nodejs: `return any(() => process._debugProcess(victim.pid), () => process._debugProcess(host))`,
		python: `buffer = ctypes.create_string_buffer(8)
class iov(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
one = iov(ctypes.addressof(buffer), 8)
result = any_of(*(lambda p=p: check(libc.ptrace(16, p, 0, 0)) for p in (victim["pid"], host)), lambda: check(libc.process_vm_readv(victim["pid"], ctypes.byref(one), 1, ctypes.byref(one), 1, 0)))`,
	},
	{
		name: "the kernel's back doors",
		python: `calls = {"mount": 165, "unshare": 272, "keyctl": 250, "bpf": 321, "io_uring_setup": 425, "userfaultfd": 323, "perf_event_open": 298, "open_by_handle_at": 304, "memfd_create": 319, "shmget": 29, "setns": 308, "chroot": 161, "add_key": 248, "init_module": 175}
import platform
result = platform.machine() == "x86_64" and any_of(*(lambda n=n: check(libc.syscall(n, 0, 0, 0, 0, 0, 0)) for n in calls.values()), lambda: os.setuid(0) if os.getuid() else check(-1), lambda: os.setgroups([0]))`,
	},
	{
		name:   "programs",
		nodejs: `const { spawnSync, execFileSync } = require("child_process"); return any(() => execFileSync("/bin/sh", ["-c", "id"]), () => execFileSync(process.execPath, ["-v"]), () => { fs.writeFileSync("x", "#!/bin/sh\nid", { mode: 0o755 }); return execFileSync("./x") })`,
		python: `import subprocess
result = any_of(lambda: subprocess.run(["/bin/sh", "-c", "id"]), lambda: subprocess.run([sys.executable, "-V"]), lambda: os.fork(), lambda: os.posix_spawn("/bin/sh", ["sh"], {}), lambda: os.execv("/bin/sh", ["sh", "-c", "exit 0"]), lambda: check(libc.fork()))`,
	},
	{
		name: "processes by raw calls",
		python: `import platform
flags = 0x4000 | 0x100 | 17
result = platform.machine() == "x86_64" and any_of(*(lambda f=f: check(libc.syscall(56, ctypes.c_ulong(f), 0, 0, 0, 0)) for f in (17, flags, flags | 0x1000)), lambda: check(libc.syscall(57)), lambda: check(libc.syscall(58)), lambda: check(libc.prctl(1, 0)))`,
	},
	{
		name:   "datagrams, leases, notices",
		nodejs: `return any(() => fs.watch(".").close())`,
		python: `result = any_of(lambda: s.socketpair(s.AF_UNIX, s.SOCK_DGRAM), lambda: s.socketpair(s.AF_UNIX, s.SOCK_SEQPACKET), lambda: s.socketpair()[0].bind("\\0x"), lambda: check(libc.fcntl(os.open("/proc/cpuinfo", 0), 1024, 0)), lambda: check(libc.fcntl(os.open(".", 0), 1026, 1)), lambda: check(libc.inotify_init()), lambda: mmap.mmap(-1, 4096), lambda: mmap.mmap(-1, 100 << 30, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ), lambda: check(libc.ioctl(os.open("f", os.O_CREAT), 0x40086602, ctypes.byref(ctypes.c_long(0)))))
os.unlink("f")`,
	},
	{
		name:   "descriptors of others",
		nodejs: `const own = new Set(); let got = false; for (let fd = 4; fd < 300; fd++) { try { const link = fs.fstatSync(fd); if (link.isSocket()) got = "socket " + fd } catch {} } return got`,
		python: `import stat
def sock(fd):
    try: return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError: return False
result = next((fd for fd in range(4, 300) if sock(fd)), False)`,
	},
	{
		name:   "descriptors without end",
		nodejs: `const open = []; try { for (;;) open.push(fs.openSync("/dev/null")) } catch (e) { return e.code !== "EMFILE" } finally { open.forEach((fd) => fs.closeSync(fd)) }`,
		python: `fds = []
try:
    while True: fds.append(os.open("/dev/null", 0))
except OSError as e: result = e.errno != 24
for fd in fds: os.close(fd)`,
	},
	{
		name: "memory without end", ends: faas.ResourceExhausted, limit: "memory",
		nodejs: `const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1))`,
		python: `all = []
while True: all.append(b"x" * (1 << 20))`,
	},
	{
		name: "memory that is shared", ends: faas.ResourceExhausted, refused: "Array buffer allocation failed", // Node.js 22
		nodejs: `const all = []; for (;;) { const a = new Int8Array(new SharedArrayBuffer(1 << 24)); a.fill(1); all.push(a); await new Promise((done) => setTimeout(done, 1)) }`,
		python: `import time
all = []
while True:
    with open("f", "w+b") as f: f.truncate(1 << 24); m = mmap.mmap(f.fileno(), 1 << 24); os.unlink("f")
    m.write(b"x" * (1 << 24)); all.append(m); time.sleep(0.01)`,
	},
	{
		name: "removed files without end", ends: faas.ResourceExhausted, limit: "scratch",
		nodejs: `for (let i = 0; ; i++) { const f = fs.openSync("f", "w"); fs.unlinkSync("f"); fs.writeSync(f, Buffer.alloc(1 << 20, 1)); await new Promise((done) => setTimeout(done, 10)) }`,
		python: `import time
fds = []
while True:
    fds.append(os.open("f", os.O_CREAT | os.O_RDWR)); os.unlink("f"); os.write(fds[-1], b"x" * (1 << 20)); time.sleep(0.01)`,
	},
	{
		name: "folders in folders without end", ends: faas.ResourceExhausted, limit: "scratch depth",
		nodejs: `for (let i = 0; i < 500; i++) { fs.mkdirSync("d"); process.chdir("d") } await new Promise((done) => setTimeout(done, 5000))`,
		python: `import time
for i in range(500): os.mkdir("d"); os.chdir("d")
time.sleep(5)`,
	},
	{
		name: "disk without end", ends: faas.ResourceExhausted, limit: "scratch",
		nodejs: `for (let i = 0; ; i++) { fs.writeFileSync("f" + i, Buffer.alloc(1 << 20, 1)); await new Promise((done) => setTimeout(done, 5)) }`,
		python: `import time
i = 0
while True:
    i += 1
    with open(f"f{i}", "wb") as f: f.write(b"x" * (1 << 20))
    time.sleep(0.005)`,
	},
	{
		name: "files without end", ends: faas.ResourceExhausted, limit: "scratch files",
		nodejs: `for (let i = 0; ; i++) { fs.symlinkSync("d", "d" + i); if (i % 100 == 0) await new Promise((done) => setTimeout(done, 5)) }`,
		python: `import time
i = 0
while True:
    i += 1
    os.symlink("d", f"d{i}")
    if i % 100 == 0: time.sleep(0.005)`,
	},
	{
		name:   "one large file",
		nodejs: `process.on("SIGXFSZ", () => {}); return tried(() => { const f = fs.openSync("f", "w"); fs.ftruncateSync(f, 1 << 30) })`,
		python: `signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
result = tried(lambda: open("f", "wb").truncate(1 << 30))`,
	},
	{
		name: "time without end", ends: faas.Timeout,
		nodejs: `for (;;);`,
		python: `while True: pass`,
	},
	{
		name:   "modules and prototypes for others",
		nodejs: `Object.prototype.toJSON = () => "polluted"; JSON.parse = JSON.stringify = () => "polluted"; Array.prototype.map = () => ["polluted"]; globalThis.polluted = true; fs.readFileSync = () => "polluted"; process.env.POLLUTED = "1"; delete Object.prototype.toJSON; return false`,
		python: `import json, builtins
json.dumps = json.loads = lambda *a, **k: "polluted"
builtins.len = lambda *a: 0
os.environ["POLLUTED"] = "1"
os.polluted = True
result = False`,
	},
}

const (
	nodejsVictim = `
const fs = require("fs");
globalThis.count = (globalThis.count ?? 0) + 1;
fs.writeFileSync("secret", "s3cret");
return { pid: process.pid, scratch: process.cwd(), count, polluted: globalThis.polluted ?? process.env.POLLUTED ?? null, sum: [1, 2].map((n) => n * 2)[1] + JSON.parse("1"), names: fs.readdirSync(".") }`
	pythonVictim = `
import os, json
count = os.count = getattr(os, "count", 0) + 1
open("secret", "w").write("s3cret")
result = dict(pid=os.getpid(), scratch=os.getcwd(), count=count, polluted=getattr(os, "polluted", os.environ.get("POLLUTED")), sum=len([1, 2]) * 2 + json.loads("1"), names=os.listdir("."))`
)

// victim is what the other function says of itself.
type victim struct {
	PID      int      `json:"pid"`
	Scratch  string   `json:"scratch"`
	Count    int      `json:"count"`
	Polluted any      `json:"polluted"`
	Sum      int      `json:"sum"`
	Names    []string `json:"names"`
}

func TestEscapes(t *testing.T) {
	for _, layer := range (sandbox.Config{}).Layers() {
		if layer.Kernel && layer.Missing != "" {
			t.Skip(layer.Missing)
		}
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("of the host"), 0o600); err != nil {
		t.Fatal(err)
	}
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
	around := map[string]any{
		"host": os.Getpid(), "port": server.Addr().(*net.TCPAddr).Port, "socket": path, "secret": secret,
	}
	for _, own := range []bool{false, true} {
		languages := []pool.Runtime{pool.JavaScript(t), pythonFor(t, own)}
		if testrig.FindRuby() != "" || os.Getenv("CI") != "" {
			languages = append(languages, rubyFor(t, own))
		}
		for _, language := range languages {
			t.Run(fmt.Sprintf("%s, users of their own %v", language.Language, own), func(t *testing.T) {
				t.Parallel() // most of the time is the watch's
				attack{escapes: escapes, own: own}.try(t, language, maps.Clone(around))
			})
		}
	}
}

// pythonFor is the Python of the tests, or the system's, which all users can run.
func pythonFor(t *testing.T, others bool) pool.Runtime {
	t.Helper()
	const shared = "/usr/bin/python3"
	if _, err := os.Stat(shared); err == nil && (others || os.Getuid() != 0) {
		t.Setenv("PYTHON", shared)
	}
	return pool.Python(t)
}

// attack is what strangers' functions try beside a victim.
type attack struct {
	escapes []escape
	own     bool          // workers have users of their own
	proxy   *egress.Proxy // that all functions have; nil: none has a network
}

func (a attack) try(t *testing.T, language pool.Runtime, around map[string]any) {
	walls := sandbox.Config{Files: language.Files(), Scratch: testrig.OpenDir(t)}
	if a.own {
		if why := walls.NoUsers(); why != "" {
			t.Skip(why)
		}
		walls.Users = 61184 + (language.Language.Digit()-1)*sandbox.MaxUsers
	}
	p := pool.New(pool.Options{Runtime: language, Sandbox: walls, MemoryMB: 128, Idle: 1, MaxScratch: 16 << 20, MaxWorkers: 64, Egress: a.proxy})
	testrig.Serve(t, p.Serve)
	look := func() victim {
		t.Helper()
		result, err := p.Invoke(t.Context(), a.work(language, nodejsVictim, pythonVictim, "victim", rubyVictim), invocation("{}"))
		if err != nil {
			t.Fatal("the victim: ", err)
		}
		var v victim
		if err := json.Unmarshal(result.JSON, &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := look()
	around["victim"] = map[string]any{"pid": v.PID, "scratch": v.Scratch}
	params, _ := json.Marshal(around)
	for _, e := range a.escapes {
		if language.Language == faas.NodeJS && e.nodejs == "" || language.Language == faas.Ruby && rubyEscapes[e.name] == "" {
			continue // the language has no words for it
		}
		t.Run(e.name, func(t *testing.T) {
			work := a.work(language, nodejsHelpers+e.nodejs, pythonHelpers+e.python, "attacker", rubyHelpers+rubyEscapes[e.name])
			call := invocation(string(params))
			if e.ends == faas.Timeout {
				call.Deadline = time.Now().Add(time.Second)
			}
			result, err := p.Invoke(t.Context(), work, call)
			e.check(t, result, err)
			after := look()
			if after.PID != v.PID || after.Count != v.Count+1 || after.Polluted != nil || after.Sum != 5 || len(after.Names) != 1 {
				t.Errorf("the victim was %+v and is %+v", v, after)
			}
			v = after
		})
	}
}

func (a attack) work(language pool.Runtime, nodejs, python, owner string, ruby ...string) pool.Work {
	w := workOf(language, nodejs, python, owner, ruby...)
	if a.proxy != nil {
		w.Network = faas.Egress
	}
	return w
}

// A worker that has no user of its own has its threads counted.
func TestThreadsAreCounted(t *testing.T) {
	python := pool.Python(t)
	p := pool.New(pool.Options{Runtime: python, Sandbox: sandbox.Config{Scratch: testrig.OpenDir(t)}, Idle: 1})
	testrig.Serve(t, p.Serve)
	const bomb = "import threading, time\nthreading.stack_size(32768)\nfor i in range(2000): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\ntime.sleep(10)"
	_, err := p.Invoke(t.Context(), workOf(python, "", bomb, "attacker"), invocation("{}"))
	escape{ends: faas.ResourceExhausted, limit: "threads"}.check(t, pool.Result{}, err)
	if result, err := p.Invoke(t.Context(), workOf(python, "", "result = 1", "victim"), invocation("{}")); err != nil {
		t.Errorf("another function: %s, %v", result.JSON, err)
	}
}

func (e escape) check(t *testing.T, result pool.Result, err error) {
	t.Helper()
	if e.ends == "" {
		if err != nil || string(result.JSON) != "false" {
			t.Errorf("it came out: %s, %v", result.JSON, err)
		}
		return
	}
	f := faas.AsError(err)
	if err == nil || f.Message != e.refused && (f.Code != e.ends || e.limit != "" && f.Details["limit"] != e.limit) {
		t.Errorf("it ended with %s, %v %v; want %s of %s", result.JSON, err, f.Details, e.ends, e.limit)
	}
}

func workOf(language pool.Runtime, nodejs, python, owner string, ruby ...string) pool.Work {
	source := nodejs
	switch language.Language {
	case faas.Python:
		source = python
	case faas.Ruby:
		source = strings.Join(ruby, "")
	}
	return pool.Work{Script: faas.NewScript(language.Language, source, nil), Owner: owner}
}

func invocation(params string) pool.Invocation {
	return pool.Invocation{RequestID: "r", Deadline: time.Now().Add(20 * time.Second), Params: []byte(params)}
}

// TestEscapesAsAnOrdinaryUser is TestEscapes by a host without privileges.
func TestEscapesAsAnOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user; TestEscapes just ran as an ordinary one")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestEscapes$", "-test.count=1", "-test.v")
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/local/bin:/usr/bin:/bin", "NODE=" + os.Getenv("NODE")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestEscapes/nodejs") && !strings.Contains(string(out), "--- SKIP: TestEscapes (") {
		t.Errorf("%v\n%s", err, out)
	}
}
