package registry

import (
	"context"
	"fmt"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
)

// secretsOf are the values of those secrets that an environment stands on, for the host that
// runs the function of that owner. Control remembers none.
func (r *Registry) secretsOf(ctx context.Context, owner string, e faas.Environment) (map[string]string, error) {
	names := e.Secrets()
	if len(names) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	values, err := r.secrets(ctx, owner, names)
	if err != nil {
		return nil, fmt.Errorf("find secrets: %w", unavailable(err))
	}
	return values, nil
}

// SecretsChanged has hosts ask again what stands on secrets. It returns when all have
// acknowledged or after 900 ms, as Revoke does.
func (r *Registry) SecretsChanged(ctx context.Context) {
	r.await(ctx, r.hosts.publish(&controlpb.WatchResponse{ChangedSecrets: true}))
}
