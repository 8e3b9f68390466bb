package mtls

import (
	"context"
	"net"
	"sync"
)

// Dialled are the connections of a client, which can be cut: a process that hangs has its
// kernel take and acknowledge what it will not read. The zero value has none.
type Dialled struct {
	mu   sync.Mutex
	open map[*cuttable]struct{}
}

// Dial connects as the function of that name does.
func (d *Dialled) Dial(ctx context.Context, address string) (net.Conn, error) {
	inner, err := Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	conn := &cuttable{Conn: inner, of: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		d.open = make(map[*cuttable]struct{})
	}
	d.open[conn] = struct{}{}
	return conn, nil
}

// Cut closes all connections.
func (d *Dialled) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for conn := range d.open {
		_ = conn.Conn.Close() // whoever uses it closes it again, and takes it out
	}
}

type cuttable struct {
	net.Conn
	of *Dialled
}

func (c *cuttable) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
