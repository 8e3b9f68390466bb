package sandbox

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// getpid32 is a program that makes one call through the table of 32-bit x86 and exits
// with the negated answer: 38, ENOSYS, where that table is denied.
func getpid32(t *testing.T) string {
	code := []byte{
		0xb8, 20, 0, 0, 0, // mov eax, 20 (getpid of the 32-bit table)
		0xcd, 0x80, // int 0x80
		0x89, 0xc7, // mov edi, eax
		0xf7, 0xdf, // neg edi
		0xb8, 60, 0, 0, 0, // mov eax, 60 (exit)
		0x0f, 0x05, // syscall
	}
	const base, headers = 0x400000, 64 + 56
	le := binary.LittleEndian
	elf := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	elf = le.AppendUint16(elf, 2)    // executable
	elf = le.AppendUint16(elf, 0x3e) // x86-64
	elf = le.AppendUint32(elf, 1)
	elf = le.AppendUint64(elf, base+headers) // entry
	elf = le.AppendUint64(elf, 64)           // program headers
	elf = le.AppendUint64(elf, 0)
	elf = le.AppendUint32(elf, 0)
	for _, field := range []uint16{64, 56, 1, 0, 0, 0} {
		elf = le.AppendUint16(elf, field)
	}
	elf = le.AppendUint32(elf, 1) // one segment: load
	elf = le.AppendUint32(elf, 5) // to read and run
	for _, field := range []uint64{0, base, base, headers + uint64(len(code)), headers + uint64(len(code)), 0x1000} {
		elf = le.AppendUint64(elf, field)
	}
	path := filepath.Join(t.TempDir(), "getpid32")
	if err := os.WriteFile(path, append(elf, code...), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOtherArchitecturesAreDenied(t *testing.T) {
	program := getpid32(t)
	var outside *exec.ExitError
	if err := exec.Command(program).Run(); !errors.As(err, &outside) || !outside.Exited() {
		t.Skipf("this kernel has no 32-bit calls: %v", err)
	}
	process, err := spawner(t, Config{Files: Files{Programs: []string{program}}}).Start(Program{Argv: []string{program}})
	if err != nil {
		t.Fatal(err)
	}
	state, err := process.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if got := state.ExitCode(); got != int(unix.ENOSYS) {
		t.Errorf("the 32-bit call answered %d, want ENOSYS (outside: %d)", got, outside.ExitCode())
	}
}
