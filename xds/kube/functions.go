package kube

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	// finalizer keeps a function's object until the function is deleted.
	finalizer = "functions." + Group + "/registered"
	// adoptAnnotation, "true", lets an object take over a function that something else made.
	adoptAnnotation = Group + "/adopt"
	// again is when what failed for no fault of the object is tried again, and when a control
	// looks whether it is the one that writes.
	again = 2 * time.Second
	// applyTimeout bounds one function: longer than a host may take to check code.
	applyTimeout = 75 * time.Second
)

// Register is where functions are registered: what POST, PUT and DELETE of the API do, code
// checked by a host included. Errors are *faas.Error.
type Register interface {
	Find(ctx context.Context, name string) (Registered, error)
	Create(ctx context.Context, definition []byte) (Registered, error)
	Update(ctx context.Context, name string, definition []byte) (Registered, error)
	Delete(ctx context.Context, name string) error
}

// Registered is what the API tells of a function.
type Registered struct {
	Version int      `json:"version"`
	Tags    []string `json:"tags"`
}

// Functions have the functions registered that are objects of the cluster.
type Functions struct {
	client     *Client
	register   Register
	lease      *lease
	functions  *watch
	configMaps *watch
	changed    chan struct{} // holds a token when something is to be done
	later      map[string]time.Time
}

// Functions makes it. It does nothing before Serve.
func (c *Client) Functions(register Register) *Functions {
	f := &Functions{client: c, register: register, lease: newLease(c), changed: make(chan struct{}, 1), later: map[string]time.Time{}}
	f.functions = c.watch(functions, "", f.wake)
	f.configMaps = c.watch(configMaps, "", f.wake)
	return f
}

func (f *Functions) wake() {
	select {
	case f.changed <- struct{}{}:
	default: // there is one already
	}
}

// Serve follows the objects until ctx ends. One control of all that do so writes.
func (f *Functions) Serve(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { f.functions.serve(ctx) })
	running.Go(func() { f.configMaps.serve(ctx) })
	running.Go(func() { f.lease.serve(ctx) })
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.changed:
		case <-tick.C:
		}
		if f.functions.known() && f.configMaps.known() {
			f.applyAll(ctx)
		}
	}
}

func (f *Functions) applyAll(ctx context.Context) {
	there := map[string]bool{}
	for _, u := range f.functions.list() {
		there[u.GetName()] = true
		if ctx.Err() != nil || !f.lease.leads() {
			return
		}
		if time.Now().After(f.later[u.GetName()]) {
			limited, cancel := context.WithTimeout(ctx, applyTimeout)
			f.apply(limited, u.DeepCopy())
			cancel()
		}
	}
	for name := range f.later {
		if !there[name] {
			delete(f.later, name)
		}
	}
}

// codeOf is the function's code, from its ConfigMap if it is there.
func (f *Functions) codeOf(spec functionSpec) (string, error) {
	ref := spec.ConfigMapRef
	if ref == nil {
		return spec.Code, nil
	}
	object, found, _ := f.configMaps.informer.GetStore().GetByKey(f.client.namespace + "/" + ref.Name)
	u, ok := object.(*unstructured.Unstructured)
	if !found || !ok {
		return "", notThere("ConfigMap " + ref.Name + " is not there")
	}
	code, found, _ := unstructured.NestedString(u.Object, "data", ref.Key)
	if !found {
		return "", notThere("ConfigMap " + ref.Name + " has no key " + ref.Key)
	}
	return code, nil
}

// definition is the body that registers the function by the API.
func (s functionSpec) definition(name, code, uid string) ([]byte, error) {
	d := map[string]any{
		"language": s.Language, "title": s.title(name), "script_content": code, "description": s.Description,
		"tags": []string{ownerTag(uid)},
	}
	for member, text := range map[string]string{"timeout_ms": s.Timeout, "cache_ttl_seconds": s.CacheTTL} {
		if text == "" {
			continue
		}
		duration, err := time.ParseDuration(text)
		if err != nil {
			return nil, notThere(member + ": " + err.Error())
		}
		unit := time.Millisecond
		if member == "cache_ttl_seconds" {
			unit = time.Second
		}
		d[member] = int64(duration / unit)
	}
	if s.Memory != "" {
		d["memory_limit_mb"] = mebibytes(s.Memory)
	}
	if s.Schema != nil {
		d["schema"] = s.Schema
	}
	if s.Network != "" {
		d["network"] = s.Network
	}
	return json.Marshal(d)
}
