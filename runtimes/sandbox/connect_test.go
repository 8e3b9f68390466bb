package sandbox

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// What a process may do that connects, and one beside it that does not. Python has words
// for all system calls.
const connectReport = `
import ctypes, os, socket as s, sys
allowed, other, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
libc = ctypes.CDLL(None, use_errno=True)
class address(ctypes.Structure):
    _fields_ = [("family", ctypes.c_ushort), ("port", ctypes.c_ushort), ("ip", ctypes.c_ubyte * 4), ("pad", ctypes.c_ubyte * 8)]
def to(port): return address(2, s.htons(port), (ctypes.c_ubyte * 4)(127, 0, 0, 1))
def check(code):
    if code < 0: raise OSError(ctypes.get_errno(), "")
def fast(call):
    fd = s.socket()
    at = to(other)
    if call == "sendto": check(libc.sendto(fd.fileno(), b"x", 1, 0x20000000, ctypes.byref(at), 16))
    else: fd.sendmsg([b"x"], [], 0x20000000, ("127.0.0.1", other))
def lazy():
    fd = s.socket()
    fd.setsockopt(s.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
    fd.connect(("127.0.0.1", other))
    fd.send(b"x")
for name, f in {
    "the port": lambda: s.create_connection(("127.0.0.1", allowed), 5),
    "another port": lambda: s.create_connection(("127.0.0.1", other), 5),
    "IPv6": lambda: s.socket(s.AF_INET6),
    "UDP": lambda: s.socket(s.AF_INET, s.SOCK_DGRAM),
    "raw": lambda: s.socket(s.AF_INET, s.SOCK_RAW, 1),
    "ICMP": lambda: s.socket(s.AF_INET, s.SOCK_DGRAM, 1),
    "multipath": lambda: s.socket(s.AF_INET, s.SOCK_STREAM, 262),
    "SCTP": lambda: s.socket(s.AF_INET, s.SOCK_STREAM, 132),
    "a Unix socket": lambda: s.socket(s.AF_UNIX).connect(path),
    "netlink": lambda: s.socket(s.AF_NETLINK, s.SOCK_RAW),
    "packets": lambda: s.socket(s.AF_PACKET, s.SOCK_RAW),
    "a virtual machine's": lambda: s.socket(s.AF_VSOCK, s.SOCK_STREAM),
    "a family by its upper bits": lambda: check(libc.syscall(41, ctypes.c_long(1 << 32 | 1), 1, 0)),
    "bind": lambda: s.socket().bind(("127.0.0.1", 0)),
    "listen": lambda: s.socket().listen(),
    "fast open": lambda: fast("sendto"),
    "fast open of a message": lambda: fast("sendmsg"),
    "fast open by connect": lazy,
    "certificates": lambda: os.listdir("/etc/ssl/certs"),
}.items():
    try: f(); print(name)
    except OSError: pass
`

func TestConnects(t *testing.T) {
	needFiles(t)
	if why := NoConnect(); why != "" {
		t.Skip(why)
	}
	python, err := exec.LookPath("/usr/bin/python3")
	if err != nil {
		t.Skip("the system has no Python")
	}
	if python, err = filepath.EvalSymlinks(python); err != nil {
		t.Fatal(err)
	}
	allowed, other, path := accepting(t, "tcp", "127.0.0.1:0"), accepting(t, "tcp", "127.0.0.1:0"), filepath.Join(t.TempDir(), "s")
	accepting(t, "unix", path)
	s := spawnerOf(t, Config{Connect: uint16(allowed), Files: Files{Read: []string{"/usr/lib"}}}, python)
	program := Program{Argv: []string{python, "-I", "-S", "-c", connectReport, strconv.Itoa(allowed), strconv.Itoa(other), path}}
	if got := output(t, s, program); got != "" {
		t.Errorf("a process that may not connect can do: %s", got)
	}
	program.Connects = true
	want := []string{"the port"}
	if _, err := os.Stat("/etc/ssl/certs"); err == nil {
		want = append(want, "certificates")
	}
	for range 2 { // the second is of the same cell
		if got := strings.Split(strings.TrimSpace(output(t, s, program)), "\n"); strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("a process that may connect can do %q, want %q", got, want)
		}
	}
	if got := output(t, s, Program{Argv: append([]string{}, program.Argv...)}); got != "" {
		t.Errorf("afterwards, one that may not can do: %s", got)
	}
}

// accepting takes connections until the test ends, and returns its port.
func accepting(t *testing.T, network, address string) int {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	if at, ok := listener.Addr().(*net.TCPAddr); ok {
		return at.Port
	}
	return 0
}

func TestNobodyConnectsWithoutAPort(t *testing.T) {
	if _, err := spawner(t, Config{}).Start(Program{Argv: []string{"/bin/true"}, Connects: true}); !errors.Is(err, errNoPort) {
		t.Errorf("got %v", err)
	}
}
