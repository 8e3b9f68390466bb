package pool_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"envoke/internal/testrig"
	"envoke/runtimes/pool"
)

// rubyFor is the Ruby of the tests, or a copy of it that all users can run: the cache that
// make ruby fetches it into is closed to others.
func rubyFor(t *testing.T, others bool) pool.Runtime {
	t.Helper()
	path := testrig.FindRuby()
	if others && strings.Contains(path, ".envoke/cache") {
		dir := filepath.Join(testrig.OpenDir(t), "ruby")
		if err := os.CopyFS(dir, os.DirFS(filepath.Dir(path))); err != nil {
			t.Fatal(err)
		}
		t.Setenv("RUBY", filepath.Join(dir, filepath.Base(path)))
	}
	return pool.Ruby(t)
}

// What Ruby tries of the escapes, by their names. It has no words for those left out.
var rubyEscapes = map[string]string{
	"files of the system and the host":           `any(-> { File.read("/etc/shadow") }, -> { File.read("/etc/passwd") }, -> { File.read(secret) }, -> { Dir.children("/root") }, -> { Dir.children("/") }, -> { File.write("/tmp/envoke-escaped", "") })`,
	"another function's scratch folder":          `any(-> { File.read(victim["scratch"] + "/secret") }, -> { Dir.children(victim["scratch"]) }, -> { File.write(victim["scratch"] + "/x", "") }, -> { Dir.children("..") }, -> { File.link(victim["scratch"] + "/secret", "mine") }, -> { File.rename(victim["scratch"] + "/secret", "mine") })`,
	"rights of the host's files":                 `any(-> { File.chmod(0777, secret) }, -> { File.chown(1, 1, secret) }, -> { File.utime(1, 1, secret) }, -> { File.unlink(secret) }, -> { File.truncate(secret, 0) })`,
	"/proc of others":                            `any(*[victim["pid"], host, 1].product(%w[environ cmdline maps mem status fd/3 root/etc/passwd cwd/secret]).map { |pid, f| -> { File.binread("/proc/#{pid}/#{f}", 10) } }, -> { File.readlink("/proc/#{victim["pid"]}/fd/3") }, -> { Dir.children("/proc") })`,
	"servers on this machine, metadata, sockets": `require "socket"; any(*[["127.0.0.1", port], ["::1", port], ["169.254.169.254", 80]].map { |at| -> { Socket.tcp(*at, connect_timeout: 1) } }, -> { UNIXSocket.new(socket) }, -> { TCPServer.new("127.0.0.1", 0) }, -> { UDPSocket.new.bind("0.0.0.0", 0) }, -> { Socket.new(:INET, :RAW, 1) }, -> { Socket.new(16, :RAW) })`,
	"signals to others":                          `any(*[victim["pid"], host, -1, -victim["pid"], 1].map { |pid| -> { Process.kill(:KILL, pid) } }, -> { Process.setpriority(Process::PRIO_PROCESS, victim["pid"], 19) }, -> { syscall(62, victim["pid"], 9) }, -> { syscall(200, victim["pid"], 9) })`,
	"ptrace, and memory of others":               `RUBY_PLATFORM.start_with?("x86_64") && any(-> { syscall(101, 16, victim["pid"], 0, 0) }, -> { syscall(101, 16, host, 0, 0) }, -> { syscall(310, victim["pid"], [0, 0].pack("QQ"), 1, [0, 0].pack("QQ"), 1, 0) })`,
	"the kernel's back doors":                    `RUBY_PLATFORM.start_with?("x86_64") && any(*[165, 272, 250, 321, 425, 323, 298, 304, 319, 29, 308, 161, 248, 175].map { |n| -> { syscall(n, 0, 0, 0, 0, 0, 0) } }, -> { raise if Process.uid == 0; Process::Sys.setuid(0) }, -> { Process.groups = [0] })`,
	"programs":                                   "any(-> { `id` }, -> { system('/bin/sh', '-c', 'id') || raise }, -> { IO.popen('id').read }, -> { spawn('/bin/sh') }, -> { fork { } }, -> { exec('/bin/sh', '-c', 'exit 0') }, -> { open('|id') })",
	"processes by raw calls":                     `RUBY_PLATFORM.start_with?("x86_64") && any(-> { syscall(56, 17, 0, 0, 0, 0) }, -> { syscall(57) }, -> { syscall(58) }, -> { syscall(59, "/bin/sh", 0, 0) })`,
	"datagrams, leases, notices":                 `require "socket"; any(-> { UNIXSocket.pair(:DGRAM) }, -> { UNIXSocket.pair(:SEQPACKET) }, -> { File.open("/proc/cpuinfo").fcntl(1024, 0) }, -> { File.open(".").fcntl(1026, 1) })`,
	"descriptors of others":                      `(4...300).find { |fd| IO.for_fd(fd, autoclose: false).stat.socket? rescue false } || false`,
	"descriptors without end":                    `all = []; begin; loop { all << File.open("/dev/null") }; rescue Errno::EMFILE; all.each(&:close); false; end`,
	"memory without end":                         `all = []; loop { all << "x" * (1 << 20) }`,
	"removed files without end":                  `all = []; loop { all << File.open("f", "w"); File.unlink("f"); all.last.syswrite("x" * (1 << 20)); sleep 0.01 }`,
	"folders in folders without end":             `500.times { Dir.mkdir("d"); Dir.chdir("d") }; sleep 5`,
	"disk without end":                           `(0..).each { |i| File.binwrite("f#{i}", "x" * (1 << 20)); sleep 0.005 }`,
	"files without end":                          `(0..).each { |i| File.symlink("d", "d#{i}"); sleep 0.005 if i % 100 == 0 }`,
	"one large file":                             `trap("XFSZ", "IGNORE"); tried(-> { File.open("f", "w").truncate(1 << 30) })`,
	"time without end":                           `loop { }`,
	"modules and prototypes for others":          `class String; def to_s = "polluted"; end; class Array; def map = ["polluted"]; end; $polluted = true; ENV["POLLUTED"] = "1"; false`,
}

const (
	rubyHelpers = `
victim, host, port, socket, secret = params.values_at("victim", "host", "port", "socket", "secret")
def tried(f) = (got = f.call; got.nil? ? true : got.to_s[0, 200]) rescue false
def any(*fs) = fs.lazy.map { |f| tried(f) }.find { |x| x } || false
`
	rubyVictim = `
$count = $count.to_i + 1
File.write("secret", "s3cret")
{ pid: Process.pid, scratch: Dir.pwd, count: $count, polluted: $polluted || ENV["POLLUTED"], sum: [1, 2].map { |n| n * 2 }[1] + 1, names: Dir.children(".") }`
)
