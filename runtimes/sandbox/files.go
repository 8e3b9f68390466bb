package sandbox

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	"github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Files are what a process may see of the file system, beside its scratch folder and what
// every program needs of the system: shared libraries, time zones, a few devices. Paths
// that are not there are left out.
type Files struct {
	Programs []string // that it may run, absolute
	Read     []string // files and whole folders
}

// What every program may see: nothing in there is anybody's.
var (
	systemLibraries = []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo"}
	systemFiles     = []string{
		"/etc/ld.so.cache", "/etc/localtime", "/etc/ssl/openssl.cnf",
		"/dev/zero", "/dev/random", "/dev/urandom",
		// What the machine is, for runtimes that ask. Nothing of /proc is about processes.
		"/proc/cpuinfo", "/proc/loadavg", "/proc/meminfo", "/proc/stat", "/proc/uptime", "/proc/version",
		"/proc/sys/vm/overcommit_memory", "/sys/devices/system/cpu",
	}
	writableDevices = []string{"/dev/null"}
	// certificates are those that the system trusts, where distributions keep them.
	certificates = []string{
		"/etc/ssl/cert.pem", "/etc/ssl/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted",
		"/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/var/lib/ca-certificates",
	}
)

const (
	readFile   = landlock.AccessFSSet(syscall.AccessFSReadFile)
	readFolder = readFile | syscall.AccessFSReadDir
	runFile    = readFile | syscall.AccessFSExecute
	writeFile  = readFile | syscall.AccessFSWriteFile | syscall.AccessFSTruncate
	// own is all that may be done in a scratch folder. Nothing in there can be run as a
	// program, and there are neither devices nor sockets.
	own = readFolder | writeFile | syscall.AccessFSRefer | syscall.AccessFSRemoveDir | syscall.AccessFSRemoveFile |
		syscall.AccessFSMakeDir | syscall.AccessFSMakeReg | syscall.AccessFSMakeSym | syscall.AccessFSMakeFifo
)

// walls is what Landlock keeps as far as the kernel can: files, TCP, and (since Linux
// 6.12) signals and abstract sockets.
var walls = landlock.V6.BestEffort()

// restrict puts the calling thread behind Landlock, or does nothing where the kernel has
// none: Layers tells.
func restrict(rules []landlock.Rule) error {
	ruleset, flags, err := walls.NewRulesetFD(rules...)
	if err != nil {
		return fmt.Errorf("make Landlock's rules: %w", err)
	}
	if ruleset < 0 {
		return nil
	}
	defer func() { _ = unix.Close(ruleset) }()
	if err := syscall.LandlockRestrictSelf(ruleset, flags); err != nil {
		return fmt.Errorf("enter Landlock's domain: %w", err)
	}
	return nil
}

func (f Files) rules(scratch string) ([]landlock.Rule, error) {
	var rules []landlock.Rule
	add := func(access landlock.AccessFSSet, path string) error {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !info.IsDir() {
			access &^= syscall.AccessFSReadDir // which files have not
		}
		rules = append(rules, landlock.PathAccess(access, path).IgnoreIfMissing())
		return nil
	}
	var faults []error
	for _, all := range []struct {
		access landlock.AccessFSSet
		paths  []string
	}{
		{readFolder, systemLibraries},
		{readFolder, systemFiles},
		{writeFile, writableDevices},
		{readFolder, f.Read},
		{runFile, f.programs()},
	} {
		for _, path := range all.paths {
			faults = append(faults, add(all.access, path))
		}
	}
	if scratch != "" {
		faults = append(faults, add(own, scratch))
	}
	return rules, errors.Join(faults...)
}

// programs are the programs with the loaders that the kernel runs for them.
func (f Files) programs() []string {
	paths := append([]string{}, f.Programs...)
	for _, path := range f.Programs {
		if loader := loaderOf(path); loader != "" {
			paths = append(paths, loader)
		}
	}
	return paths
}

// loaderOf is empty for what is linked statically, or no program.
func loaderOf(path string) string {
	program, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = program.Close() }()
	section := program.Section(".interp")
	if section == nil {
		return ""
	}
	name, err := section.Data()
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(name), "\x00")
}

// closedTo is the first of the paths, or of the folders above them, that other users than
// its owner may not read; empty: none.
func (f Files) closedTo() string {
	for _, path := range append(f.programs(), f.Read...) {
		for at, need := path, fs.FileMode(0o004); ; at, need = filepath.Dir(at), 0o001 {
			info, err := os.Stat(at)
			if err == nil && info.IsDir() {
				need |= 0o001
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().Perm()&need != need {
				return at
			}
			if at == filepath.Dir(at) {
				break
			}
		}
	}
	return ""
}
