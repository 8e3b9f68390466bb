package sandbox

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// denied lists the system calls that answer EPERM. A name that an architecture does
// not have is left out there.
var denied = []string{
	// The network. socketpair stays: it reaches nobody else.
	"socket", "socketcall",
	// Other processes. Workers may run as one user with the host, so signals and
	// priorities are denied; abort and raise (tgkill) work. A process that leaves
	// its group survives the group's end: see also setpgid in policy.
	"kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal",
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp",
	"pidfd_getfd", "setpriority", "ioprio_set", "migrate_pages", "move_pages",
	"setsid", "fork", "vfork",
	// The file system's shape, and files by handle (which walk around permissions).
	"mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen",
	"fsconfig", "fsmount", "fspick", "mount_setattr", "name_to_handle_at",
	"open_by_handle_at", "fanotify_init", "quotactl", "quotactl_fd",
	// Namespaces.
	"unshare", "setns",
	// What processes share by name and outlives them, or is no process's memory by any
	// limit's count.
	"shmget", "shmat", "shmctl", "semget", "semop", "semtimedop", "semctl", "msgget",
	"msgsnd", "msgrcv", "msgctl", "ipc", "mq_open", "mq_unlink", "memfd_create",
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
	"utime", "utimes", "futimesat", "utimensat", "inotify_add_watch",
	"setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr", "removexattrat",
}

// ofOthers lists calls whose first argument names a process, which may be the caller only.
var ofOthers = []string{"prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"}

// namespaceFlags are the flags of clone that make namespaces.
const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// The flags of clone by which Go starts a process, with or without a descriptor for it.
// They must pass, since the filter is there before the process is.
const (
	startFlags      = unix.CLONE_VM | unix.CLONE_VFORK | uint64(unix.SIGCHLD)
	startFlagsPidfd = startFlags | unix.CLONE_PIDFD
)

// actionNoSys makes a call look as if this kernel did not have it.
const actionNoSys = seccomp.Action(unix.SECCOMP_RET_ERRNO | unix.ENOSYS)

// denySystemCalls loads the filters into the calling thread.
func denySystemCalls(ownUser bool) error {
	native, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	err = seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Policy: policy(native, ownUser)})
	if err != nil {
		return fmt.Errorf("load the filter of system calls: %w", err)
	}
	return denyUnknown(native)
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
func policy(on *arch.Info, ownUser bool) seccomp.Policy {
	names := denied
	if !ownUser {
		names = slices.Concat(denied, deniedToUs)
	}
	return seccomp.Policy{
		DefaultAction: seccomp.ActionAllow,
		Syscalls: []seccomp.SyscallGroup{
			{
				Action: seccomp.ActionErrno,
				Names:  known(on, names),
				NamesWithCondtions: append(byArgument(on), []seccomp.NameWithConditions{
					{Name: "clone", Conditions: seccomp.ArgumentConditions{
						{Argument: 0, Operation: seccomp.BitsSet, Value: namespaceFlags},
					}},
					// Threads only. Who makes the very call that Go does gets a process all the
					// same, one at a time since its maker waits for it: those are counted from
					// outside.
					{Name: "clone", Conditions: seccomp.ArgumentConditions{
						{Argument: 0, Operation: seccomp.BitsNotSet, Value: unix.CLONE_THREAD},
						{Argument: 0, Operation: seccomp.NotEqual, Value: startFlags},
						{Argument: 0, Operation: seccomp.NotEqual, Value: startFlagsPidfd},
					}},
					// setpgid(0, 0) is how Go makes the group, in the new process, after
					// the filter: that one call cannot be denied.
					{Name: "setpgid", Conditions: seccomp.ArgumentConditions{
						{Argument: 0, Operation: seccomp.NotEqual, Value: 0},
					}},
					{Name: "setpgid", Conditions: seccomp.ArgumentConditions{
						{Argument: 1, Operation: seccomp.NotEqual, Value: 0},
					}},
				}...),
			},
			// The flags of clone3 are behind a pointer, out of a filter's sight. C
			// libraries take ENOSYS as the sign to use clone.
			{Action: actionNoSys, Names: known(on, []string{"clone3"})},
		},
	}
}

// signalling lists the commands of fcntl and ioctl by which a file's changes send a signal,
// any signal, to any process: kill by another name.
var signalling = map[string][]uint64{
	"fcntl":   {unix.F_SETOWN, unix.F_SETOWN_EX, unix.F_SETSIG},
	"fcntl64": {unix.F_SETOWN, unix.F_SETOWN_EX, unix.F_SETSIG},
	"ioctl":   {0x8901, 0x8902}, // FIOSETOWN, SIOCSPGRP: ioctl_list(2)
}

// byArgument denies what the first argument, or the command, tells from what is allowed.
func byArgument(on *arch.Info) (conditions []seccomp.NameWithConditions) {
	deny := func(name string, argument uint32, operation seccomp.Operation, value uint64) {
		conditions = append(conditions, seccomp.NameWithConditions{Name: name, Conditions: seccomp.ArgumentConditions{
			{Argument: argument, Operation: operation, Value: value},
		}})
	}
	for name, commands := range signalling {
		if len(known(on, []string{name})) == 0 {
			continue
		}
		for _, command := range commands {
			deny(name, 1, seccomp.Equal, command)
		}
		deny(name, 1, seccomp.GreaterThan, math.MaxUint32) // the kernel looks at 32 bits of a command
	}
	for _, name := range ofOthers {
		deny(name, 0, seccomp.NotEqual, 0)
	}
	return conditions
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
func denyUnknown(native *arch.Info) error {
	const offsetOfNumber, offsetOfArch = 0, 4 // in struct seccomp_data, seccomp(2)
	newest := uint32(0)
	for _, number := range native.SyscallNames {
		newest = max(newest, uint32(number))
	}
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offsetOfArch},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(native.ID), Jf: 2},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offsetOfNumber},
		{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: newest, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: uint32(actionNoSys)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	load := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&load)), 0, 0); err != nil { //nolint:gosec // prctl(2) takes its address
		return fmt.Errorf("deny unknown system calls: %w", err)
	}
	return nil
}
