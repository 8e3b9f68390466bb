package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"envoke/internal/routing"
)

const (
	// controllerName is whose conditions on routes are ours.
	controllerName = Group + "/control"
	// settle is how long changes are collected: those of a rollout come in dozens.
	settle = 50 * time.Millisecond
)

// Routes are the HTTPRoutes of a Gateway, as what operators declare.
type Routes struct {
	client   *Client
	gateway  string
	set      func(routing.Routing)
	lease    *lease
	routes   *watch
	services *watch
	slices   *watch
	objects  *watch // Functions
	changed  chan struct{}
	told     *routing.Routing // nil: nothing yet
}

// Routes makes the source. What it declares is told by set, which must not block, where it is
// another than before; nothing is told before the cluster has said all.
func (c *Client) Routes(gateway string, set func(routing.Routing)) *Routes {
	r := &Routes{client: c, gateway: gateway, set: set, lease: newLease(c), changed: make(chan struct{}, 1)}
	wake := func() {
		select {
		case r.changed <- struct{}{}:
		default: // there is one already
		}
	}
	r.routes, r.services = c.watch(httpRoutes, "", wake), c.watch(services, "", wake)
	r.slices, r.objects = c.watch(endpointSlices, "", wake), c.watch(functions, "", wake)
	return r
}

// Serve follows the cluster until ctx ends.
func (r *Routes) Serve(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	watches := []*watch{r.routes, r.services, r.slices, r.objects}
	for _, w := range watches {
		running.Go(func() { w.serve(ctx) })
	}
	running.Go(func() { r.lease.serve(ctx) })
	tick := time.NewTicker(again) // statuses that could not be written, and who writes them
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-r.changed:
			select {
			case <-time.After(settle):
			case <-ctx.Done():
				return nil
			}
		}
		if !slices.ContainsFunc(watches, func(w *watch) bool { return !w.known() }) {
			r.declare(ctx)
		}
	}
}

func (r *Routes) declare(ctx context.Context) {
	made := routing.Routing{}
	needs := map[string]serviceOf{}
	for _, u := range r.routes.list() {
		var route httpRoute
		raw, err := json.Marshal(u.Object)
		if err == nil {
			err = json.Unmarshal(raw, &route)
		}
		parents := slices.DeleteFunc(route.Spec.ParentRefs, func(p parentRef) bool { return !p.ours(r.client.namespace, r.gateway) })
		if err == nil && len(parents) == 0 || u.GetDeletionTimestamp() != nil {
			continue
		}
		t := translation{namespace: r.client.namespace, port: r.hasPort, function: r.functionNamed, needs: map[string]serviceOf{}}
		ours := t.route(u.GetName(), route)
		if err != nil {
			t.refuse(err.Error())
		}
		if t.verdict.accepted == "Accepted" {
			t.judge(ours, r.upstreams(t.needs))
		}
		if t.verdict.accepted == "Accepted" {
			made.Routes = append(made.Routes, ours)
			maps.Copy(needs, t.needs)
		}
		if r.lease.leads() {
			r.tell(ctx, u.DeepCopy(), parents, t.verdict)
		}
	}
	made.Upstreams = r.upstreams(needs)
	slices.SortFunc(made.Routes, func(a, b routing.Route) int { return cmp.Compare(a.Name, b.Name) })
	if r.told == nil || !reflect.DeepEqual(*r.told, made) {
		r.told = &made
		r.set(made)
	}
}

func (r *Routes) upstreams(needs map[string]serviceOf) (all []routing.Upstream) {
	of := slicesOf(r.slices)
	for name, need := range needs {
		upstream := routing.Upstream{Name: name}
		port, _ := r.portName(need.service, need.port)
		for _, a := range addresses(of[need.service], port) {
			upstream.Endpoints = append(upstream.Endpoints, routing.UpstreamEndpoint{
				Host: a.at.Addr().String(), Port: int(a.at.Port()), Zone: a.zone, Draining: a.draining,
			})
		}
		all = append(all, upstream)
	}
	slices.SortFunc(all, func(a, b routing.Upstream) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// portName is what slices call the port of a Service.
func (r *Routes) portName(service string, port int32) (name string, ok bool) {
	object, found, _ := r.services.informer.GetStore().GetByKey(r.client.namespace + "/" + service)
	u, is := object.(*unstructured.Unstructured)
	if !found || !is {
		return "", false
	}
	spec := read[struct {
		Spec struct {
			Ports []slicePort `json:"ports"`
		} `json:"spec"`
	}](u)
	for _, p := range spec.Spec.Ports {
		if p.Port != nil && *p.Port == port {
			if p.Name != nil {
				name = *p.Name
			}
			return name, true
		}
	}
	return "", false
}

func (r *Routes) hasPort(service string, port int32) bool {
	_, ok := r.portName(service, port)
	return ok
}

func (r *Routes) functionNamed(name string) string {
	object, found, _ := r.objects.informer.GetStore().GetByKey(r.client.namespace + "/" + name)
	u, ok := object.(*unstructured.Unstructured)
	if !found || !ok {
		return ""
	}
	spec := read[function](u).Spec
	return spec.Language + "-" + spec.title(name)
}

// tell writes the conditions of the route, beside those of other controllers, if they are others
// than before.
func (r *Routes) tell(ctx context.Context, u *unstructured.Unstructured, parents []parentRef, v verdict) {
	all, _, _ := unstructured.NestedSlice(u.Object, "status", "parents")
	others := slices.DeleteFunc(slices.Clone(all), func(p any) bool {
		parent, _ := p.(map[string]any)
		return parent["controllerName"] == controllerName
	})
	mine := others
	for _, p := range parents {
		ref := map[string]any{"group": gatewayGroup, "kind": "Gateway", "name": p.Name}
		if p.SectionName != nil {
			ref["sectionName"] = *p.SectionName
		}
		mine = append(mine, map[string]any{"parentRef": ref, "controllerName": controllerName, "conditions": []any{
			saying("Accepted", v.accepted, v.acceptedMessage, u.GetGeneration()),
			saying("ResolvedRefs", v.resolved, v.resolvedMessage, u.GetGeneration()),
		}})
	}
	if same(all, mine) {
		return
	}
	if err := unstructured.SetNestedSlice(u.Object, mine, "status", "parents"); err != nil {
		return // only values of JSON are in it
	}
	if _, err := r.client.in(httpRoutes).UpdateStatus(ctx, u, metav1.UpdateOptions{}); err != nil {
		r.client.logger.WarnContext(ctx, "the conditions of a route could not be written; it is tried again", "route", u.GetName(), "error", err)
	}
}

func saying(kind, reason, message string, generation int64) map[string]any {
	status := "False"
	if reason == kind {
		status = "True"
	}
	return map[string]any{"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": generation, "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}
}

// same tells whether two lists of parents say the same, whenever they began to.
func same(a, b []any) bool { return fmt.Sprint(timeless(a)) == fmt.Sprint(timeless(b)) }

func timeless(parents []any) (all []any) {
	raw, err := json.Marshal(parents)
	if err != nil || json.Unmarshal(raw, &all) != nil {
		return nil
	}
	for _, p := range all {
		parent, _ := p.(map[string]any)
		conditions, _ := parent["conditions"].([]any)
		for _, c := range conditions {
			if condition, ok := c.(map[string]any); ok {
				delete(condition, "lastTransitionTime")
			}
		}
	}
	return all
}
