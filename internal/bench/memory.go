package bench

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Memory is what the processes of one role hold in one thing that was started.
type Memory struct {
	Of        string `json:"of"`
	Role      Role   `json:"role"`
	Processes int    `json:"processes"` // at the end
	// RSS counts a page that processes share in each of them, PSS by equal parts: of
	// many processes of one program only the latter sums up to what they take. It is 0
	// where the kernel does not tell.
	RSS Held `json:"rss_bytes"`
	PSS Held `json:"pss_bytes"`
}

// Held is an amount of memory over a run, in bytes. RSS is looked at after each
// measurement, PSS after each load of a round.
type Held struct {
	Rounds int64 `json:"rounds"` // after the rounds, before cold starts leave their workers behind
	Peak   int64 `json:"peak"`
	Last   int64 `json:"last"`
}

func (h *Held) note(bytes int64) { h.Peak, h.Last = max(h.Peak, bytes), bytes }

// held is what a group holds at one moment.
type held struct {
	pids []int
	rss  int64 // bytes
}

// memories are the groups seen so far.
type memories map[group]*Memory

// note takes what groups hold now. Those that have no process any more hold nothing.
func (m memories) note(now map[group]held) {
	for g := range now {
		if m[g] == nil {
			m[g] = &Memory{Of: g.of, Role: g.role}
		}
	}
	for g, memory := range m {
		memory.Processes = len(now[g].pids)
		memory.RSS.note(now[g].rss)
	}
}

// noteShares takes the proportional share of what groups hold now.
func (m memories) noteShares(fs procfs, now map[group]held) {
	for g, memory := range m {
		if pss, ok := fs.readShares(now[g].pids); ok {
			memory.PSS.note(pss)
		}
	}
}

// endRounds keeps what was held last for the end of the rounds.
func (m memories) endRounds() {
	for _, memory := range m {
		memory.RSS.Rounds, memory.PSS.Rounds = memory.RSS.Last, memory.PSS.Last
	}
}

// list is in the order of starting, and of roles.
func (m memories) list(roots []root) []Memory {
	var list []Memory
	for _, root := range roots {
		for _, role := range Roles() {
			if memory := m[group{root.of, role}]; memory != nil {
				list = append(list, *memory)
			}
		}
	}
	return slices.Compact(list) // roots of one name are neighbours
}

// readShares sums up the processes' proportional set sizes, in bytes. A process that has
// ended counts nothing; one that we may not look into leaves the sum unknown.
func (fs procfs) readShares(pids []int) (sum int64, ok bool) {
	for _, pid := range pids {
		content, err := os.ReadFile(filepath.Join(string(fs), strconv.Itoa(pid), "smaps_rollup"))
		switch {
		case os.IsPermission(err):
			return 0, false
		case err != nil:
			continue
		}
		sum += proportional(content)
	}
	return sum, true
}

// proportional reads the line "Pss: <n> kB" of smaps_rollup (proc_pid_smaps(5)).
func proportional(rollup []byte) int64 {
	for line := range bytes.Lines(rollup) {
		if rest, ok := bytes.CutPrefix(line, []byte("Pss:")); ok {
			fields := bytes.Fields(rest)
			if len(fields) == 0 {
				return 0
			}
			n, _ := strconv.ParseInt(string(fields[0]), 10, 64)
			return n << 10
		}
	}
	return 0
}
