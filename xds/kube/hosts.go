package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"envoke/internal/faas"
)

const (
	// runtimeServices are the Services of runtime hosts; runtimeLabel names the language.
	runtimeServices = "app.kubernetes.io/component=runtime"
	runtimeLabel    = "lambda.microservice/runtime"
	// keywordsAnnotation has words, with commas between, that in a function's name mean the
	// Service's language.
	keywordsAnnotation = "lambda.microservice/keywords"
	// hostPort is the name of the port that takes requests, where a Service has several.
	hostPort = "host"
	// maxHosts bounds the hosts that are told, as that of the other directory.
	maxHosts = 1000
	// farewell is for how long a host is said to leave that is there no more. Who follows
	// looks much more often.
	farewell = 10 * time.Second
)

// Hosts are the runtime hosts of the cluster, found by labels of Services: a directory, which
// counts for nothing before a host has shown who it is.
type Hosts struct {
	client   *Client
	services *watch
	slices   *watch

	mu    sync.Mutex // guards what follows
	fresh bool       // nothing has changed since found was
	found []faas.Host
	names names
	left  map[faas.Host]time.Time // hosts that were told and are there no more
}

// Hosts makes the directory. It knows nothing before Serve.
func (c *Client) Hosts() *Hosts {
	h := &Hosts{client: c, left: map[faas.Host]time.Time{}}
	changed := func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.fresh = false
	}
	h.services = c.watch(services, runtimeServices, changed)
	// Controllers copy the labels of a Service to its slices, so those of others need not come.
	h.slices = c.watch(endpointSlices, runtimeServices, changed)
	return h
}

// Serve follows the cluster until ctx ends.
func (h *Hosts) Serve(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { h.services.serve(ctx) })
	running.Go(func() { h.slices.serve(ctx) })
	return nil
}

// List are the hosts. One that is not ready, drains or is gone is said to leave, so that it
// gets no requests from now on: unlike Redis, Kubernetes forgets none that is there.
func (h *Hosts) List(context.Context) ([]faas.Host, error) {
	if err := h.known(); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refresh(time.Now())
	return slices.Concat(h.found, slices.Collect(maps.Keys(h.left))), nil
}

func (h *Hosts) known() error {
	if !h.services.known() || !h.slices.known() {
		return errors.New("Kubernetes has not said yet where runtime hosts are") //nolint:staticcheck // a name
	}
	return nil
}

// refresh is called with mu held.
func (h *Hosts) refresh(now time.Time) {
	for host, since := range h.left {
		if now.Sub(since) > farewell {
			delete(h.left, host)
		}
	}
	if h.fresh {
		return
	}
	h.fresh = true
	before := h.found
	runtimes := h.runtimes()
	h.found, h.names = h.hosts(runtimes), namesOf(runtimes)
	for _, host := range before {
		host.Leaving = true
		h.left[host] = now
	}
	for _, host := range h.found {
		host.Leaving = true
		delete(h.left, host)
	}
}

// service is a Service of runtime hosts.
type service struct {
	name     string
	language faas.Language
	keywords []string
}

func (h *Hosts) runtimes() (all []service) {
	for _, u := range h.services.list() {
		language := faas.Language(u.GetLabels()[runtimeLabel])
		if !language.Known() || u.GetDeletionTimestamp() != nil {
			continue
		}
		all = append(all, service{name: u.GetName(), language: language, keywords: keywords(u)})
	}
	slices.SortFunc(all, func(a, b service) int { return cmp.Compare(a.name, b.name) })
	return all
}

func keywords(u *unstructured.Unstructured) (words []string) {
	for word := range strings.SplitSeq(u.GetAnnotations()[keywordsAnnotation], ",") {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, word)
		}
	}
	return words
}

func (h *Hosts) hosts(runtimes []service) (all []faas.Host) {
	of := slicesOf(h.slices)
	seen := map[faas.Host]bool{}
	for _, r := range runtimes {
		for _, a := range addresses(of[r.name], hostPort) {
			host := faas.Host{
				Name:     fmt.Sprintf("%s/%s/%s", h.client.namespace, r.language, cmp.Or(a.pod, r.name+"/"+a.at.String())),
				Language: r.language, Address: a.at.String(), Zone: a.zone, Leaving: a.draining,
			}
			if host.Check() != nil || seen[host] {
				continue // two Services may have the same pods
			}
			seen[host] = true
			all = append(all, host)
		}
	}
	if len(all) > maxHosts {
		h.client.logger.Error("there are more runtime hosts than are taken into use", "hosts", len(all), "most", maxHosts)
		all = all[:maxHosts]
	}
	return all
}
