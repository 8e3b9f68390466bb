package routing

import (
	"sync"
	"time"
)

// The sources of declarations, in the order of their precedence: where two declare the same
// name, the earlier one's counts.
const (
	FromFile       = "file"
	FromAPI        = "api"
	FromKubernetes = "kubernetes"
)

// sourceNames are the sources in the order of their precedence.
var sourceNames = []string{FromFile, FromAPI, FromKubernetes}

// Sources are what all sources declare. Each calls Set when its declaration has changed, from
// any goroutine; what is served is all of them merged.
type Sources struct {
	changed func() // called without a lock held

	mu sync.Mutex // guards what follows
	of map[string]*declared
}

// declared is what one source has said last.
type declared struct {
	routing Routing
	faults  []Fault // of what it says
	refused bool    // what it says now is not routing, which it said before
	at      time.Time
	// refusals counts what was not taken so far.
	refusals int
}

// NewSources makes sources that have declared nothing yet. The callback is called after each
// change of what is served, and must not block.
func NewSources(changed func()) *Sources {
	return &Sources{changed: changed, of: map[string]*declared{}}
}

// Set has what a source declares now served. Faults are those of parts that it has left out,
// and are only told. The routing is not changed afterwards.
func (s *Sources) Set(source string, r Routing, faults []Fault) {
	s.mu.Lock()
	s.of[source] = &declared{routing: r, faults: faults, at: time.Now(), refusals: s.before(source).refusals}
	s.mu.Unlock()
	s.changed()
}

// Refuse tells the faults of what a source declares now: none of it is served, and what the
// source declared before goes on.
func (s *Sources) Refuse(source string, faults []Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.before(source)
	s.of[source] = &declared{routing: before.routing, faults: faults, refused: true, at: time.Now(), refusals: before.refusals + 1}
}

// before is what a source has said last, if anything. It is called with mu held.
func (s *Sources) before(source string) declared {
	if d := s.of[source]; d != nil {
		return *d
	}
	return declared{}
}

// Merged is what is to be served.
func (s *Sources) Merged() Routing {
	merged, _ := s.merge()
	return merged
}

// SourceStatus is how one source stands.
type SourceStatus struct {
	Source string    `json:"source"`
	At     time.Time `json:"at"` // of its last word
	// Refused says that what it declares now has faults and is not served: what it declared
	// before is.
	Refused   bool    `json:"refused"`
	Upstreams int     `json:"upstreams"` // that it has served
	Routes    int     `json:"routes"`
	Listeners int     `json:"listeners"`
	Faults    []Fault `json:"faults"` // of its own, and names that an earlier source has

	refusals int
}

// Status is how each source stands that has said anything, in the order of their precedence.
func (s *Sources) Status() []SourceStatus {
	_, twice := s.merge()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []SourceStatus{}
	for _, name := range s.names() {
		d := s.of[name]
		all = append(all, SourceStatus{
			Source: name, At: d.at.UTC(), Refused: d.refused,
			Upstreams: len(d.routing.Upstreams), Routes: len(d.routing.Routes), Listeners: len(d.routing.Listeners),
			Faults: append(append([]Fault{}, d.faults...), twice[name]...), refusals: d.refusals,
		})
	}
	return all
}

func (s *Sources) merge() (Routing, map[string][]Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := newMerger()
	for _, name := range s.names() {
		m.add(name, s.of[name].routing)
	}
	return m.merged, m.faults
}

// names are the sources that have said anything, in the order of their precedence. It is called
// with mu held.
func (s *Sources) names() (names []string) {
	for _, name := range sourceNames {
		if s.of[name] != nil {
			names = append(names, name)
		}
	}
	return names
}
