package testrig

import (
	"sync"
	"testing"
)

// Databases gives each place of a suite a database of its own. The zero value is ready.
type Databases struct {
	mu        sync.Mutex // guards addresses
	addresses map[string]string
}

// Address is that of the place's database, which is made where it is asked for first.
func (d *Databases) Address(t testing.TB, place string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.addresses == nil {
		d.addresses = map[string]string{}
	}
	if d.addresses[place] == "" {
		d.addresses[place] = Postgres(t)
	}
	return d.addresses[place]
}
