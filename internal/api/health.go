package api

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"envoke/internal/faas"
)

// healthTimeout bounds the time that the store has to answer, and that the
// runtimes have.
const healthTimeout = time.Second

// The states of a part.
const (
	stateOK       = "ok"
	degraded      = "degraded"
	down          = "down"
	notConfigured = "not_configured"
)

type healthReply struct {
	Status     string     `json:"status"`
	Version    string     `json:"version"`
	Components components `json:"components"`
}

type components struct {
	Controller string                   `json:"controller"` // SQLite is part of it
	Redis      string                   `json:"redis"`
	Postgres   string                   `json:"postgres"`
	Runtimes   map[faas.Language]string `json:"runtimes"`
	OpenFaaS   string                   `json:"openfaas,omitempty"` // empty: there is none
}

func (a *api) health(r *http.Request) (int, any, error) {
	c := components{
		Controller: stateOK,
		Redis:      notConfigured,
		Postgres:   notConfigured,
		Runtimes:   a.runtimes(r.Context()),
	}
	if a.Redis != nil {
		c.Redis = a.redis(r)
	}
	if a.OpenFaaS != nil {
		c.OpenFaaS = a.OpenFaaS()
	}
	if a.OnPostgres {
		c.Postgres = a.store(r)
	} else {
		c.Controller = a.store(r)
	}
	reply := healthReply{Status: c.status(), Version: a.Version, Components: c}
	if reply.Status == down {
		return http.StatusServiceUnavailable, reply, nil
	}
	return http.StatusOK, reply, nil
}

func (a *api) store(r *http.Request) string {
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	if err := a.Store.Ping(ctx); err != nil {
		a.Logger.Error("the store does not answer", "request_id", r.Header.Get("X-Request-ID"), "error", err)
		return down
	}
	return stateOK
}

func (a *api) redis(r *http.Request) string {
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	if err := a.Redis(ctx); err != nil {
		a.Logger.Warn("Redis does not answer", "request_id", r.Header.Get("X-Request-ID"), "error", err)
		return down
	}
	return stateOK
}

// runtimes are the states of all languages, of those not in use too unless they are
// optional.
func (a *api) runtimes(ctx context.Context) map[faas.Language]string {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	known := a.Runtimes(ctx)
	all := make(map[faas.Language]string)
	for _, language := range faas.Languages() {
		if known[language] != "" || !language.Optional() {
			all[language] = cmp.Or(known[language], notConfigured)
		}
	}
	return all
}

// status is that of the whole: down without control or JavaScript, which every
// installation has; degraded where another part is not what it should be. Without
// PostgreSQL what is known is served on, and without Redis all, more slowly; without OpenFaaS
// all that is ours.
func (c components) status() string {
	if c.Controller == down || c.Runtimes[faas.NodeJS] == down {
		return down
	}
	if c.Postgres == down || c.Redis == down || c.OpenFaaS == down || c.OpenFaaS == degraded {
		return degraded
	}
	for _, state := range c.Runtimes {
		if state == degraded || state == down {
			return degraded
		}
	}
	return stateOK
}
