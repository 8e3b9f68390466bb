package registry

import (
	"envoke/internal/controlpb"
	"envoke/internal/faas"
)

// Heard takes what some control on the same store has changed, this one too: it remembers
// nothing of it any more, and tells its hosts. It waits for nobody.
func (r *Registry) Heard(c faas.Change) {
	if c.Began || c.Key != "" || c.Config {
		return // nothing, or nothing that is remembered here
	}
	r.metrics.heard.Inc()
	switch {
	case c.All:
		r.functions.DropAll(func(faas.Ref) bool { return true })
		r.sessions.DropAll(func(faas.SessionID) bool { return true })
		r.hosts.anew()
	case c.Secrets:
		r.hosts.publish(&controlpb.WatchResponse{ChangedSecrets: true})
	case c.Session != "":
		r.sessions.Drop(c.Session)
		r.hosts.publish(&controlpb.WatchResponse{RevokedSessions: []string{string(c.Session)}})
	default:
		r.functions.DropAll(func(ref faas.Ref) bool { return ref.Name == c.Function })
		r.hosts.publish(&controlpb.WatchResponse{ChangedFunctions: []string{c.Function.Key()}})
	}
}
