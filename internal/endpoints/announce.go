package endpoints

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/faas"
)

const (
	// Life is how long a host is there that is not heard any more.
	Life = 3 * time.Second
	// again is when a host says once more that it is there, also after a failure.
	again = Life / 3
	// sayTimeout bounds saying it.
	sayTimeout = 500 * time.Millisecond
	// readyEvery is how often a host is asked whether it can take requests yet.
	readyEvery = 50 * time.Millisecond
	// farewells is how often goodbye is tried.
	farewells = 3
)

// Announcer is where a host says that it is there.
type Announcer interface {
	Announce(ctx context.Context, host faas.Host, life time.Duration) error
}

// AnnounceOptions are what Announce needs. All are required.
type AnnounceOptions struct {
	Directory Announcer
	Host      faas.Host
	Ready     func() bool
	// Drain is how long the host must go on after its goodbye: until each control has read
	// it, and each Envoy has heard of it.
	Drain      time.Duration
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Announce says that the host is there, once it is ready, until ctx ends. Then it says
// goodbye, and returns when nobody sends it requests any more.
func Announce(ctx context.Context, o AnnounceOptions) error {
	said := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "envoke_host_announcements_total",
		Help: "Times that this host said in Redis that it is there, by outcome.",
	}, []string{"outcome"})
	o.Registerer.MustRegister(said)
	a := &announcement{AnnounceOptions: o, said: said}
	if !a.awaitReady(ctx) {
		return nil
	}
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		a.say(ctx, o.Host)
		select {
		case <-tick.C:
		case <-ctx.Done():
			a.leave(context.WithoutCancel(ctx))
			return nil
		}
	}
}

type announcement struct {
	AnnounceOptions
	said *prometheus.CounterVec
	away bool // the last time failed, and the log says so
}

func (a *announcement) awaitReady(ctx context.Context) bool {
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for !a.Ready() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// say tells whether it was heard.
func (a *announcement) say(ctx context.Context, host faas.Host) bool {
	ctx, cancel := context.WithTimeout(ctx, sayTimeout)
	defer cancel()
	err := a.Directory.Announce(ctx, host, Life)
	switch {
	case err != nil:
		a.said.WithLabelValues("failed").Inc()
		if !a.away {
			a.Logger.Warn("cannot say in Redis that this host is there; saying it again", "error", err)
		}
	case a.away:
		a.Logger.Info("Redis knows again that this host is there")
	}
	if err == nil {
		a.said.WithLabelValues("ok").Inc()
	}
	a.away = err != nil
	return err == nil
}

// leave says goodbye. Where nobody hears it the host goes all the same: Envoy tries others
// when it cannot connect.
func (a *announcement) leave(ctx context.Context) {
	gone := time.NewTimer(a.Drain)
	defer gone.Stop()
	host := a.Host
	host.Leaving = true
	for range farewells {
		if a.say(ctx, host) {
			break
		}
	}
	a.Logger.Info("said goodbye; taking requests until all have heard it", "for", a.Drain)
	<-gone.C
}
