package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// idleWait bounds a wait for replies, after which the context is looked at. Meanwhile
// nothing else of this process runs.
const idleWait = 10 // ms

// closedLoop sends on each connection again when its reply is there, until the end, or
// as many requests as the connection sends at most. The
// connections are of waitingClients. One thread waits for all of them: a goroutine for
// each would try to read before there is anything, and would take CPU time that the
// measured processes need.
func closedLoop(ctx context.Context, connections []*connection, end time.Time) error {
	p, err := newPoller(connections)
	if err != nil {
		return err
	}
	defer p.close()
	for _, c := range connections {
		if err := c.send(time.Now()); err != nil {
			return err
		}
	}
	for open := len(connections); open > 0; {
		ready, err := p.wait()
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		for _, event := range ready {
			goesOn, err := connections[event.Fd].turn(end)
			if err != nil {
				return err
			}
			if !goesOn {
				open--
				if err := p.remove(connections[event.Fd]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// turn reads a reply and sends the next request, unless it is the end.
func (c *connection) turn(end time.Time) (goesOn bool, err error) {
	if err := c.check(c.receive()); err != nil {
		return false, err
	}
	now := time.Now()
	c.latencies = append(c.latencies, now.Sub(c.sent))
	if !now.Before(end) || len(c.latencies) == c.most {
		return false, nil
	}
	return true, c.send(now)
}

// send sends the next request.
func (c *connection) send(now time.Time) error {
	c.next()
	c.sent = now
	return c.client.send(c.request)
}

// poller waits for replies on many sockets (epoll(7)).
type poller struct {
	fd     int
	events []unix.EpollEvent
}

// newPoller names each connection by its place in the list, in Fd of its events.
func newPoller(connections []*connection) (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	p := &poller{fd: fd, events: make([]unix.EpollEvent, len(connections))}
	for i, c := range connections {
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, c.fd, &event); err != nil {
			p.close()
			return nil, fmt.Errorf("wait for connection %d: %w", i, os.NewSyscallError("epoll_ctl", err))
		}
	}
	return p, nil
}

// wait returns what is ready, nothing after idleWait. It is valid until the next call.
func (p *poller) wait() ([]unix.EpollEvent, error) {
	n, _, err := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(p.events))), uintptr(len(p.events)), idleWait, 0, 0) //nolint:gosec // as long as the call
	switch err {
	case 0:
		return p.events[:n], nil
	case unix.EINTR:
		return nil, nil
	}
	return nil, os.NewSyscallError("epoll_pwait", err)
}

func (p *poller) remove(c *connection) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, c.fd, nil))
}

func (p *poller) close() { _ = unix.Close(p.fd) }
