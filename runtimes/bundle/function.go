package bundle

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
	"envoke/internal/schema"
)

// Bounds of the functions held: by name, by version and by alias each counts.
const (
	maxFunctions     = 10_000
	maxFunctionBytes = 64 << 20
	maxSchemaBytes   = 64 << 20 // of compiled schemas
)

// Function is a version of a registered function, its code included.
type Function struct {
	faas.Function
	Params    *schema.Schema // what params must keep to; nil: anything
	Variables Variables
}

// heldFunction is a function without its code, with the generation of trust in
// which control vouched for it.
type heldFunction struct {
	function   faas.Function
	generation uint64
	secrets    faas.Secrets // of its environment
	variables  Variables
}

func functionSize(h heldFunction) int64 {
	return entrySize + int64(len(h.function.Schema)) + 3*h.variables.Size()
}

// Function returns the version of a registered function that the reference names,
// its code included. Where it names an alias that splits, the key picks: of a
// session its id, so that the session keeps its version, else the request's id.
// What is held is served without a question as long as control is heard, since
// control tells of every change.
func (b *Bundles) Function(ctx context.Context, ref faas.Ref, key string) (Function, error) {
	found, err := b.function(ctx, ref)
	if picked := found.function.Pick(key); err == nil && picked != found.function.Version {
		alias := found
		found, err = b.function(ctx, faas.Ref{Name: ref.Name, Version: picked})
		found = found.through(alias)
	}
	if err != nil {
		return Function{}, err
	}
	f := found.function
	if f.Script, err = b.sharedScript(ctx, f.Script.Digest); err != nil {
		return Function{}, err
	}
	params, err := b.params(ctx, faas.Ref{Name: f.Name, Version: f.Version}, f.Schema)
	return Function{Function: f, Params: params, Variables: found.variables}, err
}

// params is the compiled schema of a function's version, or nil where it has none.
func (b *Bundles) params(ctx context.Context, version faas.Ref, raw json.RawMessage) (*schema.Schema, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	if params, ok := b.schemas.Held(version); ok {
		return params, nil
	}
	return b.schemas.Find(ctx, version, fetchTimeout, func(context.Context) (*schema.Schema, error) {
		params, err := schema.Compile(raw)
		if err != nil {
			return nil, notMeant("schema", err)
		}
		return params, nil
	})
}

func (b *Bundles) function(ctx context.Context, ref faas.Ref) (heldFunction, error) {
	now := time.Now()
	known, ok := b.functions.Held(ref)
	switch {
	case ok && b.trust.covers(known.generation, now) && b.current(known.variables):
		b.metrics.functions.held.Inc()
		return known, nil
	case ok && b.trust.resting(now):
		b.metrics.functions.unverified.Inc()
		return known, nil
	}
	timeout := fetchTimeout
	if ok {
		timeout = verifyTimeout
	}
	found, err := b.functions.Find(ctx, ref, timeout, func(ctx context.Context) (heldFunction, error) {
		// Before asking: what comes after may change it.
		generation, changes := b.trust.generation.Load(), b.secretChanges.Load()
		f, secrets, err := b.askFunction(ctx, ref)
		return heldFunction{
			function: f, generation: generation, secrets: secrets, variables: newVariables(f.Variables(), secrets, changes),
		}, err
	})
	switch {
	case err == nil:
		b.metrics.functions.fetched.Inc()
		return found, nil
	case faas.IsNotFound(err):
		b.functions.Drop(ref)
		b.metrics.functions.missing.Inc()
		return heldFunction{}, err
	case !ok:
		b.metrics.functions.failed.Inc()
		return heldFunction{}, err
	case ctx.Err() == nil: // else the caller gave up, which says nothing of control
		b.trust.rest(time.Now())
	}
	b.metrics.functions.unverified.Inc()
	return known, nil
}

func (b *Bundles) askFunction(ctx context.Context, ref faas.Ref) (faas.Function, faas.Secrets, error) {
	message, err := b.control.FindFunction(ctx, &controlpb.FindFunctionRequest{LanguageTitle: ref.Key()}, largeMessages...)
	if err != nil {
		return faas.Function{}, nil, fmt.Errorf("find function: %w", controlpb.FromStatus(err))
	}
	f, err := message.Function()
	if err != nil {
		return faas.Function{}, nil, notMeant("function", err)
	}
	return f, message.GetSecrets(), nil
}

// forget drops whatever is held of a function.
func (b *Bundles) forget(key string) {
	name, err := faas.ParseKey(key)
	if err != nil {
		return // nothing can be held under it
	}
	b.functions.DropAll(func(ref faas.Ref) bool { return ref.Name == name })
	b.metrics.changed.Inc()
}
