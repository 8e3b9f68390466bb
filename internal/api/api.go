// Package api is control's HTTP API: what reads and administers sessions and
// functions, and the health of the parts. Envoy routes to it as to any upstream.
package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"envoke/internal/faas"
)

// Store is what the API stands on.
type Store interface {
	Reader
	FunctionWriter
	VersionStore
	AliasStore
	AuditLog
	ConfigReader
	ConfigWriter
}

// Reader is what the API only reads.
type Reader interface {
	FindSession(context.Context, faas.SessionID) (faas.Session, error)
	FindFunction(context.Context, faas.Ref) (faas.Function, error)
	ListFunctions(context.Context, faas.FunctionQuery) (functions []faas.Function, total int, err error)
	Ping(context.Context) error
}

// FunctionWriter registers functions. What it returns is as stored.
type FunctionWriter interface {
	CreateFunction(context.Context, faas.Actor, faas.Function) (faas.Function, error)
	AddVersion(context.Context, faas.Actor, faas.Function) (faas.Function, error)
	DeleteFunction(context.Context, faas.Actor, faas.Name) error
}

// VersionStore lists versions and chooses the current one.
type VersionStore interface {
	ListVersions(context.Context, faas.Name) ([]faas.Version, error)
	SetCurrentVersion(ctx context.Context, by faas.Actor, name faas.Name, version int) error
}

// Secrets keeps secrets of owners. Its errors are *faas.Error where a caller is to know.
type Secrets interface {
	// Put sets the value of a secret, by its owner and name.
	Put(ctx context.Context, by faas.Actor, secret faas.Secret, value string) error
	List(ctx context.Context, owner string) ([]faas.Secret, error)
	Delete(ctx context.Context, by faas.Actor, owner, name string) error
	// Values leaves out what is not there.
	Values(ctx context.Context, owner string, names []string) (faas.Secrets, error)
}

// AliasStore keeps aliases.
type AliasStore interface {
	PutAlias(context.Context, faas.Actor, faas.Name, faas.Alias) (faas.Alias, error)
	ListAliases(context.Context, faas.Name) ([]faas.Alias, error)
	DeleteAlias(ctx context.Context, by faas.Actor, name faas.Name, alias string) error
}

// AuditLog tells who has changed what.
type AuditLog interface {
	ListAudit(context.Context, faas.AuditQuery) (entries []faas.AuditEntry, total int, err error)
}

// Keys makes and revokes API keys.
type Keys interface {
	// Create makes a key with a secret, which nobody can have again.
	Create(context.Context, faas.Actor, faas.APIKey) (key faas.APIKey, secret string, err error)
	List(context.Context, faas.KeyQuery) (keys []faas.APIKey, total int, err error)
	Revoke(ctx context.Context, by faas.Actor, namespace faas.Namespace, id string) error
}

// Options are what the API needs. All but OnPostgres, Redis and OpenFaaS are required.
type Options struct {
	Store  Store
	Keys   Keys
	Key    faas.SessionKey
	Revoke func(context.Context, faas.Actor, faas.SessionID) error // deletes a session everywhere
	// Changed returns when everybody asks again what the function's name stands for.
	Changed func(context.Context, faas.Name)
	// Select finds the function that a name means which the caller wrote there.
	Select func(place faas.Place, name string) (faas.Ref, error)
	Served faas.Served // what errors offer of languages
	// Check has code checked by who will run it, before it is stored; Hosts does.
	Check func(ctx context.Context, requestID string, f faas.Function, environment *faas.Resolved) error
	// Secrets keeps those of callers, and of functions' owners.
	Secrets Secrets
	// Runtimes are the states of the runtimes in use: "ok", "degraded" or "down".
	// It must return when its context ends.
	Runtimes func(context.Context) map[faas.Language]string
	Auth     bool // callers are checked, and change only what is theirs
	// Exposed says that others than this machine can call, and nobody checks them.
	Exposed bool
	// Routes are those that are declared.
	Routes     Routes
	OnPostgres bool // the store is a PostgreSQL, a part of its own in /health
	// Redis tells whether Redis answers; nil: there is none.
	Redis func(context.Context) error
	// OpenFaaS is the state of its gateway, "ok", "degraded" or "down"; nil: there is none.
	OpenFaaS  func() string
	MaxScript int // bytes of script_content
	MaxModule int // bytes of a WebAssembly module, which comes in base64
	Version   string
	Failed    func(faas.Failure) // hears of each request that is answered by an error
	Logger    *slog.Logger
}

