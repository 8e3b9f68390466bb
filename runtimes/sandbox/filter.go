package sandbox

import (
	"fmt"
	"slices"
	"unsafe"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// denied lists the system calls that answer EPERM. A name that an architecture does
// not have is left out there.
var denied = []string{
	// The network. socketpair stays, for streams: by them it reaches nobody else.
	"socket", "socketcall", "connect", "bind", "listen", "accept", "accept4",
	// Other processes. Workers may run as one user with the host, so signals and
	// priorities are denied; abort and raise (tgkill) work. A process that leaves
	// its group survives the group's end: see also setpgid in policy.
	"kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal",
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp",
	"pidfd_getfd", "setpriority", "ioprio_set", "migrate_pages", "move_pages",
	"setsid",
	// The file system's shape, and files by handle (which walk around permissions).
	"mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen",
	"fsconfig", "fsmount", "fspick", "mount_setattr", "open_tree_attr", "name_to_handle_at",
	"open_by_handle_at", "fanotify_init", "quotactl", "quotactl_fd",
	// Namespaces.
	"unshare", "setns",
	// What processes share by name and outlives them, or is no process's memory by any
	// limit's count.
	"shmget", "shmat", "shmctl", "semget", "semop", "semtimedop", "semctl", "msgget",
	"msgsnd", "msgrcv", "msgctl", "ipc", "mq_open", "mq_unlink", "memfd_create", "memfd_secret",
	// What there is a bounded number of for all users, or for one.
	"inotify_init", "inotify_init1", "inotify_add_watch", "io_setup",
	// The kernel: large and often broken, or administration.
	"bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter",
	"io_uring_register", "keyctl", "add_key", "request_key", "kexec_load",
	"kexec_file_load", "init_module", "finit_module", "delete_module", "reboot",
	"swapon", "swapoff", "acct", "syslog", "settimeofday", "clock_settime",
	"clock_adjtime", "adjtimex", "sethostname", "setdomainname", "iopl", "ioperm",
	"modify_ldt", "personality", "vhangup", "lookup_dcookie", "nfsservctl",
}

// deniedToUs lists what answers EPERM too where processes run as this process's own user.
// Landlock does not mind these, and they need no rights on a file but that it is one's own:
// with chmod alone, a function could close the host's database to the host.
var deniedToUs = []string{
	"chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat",
	"utime", "utimes", "futimesat", "utimensat",
	"setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr", "removexattrat",
}

// starting lists what answers EPERM too where a process may start no others. So does clone,
// by its arguments.
var starting = []string{"fork", "vfork"}

// connecting lists those of denied that processes make which may connect. byArgument
// denies what is not TCP.
var connecting = []string{"socket", "connect"}

// actionNoSys makes a call look as if this kernel did not have it.
const actionNoSys = seccomp.Action(unix.SECCOMP_RET_ERRNO | unix.ENOSYS)

// exemptions are what the filters let pass of what they would deny.
type exemptions struct {
	secret   uint32 // of the system call that starts the process: see startFlags
	rights   bool   // changing files' rights does no harm: its user is nobody else's, or it is a program of ours
	children bool   // it may start processes
	connects bool   // it may connect by TCP
}

// denySystemCalls loads the filters into the calling thread.
func denySystemCalls(but exemptions) error {
	native, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	err = seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Policy: policy(native, but)})
	if err != nil {
		return fmt.Errorf("load the filter of system calls: %w", err)
	}
	return denyUnknown(native, but.secret)
}

// dropCapabilities makes the next exec end without any capability, even as root, and
// for good. Without CAP_SETPCAP there is nothing to drop that no_new_privs would let
// in again, but what is ambient.
func dropCapabilities() error {
	const noRoot = 1<<0 | 1<<1 // SECBIT_NOROOT and SECBIT_NOROOT_LOCKED, capabilities(7)
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, noRoot, 0, 0, 0); err != nil && err != unix.EPERM {
		return err
	}
	return nil
}

// policy allows what is not denied: interpreters and their libraries change what they
// need with every release, and a forgotten call would only show in somebody's function.
func policy(on *arch.Info, but exemptions) seccomp.Policy {
	names, conditions := slices.Clone(denied), byArgument(on, but)
	if !but.rights {
		names = append(names, deniedToUs...)
	}
	if !but.children {
		names = append(names, starting...)
	}
	if but.connects {
		names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(connecting, name) })
		conditions = append(conditions, onlyTCP(on)...)
	}
	return seccomp.Policy{
		DefaultAction: seccomp.ActionAllow,
		Syscalls: []seccomp.SyscallGroup{
			{Action: seccomp.ActionErrno, Names: known(on, names), NamesWithCondtions: conditions},
			// What these do is behind a pointer, out of a filter's sight. C libraries take
			// ENOSYS as the sign to use clone and openat.
			{Action: actionNoSys, Names: known(on, []string{"clone3", "openat2"})},
		},
	}
}

func known(on *arch.Info, names []string) []string {
	var out []string
	for _, name := range names {
		if _, ok := on.SyscallNames[name]; ok {
			out = append(out, name)
		}
	}
	return out
}

// denyUnknown answers ENOSYS to calls that the filter made from the policy lets pass
// without knowing them: those of another architecture's table (32-bit x86 on x86-64, or
// x32), where the numbers mean other calls, and those that are newer than the library. Of
// two filters the kernel takes the stricter answer.
//
// It also ends who calls clone with something in the upper half of the flags that is not
// the secret (see startFlags).
func denyUnknown(native *arch.Info, secret uint32) error {
	const offsetOfNumber, offsetOfArch, offsetOfFlags = 0, 4, 16 + 4 // in struct seccomp_data, seccomp(2); little-endian
	newest := uint32(0)
	for _, number := range native.SyscallNames {
		newest = max(newest, uint32(number))
	}
	const equal, load, answer = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_RET | unix.BPF_K
	program := []unix.SockFilter{
		{Code: load, K: offsetOfArch},
		{Code: equal, K: uint32(native.ID), Jf: 7},
		{Code: load, K: offsetOfNumber},
		{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: newest, Jt: 5},
		{Code: equal, K: uint32(native.SyscallNames["clone"]), Jf: 5},
		{Code: load, K: offsetOfFlags},
		{Code: equal, K: 0, Jt: 3},
		{Code: equal, K: secret, Jt: 2},
		{Code: answer, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: answer, K: uint32(actionNoSys)},
		{Code: answer, K: unix.SECCOMP_RET_ALLOW},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&filter)), 0, 0); err != nil { //nolint:gosec // prctl(2) takes its address
		return fmt.Errorf("deny unknown system calls: %w", err)
	}
	return nil
}
