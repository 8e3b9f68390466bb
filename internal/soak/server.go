package soak

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Server is a database beside Envoke. Of a page that its processes share each counts an equal
// part: PostgreSQL has a process for each connection, and all of them its buffers.
type Server struct {
	Role    string
	Process int // the process id, of which its others are descendants
	// Most and MostShared are the bytes up to which it may grow, of its own and of what its
	// processes share: both keep data for as long as there is room for it, so that growth is
	// no leak below. 0: as flat as all.
	Most, MostShared int64
}

func (s Server) shared() string { return s.Role + " shared" }

// bounds are those of all roles that have one.
func bounds(servers []Server) map[string]int64 {
	bounds := make(map[string]int64)
	for _, s := range servers {
		if s.Most > 0 {
			bounds[s.Role] = s.Most
		}
		if s.MostShared > 0 {
			bounds[s.shared()] = s.MostShared
		}
	}
	return bounds
}

// add adds what the server holds, and apart from it what its processes share, if they do.
func (s Server) add(sums map[string]int64, proc string) error {
	pids, err := tree(proc, s.Process)
	if err != nil {
		return err
	}
	var all, shared int64
	for _, pid := range pids {
		rollup, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "smaps_rollup"))
		if err != nil {
			continue // it has ended
		}
		all += kibibytes(rollup, "Pss:")
		shared += kibibytes(rollup, "Pss_Shmem:")
	}
	if all == 0 {
		return fmt.Errorf("read memory of %s: process %d is gone, or it is somebody else's", s.Role, s.Process)
	}
	sums[s.Role] = all - shared
	if shared > 0 {
		sums[s.shared()] = shared
	}
	return nil
}

// kibibytes reads a line "<name> <n> kB" of smaps_rollup (proc_pid_smaps(5)), as bytes.
func kibibytes(rollup []byte, name string) int64 {
	for line := range bytes.Lines(rollup) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			if fields := bytes.Fields(rest); len(fields) > 0 {
				n, _ := strconv.ParseInt(string(fields[0]), 10, 64)
				return n << 10
			}
		}
	}
	return 0
}
