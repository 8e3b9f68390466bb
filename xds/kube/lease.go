package kube

import (
	"context"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	// leaseName is that of the lease whose holder alone writes.
	leaseName = "envoke-control"
	// leaseLife is for how long a holder counts as there that is not heard, leaseEvery how
	// often it says that it is there; it stops writing well before another may begin.
	leaseLife  = 15 * time.Second
	leaseEvery = 2 * time.Second
	leaseTrust = 10 * time.Second
	// microTime is how a lease writes times.
	microTime = "2006-01-02T15:04:05.000000Z07:00"
)

// lease decides which control writes. client-go has this too, and with it the typed clients of
// every API group.
type lease struct {
	client *Client
	self   string
	until  atomic.Int64 // until when this control leads, in ns since 1970
	// seen is the version of the lease that was seen last, and since when: clocks of others
	// count for nothing.
	seen  string
	since time.Time
}

func newLease(c *Client) *lease { return &lease{client: c, self: c.self} }

// leads tells whether this control may write now.
func (l *lease) leads() bool { return time.Now().UnixNano() < l.until.Load() }

// serve holds the lease, or waits for it, until ctx ends. Then it gives it to others.
func (l *lease) serve(ctx context.Context) {
	tick := time.NewTicker(leaseEvery)
	defer tick.Stop()
	for {
		l.try(ctx, l.self)
		select {
		case <-tick.C:
		case <-ctx.Done():
			if last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second); l.leads() {
				l.until.Store(0)
				l.try(last, "")
				cancel()
			} else {
				cancel()
			}
			return
		}
	}
}

// try says that the holder holds the lease, if nobody else does.
func (l *lease) try(ctx context.Context, holder string) {
	ctx, cancel := context.WithTimeout(ctx, leaseEvery)
	defer cancel()
	now := time.Now()
	api := l.client.in(leases)
	found, err := api.Get(ctx, leaseName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		found = &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": map[string]any{"name": leaseName}, "spec": l.spec(holder, now),
		}}
		_, err = api.Create(ctx, found, metav1.CreateOptions{})
		l.took(ctx, err, holder, now)
		return
	}
	if err != nil {
		l.took(ctx, err, holder, now)
		return
	}
	if found.GetResourceVersion() != l.seen {
		l.seen, l.since = found.GetResourceVersion(), now
	}
	other, _, _ := unstructured.NestedString(found.Object, "spec", "holderIdentity")
	if other != "" && other != l.self && now.Sub(l.since) < leaseLife {
		return
	}
	found.Object["spec"] = l.spec(holder, now)
	_, err = api.Update(ctx, found, metav1.UpdateOptions{}) // which fails where another was first
	l.took(ctx, err, holder, now)
}

func (l *lease) spec(holder string, now time.Time) map[string]any {
	return map[string]any{"holderIdentity": holder, "leaseDurationSeconds": int64(leaseLife / time.Second), "renewTime": now.UTC().Format(microTime)}
}

func (l *lease) took(ctx context.Context, err error, holder string, now time.Time) {
	switch {
	case err == nil && holder == l.self:
		l.until.Store(now.Add(leaseTrust).UnixNano())
	case err != nil:
		l.client.logger.DebugContext(ctx, "the lease of who writes was not taken", "error", err)
	}
}