type api struct{ Options }

// routes is every path of the API with the methods that it takes.
func (a *api) routes() map[string]methods {
	return map[string]methods{
		"/api/v1/sessions/{id}": {http.MethodGet: a.showSession, http.MethodDelete: a.deleteSession},

		"/api/v1/functions":        {http.MethodGet: a.listFunctions, http.MethodPost: a.createFunction},
		"/api/v1/functions/{name}": {http.MethodGet: a.showFunction, http.MethodPut: a.updateFunction, http.MethodDelete: a.deleteFunction},

		"/api/v1/functions/{name}/versions":        {http.MethodGet: a.listVersions},
		"/api/v1/functions/{name}/rollback":        {http.MethodPost: a.rollback},
		"/api/v1/functions/{name}/aliases":         {http.MethodGet: a.listAliases},
		"/api/v1/functions/{name}/aliases/{alias}": {http.MethodPut: a.putAlias, http.MethodDelete: a.deleteAlias},

		"/api/v1/keys":      {http.MethodGet: a.listKeys, http.MethodPost: a.createKey},
		"/api/v1/keys/{id}": {http.MethodDelete: a.revokeKey},
		"/api/v1/audit":     {http.MethodGet: a.listAudit},

		"/api/v1/config":                    {http.MethodGet: a.showConfig, http.MethodPut: a.putConfig},
		"/api/v1/config/versions":           {http.MethodGet: a.listConfigs},
		"/api/v1/config/versions/{version}": {http.MethodGet: a.showConfigVersion},
		"/api/v1/config/rollback":           {http.MethodPost: a.rollbackConfig},

		"/api/v1/secrets":        {http.MethodGet: a.listSecrets},
		"/api/v1/secrets/{name}": {http.MethodPut: a.putSecret, http.MethodDelete: a.deleteSecret},

		"/health":              {http.MethodGet: a.health},
		"/api/v1/openapi.json": {http.MethodGet: a.document},
		"/":                    nil,
	}
}

// New makes the handler.
func New(o Options) http.Handler {
	a := &api{o}
	mux := http.NewServeMux()
	for pattern, methods := range a.routes() {
		mux.Handle(pattern, a.handler(methods))
	}
	return mux
}

// endpoint answers one request. It returns a value for the body, or nil for none;
// what it returns as an error becomes the error's JSON.
type endpoint func(*http.Request) (status int, body any, err error)

// methods are the endpoints of one path. GET answers HEAD too.
type methods map[string]endpoint

func (m methods) find(method string) (endpoint, error) {
	if m == nil {
		return nil, &faas.Error{Code: faas.NotFound, Message: "no such path"}
	}
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if e := m[method]; e != nil {
		return e, nil
	}
	return nil, &faas.Error{
		Code: faas.InvalidRequest, Status: http.StatusMethodNotAllowed,
		Message: "this path does not take that method; the Allow header lists those that it takes",
	}
}

func (m methods) String() string {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if _, err := m.find(method); err == nil {
			allowed = append(allowed, method)
		}
	}
	return strings.Join(allowed, ", ")
}

func (a *api) handler(m methods) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body, err := a.run(m, r)
		if status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", m.String())
		}
		if err != nil {
			a.writeError(w, r, err)
			return
		}
		a.write(w, r, status, body)
	})
}

// run finds and runs the endpoint. A panic is an error of this request alone.
func (a *api) run(m methods, r *http.Request) (status int, body any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if len(r.Header.Get(faas.UserHeader)) > faas.MaxUser {
		return faas.ErrLongUser.HTTPStatus(), nil, faas.ErrLongUser
	}
	if !faas.Namespace(r.Header.Get(faas.NamespaceHeader)).Valid() { // Envoy has let none such pass
		return http.StatusForbidden, nil, faas.ErrOtherNamespace
	}
	e, err := m.find(r.Method)
	if err != nil {
		return faas.AsError(err).HTTPStatus(), nil, err
	}
	return e(r)
}
