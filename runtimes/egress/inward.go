package egress

import (
	"net"
	"sync"
)

// doors bounds the connections that workers hold to the proxy, with or without one
// beyond it. One more is closed at once.
type doors struct {
	net.Listener
	places chan struct{}
	full   func() // is told of each that is closed
}

func (d doors) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case d.places <- struct{}{}:
			return &inward{TCPConn: conn.(*net.TCPConn), leave: sync.OnceFunc(func() { <-d.places })}, nil
		default:
			_ = conn.Close()
			d.full()
		}
	}
}

// inward is a worker's connection.
type inward struct {
	*net.TCPConn
	leave func()
}

func (i *inward) Close() error {
	defer i.leave()
	return i.TCPConn.Close()
}
