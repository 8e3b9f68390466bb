package registry

import (
	"context"
	"fmt"

	"envoke/internal/faas"
)

func functionSize(a answer[faas.Function]) int64 {
	return entrySize + int64(len(a.value.Schema)+len(a.value.Examples)+len(a.value.Description))
}

// FindFunction returns the current version of a registered function without its
// source, which FindScript has. The answer may be a second old.
func (r *Registry) FindFunction(ctx context.Context, name faas.Name) (faas.Function, error) {
	if known, ok := r.functions.Held(name); ok && r.now().Before(known.until) {
		r.metrics.functions.memory.Inc()
		return known.value, known.err
	}
	found, err := r.functions.Find(ctx, name, storeTimeout, func(ctx context.Context) (answer[faas.Function], error) {
		return r.askFunction(ctx, name)
	})
	r.metrics.functions.asked(found.err, err)
	if err != nil {
		return faas.Function{}, unavailable(err)
	}
	return found.value, found.err
}

func (r *Registry) askFunction(ctx context.Context, name faas.Name) (answer[faas.Function], error) {
	f, err := r.store.FindFunction(ctx, name)
	if err != nil && !faas.IsNotFound(err) {
		return answer[faas.Function]{}, fmt.Errorf("find function: %w", err)
	}
	f.Script.Source = ""
	return answer[faas.Function]{value: f, err: err, until: r.now().Add(briefly)}, nil
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
