//go:build !wasip1

package host

import (
	"slices"
	"strings"
	"time"
)

// Fake stands in for Envoy in tests: calls are answered from its fields and leave their
// mark there. Its zero value is an Envoy with nothing in it.
type Fake struct {
	Request    FakeMessage
	Response   FakeMessage
	Config     []byte
	Time       time.Time
	Shared     map[string]Shared
	Properties map[string]string // by path, its parts joined by a zero byte
	Counters   map[string]int64  // and gauges
	Log        []string
	Local      *LocalResponse // nil: the filter has not answered

	counters []string // the names, by id
}

// FakeMessage is a half of an exchange: headers with names in lower case, and what is
// buffered of the body.
type FakeMessage struct {
	Headers [][2]string
	Body    []byte
}

// Shared is what all threads see under a key.
type Shared struct {
	Value   string
	Version uint32
}

// LocalResponse is what a filter answered.
type LocalResponse struct {
	Status  int
	Details string
	Headers [][2]string
	Body    string
}

// fake answers.
var fake = new(Fake)

// Use lets another fake answer from now on, with nothing left of callbacks before.
func Use(f *Fake) {
	fake = f
	Begin()
}

func (f *Fake) message(m headerMap) *FakeMessage {
	if m == Request.headers() {
		return &f.Request
	}
	return &f.Response
}

func (f *Fake) buffer(b buffer) []byte {
	switch b {
	case Request.body():
		return f.Request.Body
	case Response.body():
		return f.Response.Body
	}
	return f.Config
}

// header joins several of a name by a comma, as Envoy does.
func (m *FakeMessage) header(name string) (value string, found bool) {
	var values []string
	for _, h := range m.Headers {
		if h[0] == name {
			values = append(values, h[1])
		}
	}
	return strings.Join(values, ","), values != nil
}

func (m *FakeMessage) add(name, value string) {
	m.Headers = append(m.Headers, [2]string{name, value})
}

func (m *FakeMessage) remove(name string) {
	m.Headers = slices.DeleteFunc(m.Headers, func(h [2]string) bool { return h[0] == name })
}

func (m *FakeMessage) pairs() Pairs {
	var texts []string
	for _, h := range m.Headers {
		texts = append(texts, h[:]...)
	}
	return NewPairs(texts...)
}

// set makes the map where there is none yet.
func set[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = make(map[string]V)
	}
	(*m)[key] = value
}
