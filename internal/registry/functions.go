package registry

import (
	"context"
	"fmt"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
)

func functionSize(a answer[faas.Function]) int64 {
	return entrySize + int64(len(a.value.Schema)+len(a.value.Examples)+len(a.value.Description)) +
		a.value.Environment.Size() + a.value.AliasEnvironment.Size()
}

// FindFunction returns the version of a registered function that the reference
// names, without its source, which FindScript has. The answer may be a second old
// where something else than this process changed the function, and older while the store
// is away: what is known goes on.
func (r *Registry) FindFunction(ctx context.Context, ref faas.Ref) (faas.Function, error) {
	known, ok := r.functions.Held(ref)
	if ok && r.now().Before(known.until) {
		r.metrics.functions.memory.Inc()
		return known.value, known.err
	}
	found, err := r.functions.Find(ctx, ref, storeTimeout, func(ctx context.Context) (answer[faas.Function], error) {
		asked, err := r.askFunction(ctx, ref)
		if err != nil && ok && known.err == nil {
			r.metrics.functions.stale.Inc()
			return answer[faas.Function]{value: known.value, until: r.now().Add(briefly)}, nil
		}
		return asked, err
	})
	r.metrics.functions.asked(found.err, err)
	if err != nil {
		return faas.Function{}, unavailable(err)
	}
	return found.value, found.err
}

func (r *Registry) askFunction(ctx context.Context, ref faas.Ref) (answer[faas.Function], error) {
	f, err := r.store.FindFunction(ctx, ref)
	if err != nil && !faas.IsNotFound(err) {
		return answer[faas.Function]{}, fmt.Errorf("find function: %w", err)
	}
	f.Script.Source = ""
	return answer[faas.Function]{value: f, err: err, until: r.now().Add(briefly)}, nil
}

// FunctionChanged makes everybody ask again what a name stands for: call it after
// each change of a function, its versions or aliases, and after one that failed
// too, since the store may have made it without being able to say so. It returns
// when all hosts have acknowledged or after 900 ms, as Revoke does.
func (r *Registry) FunctionChanged(ctx context.Context, name faas.Name) {
	r.functions.DropAll(func(ref faas.Ref) bool { return ref.Name == name })
	r.await(ctx, r.hosts.publish(&controlpb.WatchResponse{ChangedFunctions: []string{name.Key()}}))
}

// FindScript returns a script by digest. Hosts remember scripts, control does not.
func (r *Registry) FindScript(ctx context.Context, digest faas.Digest) (faas.Script, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	s, err := r.store.FindScript(ctx, digest)
	if err != nil {
		return faas.Script{}, fmt.Errorf("find script: %w", unavailable(err))
	}
	return s, nil
}
