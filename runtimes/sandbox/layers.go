package sandbox

import (
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Layer is one of the sandbox's walls.
type Layer struct {
	Name    string
	Missing string // why there is none here; empty: it stands
	Kernel  bool   // the kernel is what lacks it, not how this process runs
}

// leastLandlock is the version of Landlock that is asked for: it bounds truncation, too.
const leastLandlock = 3

// Layers tells which walls a Spawner of this configuration builds here.
func (c Config) Layers() []Layer {
	files, users := Layer{Name: "files", Kernel: true}, Layer{Name: "users"}
	switch version, err := syscall.LandlockGetABIVersion(); {
	case err != nil || version < 1:
		files.Missing = "the kernel has no Landlock, or it is not enabled (lsm= of its command line): functions see the files that this user sees"
	case version < leastLandlock:
		files.Missing = fmt.Sprintf("the kernel's Landlock is version %d, and %d is needed to bound all ways of writing (Linux 6.2)", version, leastLandlock)
	}
	if c.Users == 0 {
		users.Missing = c.NoUsers()
	}
	return []Layer{{Name: "system calls", Kernel: true}, files, users, {Name: "control groups", Missing: c.Groups.Missing()}}
}

// leastConnect is the version of Landlock that bounds what a process connects to.
const leastConnect = 4

// NoConnect says why processes cannot be kept to one port here, so that none may connect
// to anything; empty: they can.
func NoConnect() string {
	switch version, err := syscall.LandlockGetABIVersion(); {
	case err != nil || version < 1:
		return "the kernel has no Landlock, or it is not enabled (lsm= of its command line)"
	case version < leastConnect:
		return fmt.Sprintf("the kernel's Landlock is version %d, and %d is needed to bound what a function connects to (Linux 6.7)", version, leastConnect)
	}
	return ""
}

// privileges are what it takes to start processes as other users, to kill them, and to
// count and remove their files.
var privileges = []struct {
	number uint
	name   string
}{
	{unix.CAP_CHOWN, "CAP_CHOWN"},
	{unix.CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
	{unix.CAP_FOWNER, "CAP_FOWNER"},

	{unix.CAP_KILL, "CAP_KILL"},
	{unix.CAP_SETGID, "CAP_SETGID"},
	{unix.CAP_SETUID, "CAP_SETUID"},
}

// NoUsers says why processes cannot have users of their own here; empty: they can.
func (c Config) NoUsers() string {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var held [2]unix.CapUserData
	if err := unix.Capget(&header, &held[0]); err != nil {
		return "this process's privileges are unknown: " + err.Error()
	}
	for _, p := range privileges {
		if held[0].Effective&(1<<p.number) == 0 {
			return "giving each worker a user of its own takes " + p.name
		}
	}
	if closed := c.Files.closedTo(); closed != "" {
		return closed + " is closed to other users, and workers need it"
	}
	return ""
}
