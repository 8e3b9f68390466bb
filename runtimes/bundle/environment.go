package bundle

import (
	"maps"

	"envoke/internal/faas"
)

// Variables are the environment of a worker with the values of its secrets, as they were after
// so many changes of secrets. They are in memory only.
type Variables struct {
	*faas.Resolved

	secret  bool // it stands on secrets
	changes uint64
}

func newVariables(e faas.Environment, secrets faas.Secrets, changes uint64) Variables {
	return Variables{Resolved: e.Resolve(secrets), secret: len(e.Secrets()) > 0, changes: changes}
}

// Equal tells whether a worker finds the same in both.
func (v Variables) Equal(other Variables) bool { return v.ID() == other.ID() }

// current tells whether no secret has changed since.
func (b *Bundles) current(v Variables) bool { return !v.secret || v.changes == b.secretChanges.Load() }

// through is a version that an alias has picked, with what the alias adds to its environment.
func (h heldFunction) through(alias heldFunction) heldFunction {
	if len(alias.function.AliasEnvironment) == 0 {
		return h
	}
	h.function.AliasEnvironment = alias.function.AliasEnvironment
	secrets := maps.Clone(alias.secrets)
	if secrets == nil {
		secrets = h.secrets
	} else {
		maps.Copy(secrets, h.secrets)
	}
	h.variables = newVariables(h.function.Variables(), secrets, min(h.variables.changes, alias.variables.changes))
	return h
}
