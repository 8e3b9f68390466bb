package sandbox

import (
	"maps"
	"math"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// startFlags are those of clone by which a cell starts a process, with or without a
// descriptor for it. The filter is there before the process is, so this one call must
// pass. It carries the cell's secret in its upper half, which the kernel drops: whoever is
// inside does not know it, and a guess ends the guesser.
func startFlags(secret uint32) (plain, withPidfd uint64) {
	plain = uint64(secret)<<32 | unix.CLONE_VM | unix.CLONE_VFORK | uint64(unix.SIGCHLD)
	return plain, plain | unix.CLONE_PIDFD
}

// ofOthers lists calls whose first argument names a process, which may be the caller only.
var ofOthers = []string{"prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"}

// namespaceFlags are the flags of clone that make namespaces.
const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// commands lists what answers EPERM among the commands of these calls: signals to any
// process when a file changes, which are kill by another name; leases, which hold up others
// who open a file; and attributes of files, for which a descriptor to read will do.
var commands = map[string][]uint64{
	"fcntl":   fcntls,
	"fcntl64": fcntls,
	"ioctl": {
		0x8901, 0x8902, // FIOSETOWN, SIOCSPGRP
		0x40086602, 0x40046602, 0x40087602, 0x40047602, // FS_IOC_SETFLAGS, FS_IOC_SETVERSION, and those of 32 bits
		0x401c5820, 0x40806685, // FS_IOC_FSSETXATTR, FS_IOC_ENABLE_VERITY
	},
}

var fcntls = []uint64{unix.F_SETOWN, unix.F_SETOWN_EX, unix.F_SETSIG, unix.F_SETLEASE, unix.F_NOTIFY}

// byArgument denies what arguments tell from what is allowed. No call may be in another
// group of the policy too: the library's filter forgets the call's number where the
// arguments do not match.
func byArgument(on *arch.Info, but exemptions) (all []seccomp.NameWithConditions) {
	deny := func(name string, conditions ...seccomp.Condition) {
		all = append(all, where(on, name, conditions...)...)
	}
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		for _, command := range commands[name] {
			deny(name, is(1, seccomp.Equal, command))
		}
		deny(name, is(1, seccomp.GreaterThan, math.MaxUint32)) // the kernel looks at 32 bits of a command
	}
	for _, name := range ofOthers {
		deny(name, is(0, seccomp.NotEqual, 0))
	}
	deny("clone", is(0, seccomp.BitsSet, namespaceFlags))
	if plain, withPidfd := startFlags(but.secret); !but.children {
		deny("clone", is(0, seccomp.BitsNotSet, unix.CLONE_THREAD),
			is(0, seccomp.NotEqual, plain), is(0, seccomp.NotEqual, withPidfd))
	}
	// setpgid(0, 0) is how Go makes the group, in the new process, after the filter: that
	// one call cannot be denied. So is the signal at the end of its parent.
	deny("setpgid", is(0, seccomp.NotEqual, 0))
	deny("setpgid", is(1, seccomp.NotEqual, 0))
	deny("prctl", is(0, seccomp.Equal, unix.PR_SET_PDEATHSIG), is(1, seccomp.NotEqual, uint64(unix.SIGKILL)))
	deny("prctl", is(0, seccomp.GreaterThan, math.MaxUint32))
	// Streams have no other end than each other; datagrams could be sent to anybody.
	deny("socketpair", is(1, seccomp.BitsSet, 0xe))
	// Shared memory that no file stands for is in no count of a process's once it is
	// unmapped or dropped.
	deny("mmap", is(3, seccomp.BitsSet, unix.MAP_SHARED), is(3, seccomp.BitsSet, unix.MAP_ANONYMOUS))
	return all
}

// onlyTCP denies to processes that may connect all sockets but those whose connections
// Landlock sees: TCP over IPv4. It does not see those of Multipath TCP, which is TCP by
// another number, nor one that is made by sending at once (TCP Fast Open).
func onlyTCP(on *arch.Info) (all []seccomp.NameWithConditions) {
	for _, deny := range []struct {
		name       string
		conditions []seccomp.Condition
	}{
		{"socket", []seccomp.Condition{is(0, seccomp.NotEqual, unix.AF_INET)}},
		{"socket", []seccomp.Condition{is(1, seccomp.BitsSet, 0xf&^unix.SOCK_STREAM)}},
		{"socket", []seccomp.Condition{is(1, seccomp.BitsNotSet, unix.SOCK_STREAM)}},
		{"socket", []seccomp.Condition{is(2, seccomp.NotEqual, 0), is(2, seccomp.NotEqual, unix.IPPROTO_TCP)}},
		{"sendto", []seccomp.Condition{is(3, seccomp.BitsSet, unix.MSG_FASTOPEN)}},
		{"sendmsg", []seccomp.Condition{is(2, seccomp.BitsSet, unix.MSG_FASTOPEN)}},
		{"sendmmsg", []seccomp.Condition{is(3, seccomp.BitsSet, unix.MSG_FASTOPEN)}},
	} {
		all = append(all, where(on, deny.name, deny.conditions...)...)
	}
	return all
}

// where is a call with all of the conditions; nothing, if there is no such call.
func where(on *arch.Info, name string, conditions ...seccomp.Condition) []seccomp.NameWithConditions {
	if len(known(on, []string{name})) == 0 {
		return nil
	}
	return []seccomp.NameWithConditions{{Name: name, Conditions: conditions}}
}

func is(argument uint32, operation seccomp.Operation, value uint64) seccomp.Condition {
	return seccomp.Condition{Argument: argument, Operation: operation, Value: value}
}
