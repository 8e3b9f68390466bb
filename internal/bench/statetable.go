package bench

import (
	"fmt"
	"slices"
	"strconv"
)

// tables are those of a State, each with its title.
func (s *State) tables() []*table {
	tables := []*table{s.lookupTable(), s.requestTable(), s.rowTable()}
	if s.Changes != nil {
		tables = append(tables, s.Changes.seenTable(), s.Changes.callTable())
	}
	return tables
}

func (s *State) lookupTable() *table {
	t := &table{text: 1, title: "Look-ups of a live session inside control, a second, by so many who ask at once"}
	t.add("", "32", "of memory's", "1", "of memory's", "1, µs", "failed")
	memory := Lookups{}
	for _, l := range s.Lookups {
		if l.Where == inMemory {
			memory = l
		}
		t.add(l.Where, rate(l.ThirtyTwo), part(l.ThirtyTwo, memory.ThirtyTwo), rate(l.One), part(l.One, memory.One), number(1e6/l.One, 1), strconv.Itoa(l.Failed))
	}
	return t
}

// part shows small parts with three digits.
func part(of, whole float64) string { return fmt.Sprintf("%.3g", of/whole) }

func (s *State) requestTable() *table {
	t := &table{text: 1, title: "Requests that go by the store or by Redis, through Envoy without filter, 32 connections"}
	t.add("", "requests/s", "p50 ms", "p99 ms", "requests", "from Redis")
	for _, r := range s.Requests {
		shared := ""
		if r.Shared > 0 {
			shared = fmt.Sprintf("%.1f %%", 100*r.Shared)
		}
		t.add(r.Name, rate(r.PerSecond), number(r.P50, 3), number(r.P99, 3), strconv.Itoa(r.Requests), shared)
	}
	return t
}

func (s *State) rowTable() *table {
	t := &table{text: 1, title: "Rows of the request log, from Envoy's file until they are committed"}
	t.add("", "rows/s", "target", "")
	for _, r := range s.Rows {
		t.add(r.Store+", while nothing else runs", rate(r.PerSecond), "", "")
	}
	l := s.Loaded
	t.add("PostgreSQL, under plain executes by 32 connections", rate(l.PerSecond), "≥ "+rate(rowsLeast), metOr(l.missed()))
	t.add("executes/s while only their own rows are stored", rate(l.Alone.Median), "", "")
	t.add("executes/s while the files are read too", rate(l.Meanwhile), "", "")
	t.add("the latter / the former", part(l.Meanwhile, l.Alone.Median), "", "")
	for _, of := range l.spenders() {
		t.add("CPUs that "+of+" took meanwhile", number(l.CPUs[of], 2), "", "")
	}
	return t
}

// spenders are those who took CPU time, the one that took most first.
func (l Loaded) spenders() []string {
	var names []string
	for name, cpus := range l.CPUs {
		if cpus >= 0.005 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		switch {
		case l.CPUs[a] != l.CPUs[b] && l.CPUs[a] > l.CPUs[b]:
			return -1
		case l.CPUs[a] != l.CPUs[b]:
			return 1
		case a < b:
			return -1
		}
		return 1
	})
	return names
}

func (r *ChangesReport) seenTable() *table {
	wrong := "none wrong"
	if r.Wrong > 0 {
		wrong = fmt.Sprintf("%d WRONG, the first: %s", r.Wrong, r.Why)
	}
	t := &table{text: 1, title: fmt.Sprintf("Two controls, two Envoys, two hosts of each language: ms from the answer to a change "+
		"until the old answer came last, through each Envoy and from each host; %d replies, %s", r.Asked, wrong)}
	t.add("as seen by", "samples", "old after it", "p50", "p99", "max", "p99 target", "")
	for _, s := range r.Seen {
		t.add(s.Way, strconv.Itoa(s.Samples), strconv.Itoa(s.Old), fixed(s.P50), fixed(s.P99), fixed(s.Longest), fmt.Sprintf("≤ %.0f", s.Most), metOr(s.Missed))
	}
	return t
}

func (r *ChangesReport) callTable() *table {
	t := &table{text: 1, title: "How long these changes took to be answered, ms"}
	t.add("", "changes", "p50", "p99", "max")
	for _, c := range r.Calls {
		t.add(c.Kind, strconv.Itoa(c.Changes), fixed(c.P50), fixed(c.P99), fixed(c.Longest))
	}
	return t
}

// fixed shows a 0 that was measured.
func fixed(ms float64) string { return fmt.Sprintf("%.1f", ms) }
