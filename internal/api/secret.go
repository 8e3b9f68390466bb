package api

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"envoke/internal/faas"
	"envoke/internal/strict"
)

// maxSecretBody bounds the body that sets a secret, in bytes: a value that is escaped as
// wasteful as JSON allows.
const maxSecretBody = int64(faas.MaxSecret*escaped + 1024)

// secret is all that is shown of one.
type secret struct {
	Name      string    `json:"name"`
	Owner     *string   `json:"owner"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

type secretList struct {
	Secrets []secret `json:"secrets"`
}

// listSecrets lists the caller's own.
func (a *api) listSecrets(r *http.Request) (int, any, error) {
	owner, err := a.secretOwner(r)
	if err != nil {
		return 0, nil, err
	}
	found, err := a.Secrets.List(r.Context(), owner)
	if err != nil {
		return 0, nil, err
	}
	list := secretList{Secrets: make([]secret, len(found))}
	for i, s := range found {
		list.Secrets[i] = secret{Name: s.Name, Owner: orNull(faas.UserOf(s.Owner)), CreatedAt: s.CreatedAt.UTC(), UpdatedAt: s.UpdatedAt.UTC()}
	}
	return http.StatusOK, list, nil
}

// putSecret sets a secret of the caller's, a new one or one that exists. Errors never hold what
// was sent: it may be the value.
func (a *api) putSecret(r *http.Request) (int, any, error) {
	owner, name, err := a.secretOf(r)
	if err != nil {
		return 0, nil, err
	}
	var body struct {
		Value *string `json:"value"`
	}
	if err := readBody(r, maxSecretBody, &body); err != nil {
		return 0, nil, err
	}
	switch value := body.Value; {
	case value == nil:
		return 0, nil, strict.BadMember("value", "is missing: send the secret's text there")
	case len(*value) > faas.MaxSecret:
		return 0, nil, strict.BadMember("value", fmt.Sprintf("is longer than %d bytes", faas.MaxSecret))
	case strings.ContainsRune(*value, 0):
		return 0, nil, strict.BadMember("value", "has a NUL in it, which no environment can have")
	}
	return http.StatusNoContent, nil, a.Secrets.Put(r.Context(), a.actorOf(r), faas.Secret{Owner: owner, Name: name}, *body.Value)
}

// errOthersSecrets is the answer to who names another namespace than its own.
var errOthersSecrets = &faas.Error{Code: faas.Forbidden, Message: "secrets are set by their own users only: they are not had by ?namespace"}

// secretOwner is the caller, who must be somebody where callers are checked.
func (a *api) secretOwner(r *http.Request) (string, error) {
	caller := a.callerOf(r)
	if a.Auth && caller.UserID == "" {
		return "", errNobodysSecrets
	}
	switch n, err := a.namespaceOf(r); {
	case err != nil:
		return "", err
	case n != caller.Namespace:
		return "", errOthersSecrets
	}
	return caller.Owner(), nil
}

// secretOf is the caller's secret that the path names.
func (a *api) secretOf(r *http.Request) (owner, name string, err error) {
	name = r.PathValue("name")
	if !faas.IsSecretName(name) {
		return "", "", &faas.Error{Code: faas.InvalidRequest, Message: "the path ends with no name of a secret: " + faas.SecretNames}
	}
	owner, err = a.secretOwner(r)
	return owner, name, err
}

// deleteSecret deletes a secret of the caller's. That of another one does not exist.
func (a *api) deleteSecret(r *http.Request) (int, any, error) {
	owner, name, err := a.secretOf(r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, a.Secrets.Delete(r.Context(), a.actorOf(r), owner, name)
}
