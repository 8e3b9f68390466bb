package api

import (
	"net/http"

	"envoke/internal/faas"
)

// userOf is who calls, where somebody checks that. Envoy strips the header from what
// callers send.
func userOf(r *http.Request) string { return r.Header.Get(faas.UserHeader) }

// may tells whether the caller may see or change what belongs to that user.
func (a *api) may(r *http.Request, owner string) bool {
	return !a.Auth || a.callerOf(r).May(owner)
}

func (a *api) callerOf(r *http.Request) faas.Caller {
	return faas.Caller{UserID: userOf(r), Scopes: faas.ScopesOf(r.Header.Get(faas.ScopesHeader))}
}

// mayChange checks that the function is the caller's to change.
func (a *api) mayChange(r *http.Request, name faas.Name) error {
	_, err := a.toChange(r, name)
	return err
}

// toChange is the function, if it is the caller's to change. That of nobody, which was there
// before callers were checked, is the administrators'.
func (a *api) toChange(r *http.Request, name faas.Name) (faas.Function, error) {
	f, err := a.Store.FindFunction(r.Context(), faas.Ref{Name: name})
	if err != nil {
		return f, err
	}
	if f.UserID == "" && userOf(r) == "" && a.Auth || !a.may(r, f.UserID) {
		return f, &faas.Error{Code: faas.Forbidden, Message: name.String() + " is another one's: only who registered it, or an administrator, may change it"}
	}
	return f, nil
}

// ownSession is the session, if it is the caller's own. That of another one does not exist.
func (a *api) ownSession(r *http.Request, id faas.SessionID) (faas.Session, error) {
	s, err := a.Store.FindSession(r.Context(), id)
	if err == nil && !a.may(r, s.UserID) {
		return faas.Session{}, faas.ErrNoSession
	}
	return s, err
}

// narrow keeps a listing from showing sessions' scripts of others.
func (a *api) narrow(r *http.Request, q *faas.FunctionQuery) error {
	user := userOf(r)
	switch {
	case !a.Auth || a.callerOf(r).Scopes.Allow(faas.Admin) || q.Type == faas.Predefined:
	case q.Type == "":
		q.Type = faas.Predefined
	case user == "" || q.UserID != "" && q.UserID != user:
		return &faas.Error{Code: faas.Forbidden, Message: "scripts of sessions are shown to their own users only"}
	default:
		q.UserID = user
	}
	return nil
}
