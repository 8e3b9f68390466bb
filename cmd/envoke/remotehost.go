package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"envoke/internal/endpoints"
	"envoke/internal/faas"
	"envoke/internal/mtls"
	"envoke/internal/redis"
)

// link is how a runtime host meets the other parts: by the sockets of the run folder, or by
// a port, and by Redis.
type link struct {
	name     string // of the host, unique among all
	control  *grpc.ClientConn
	dialled  *mtls.Dialled // its connections; nil: a socket
	http     net.Listener
	grpc     net.Listener
	port     *mtls.Port    // nil: sockets
	redis    *redis.Client // nil: sockets, or Kubernetes finds the host
	drain    time.Duration // how long it goes on after it was told to stop; 0: sockets
	announce endpoints.AnnounceOptions
}

// openLink connects to control and listens.
func openLink(ctx context.Context, e *environment, language faas.Language) (_ *link, err error) {
	l := &link{name: hostName(language)}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if e.config.HostListen != "" {
		return l, l.openRemote(ctx, e, language)
	}
	l.control, err = grpc.NewClient("unix:"+e.sockets.control(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	if l.http, err = listenUnix(ctx, e.sockets.host(string(language))); err != nil {
		return nil, err
	}
	l.grpc, err = listenUnix(ctx, e.sockets.hostGRPC(string(language)))
	return l, err
}

// checkRemoteHost refuses what a host lacks that meets other machines.
func checkRemoteHost(c *Config) (faults []error) {
	if c.HostListen == "" {
		faults = append(faults, errors.New("HOST_LISTEN is not set, although parts on other machines are configured"))
	}
	if c.RedisURL == "" && !c.discovers() {
		faults = append(faults, errors.New("REDIS_URL is not set: that is where a runtime host says that it is there"))
	}
	return faults
}

func (l *link) openRemote(ctx context.Context, e *environment, language faas.Language) error {
	identity, err := e.openIdentity(mtls.Host)
	if err != nil {
		return err
	}
	l.dialled = new(mtls.Dialled)
	if l.control, err = dialControls(e.config, identity, l.dialled); err != nil {
		return err
	}
	if l.port, err = e.openPort(ctx, e.config.HostListen, identity, allowedAtHosts); err != nil {
		return err
	}
	l.http, l.grpc = l.port.Of(mtls.HTTP), l.port.Of(mtls.GRPC)
	address, err := advertised(ctx, e.config, l.http.Addr())
	if err != nil {
		return err
	}
	l.drain = time.Duration(e.config.HostDrainSeconds) * time.Second
	if e.config.discovers() {
		return nil
	}
	l.redis, err = redis.New(redis.Options{URL: e.config.RedisURL, Use: "hosts", Logger: e.logger, Registerer: e.metrics})
	if err != nil {
		return err
	}
	l.announce = endpoints.AnnounceOptions{
		Directory: redis.NewHosts(l.redis),
		Host:      faas.Host{Name: l.name, Language: language, Address: address, Version: version},
		Drain:     l.drain,
		Logger:    e.logger, Registerer: e.metrics,
	}
	return l.announce.Host.Check()
}

// close undoes openLink where nothing was started.
func (l *link) close() (err error) {
	if l.control != nil {
		err = l.control.Close()
	}
	for _, listener := range []net.Listener{l.http, l.grpc} {
		if listener != nil {
			err = errors.Join(err, listener.Close())
		}
	}
	if l.redis != nil {
		err = errors.Join(err, l.redis.Close())
	}
	return err
}

// reconnect leaves a control that hangs. On one machine there is no other.
func (l *link) reconnect() {
	if l.dialled != nil {
		l.dialled.Cut()
	}
}

// startPort runs what the host stands on.
func (l *link) startPort(c *lifecycle, name string) {
	if l.port != nil {
		c.start(name+" port", l.port.Serve)
	}
}

// startAnnouncing says that the host is there. It is the first to stop: the host goes on until
// nobody sends it requests any more.
func (l *link) startAnnouncing(c *lifecycle, name string, ready func() bool) {
	if l.redis == nil {
		if l.drain > 0 {
			c.start(name+" drain", l.goOn)
		}
		return
	}
	l.announce.Ready = ready
	c.start(name+" in Redis", func(ctx context.Context) error {
		return errors.Join(endpoints.Announce(ctx, l.announce), l.redis.Close())
	})
}

// goOn waits until all have heard from Kubernetes that the host is about to go.
func (l *link) goOn(ctx context.Context) error {
	<-ctx.Done()
	gone := time.NewTimer(l.drain)
	defer gone.Stop()
	<-gone.C
	return nil
}

// controlService has gRPC ask another control where one is gone, what only reads. What a
// session's creation needs is the host's business.
const controlService = `{
	"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": true}}],
	"methodConfig": [{
		"name": [
			{"service": "envoke.control.v1.Control", "method": "FindSession"},
			{"service": "envoke.control.v1.Control", "method": "FindScript"},
			{"service": "envoke.control.v1.Control", "method": "FindFunction"},
			{"service": "envoke.control.v1.Control", "method": "FindModule"},
			{"service": "envoke.control.v1.Control", "method": "SetBuild"}
		],
		"retryPolicy": {
			"maxAttempts": 3, "initialBackoff": "0.02s", "maxBackoff": "0.1s", "backoffMultiplier": 2,
			"retryableStatusCodes": ["UNAVAILABLE"]
		}
	}]
}`

// dialControls is a connection to any of the controls, and to another when that one goes or
// its connections are cut.
func dialControls(c *Config, identity *mtls.Identity, dialled *mtls.Dialled) (*grpc.ClientConn, error) {
	controls, err := c.controls()
	if err != nil {
		return nil, err
	}
	var state resolver.State
	for _, at := range controls {
		address := net.JoinHostPort(at.Host, strconv.Itoa(at.Port))
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: address}}})
	}
	all := manual.NewBuilderWithScheme("controls")
	all.InitialState(state)
	options := append(identity.DialOptions(mtls.Control),
		grpc.WithContextDialer(dialled.Dial), grpc.WithResolvers(all), grpc.WithAuthority("control"), grpc.WithDefaultServiceConfig(controlService))
	return grpc.NewClient("controls:///all", options...)
}

// advertised is the address by which Envoys reach the host.
func advertised(ctx context.Context, c *Config, listens net.Addr) (string, error) {
	if c.HostAdvertise != "" {
		return c.HostAdvertise, nil
	}
	at, err := netip.ParseAddrPort(listens.String())
	if err != nil || !at.Addr().IsUnspecified() {
		return at.String(), err
	}
	controls, err := c.controls()
	if err != nil {
		return "", err
	}
	for _, control := range controls {
		// Nothing is sent: the kernel says which of its addresses it would use.
		conn, dialled := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "udp", net.JoinHostPort(control.Host, strconv.Itoa(control.Port)))
		if dialled != nil {
			err = dialled
			continue
		}
		own, parsed := netip.ParseAddrPort(conn.LocalAddr().String())
		if err = errors.Join(parsed, conn.Close()); err == nil {
			return netip.AddrPortFrom(own.Addr().Unmap(), at.Port()).String(), nil
		}
	}
	return "", fmt.Errorf("HOST_ADVERTISE is not set, and no address towards control is found: %w", err)
}

// hostName is unique among all hosts, those of containers included, of which each may be the
// first process of a machine called localhost.
func hostName(language faas.Language) string {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	return fmt.Sprintf("%s/%d/%s/%.8s", name, os.Getpid(), language, rand.Text())
}
