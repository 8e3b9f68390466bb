package api

import (
	"net/http"

	"envoke/internal/faas"
)

// userOf is who calls, where somebody checks that. Envoy strips the header from what
// callers send.
func userOf(r *http.Request) string { return r.Header.Get(faas.UserHeader) }

// may tells whether the caller may see or change what belongs to that user of that namespace.
func (a *api) may(r *http.Request, n faas.Namespace, user string) bool {
	return !a.Auth || a.callerOf(r).May(n, user)
}

func (a *api) callerOf(r *http.Request) faas.Caller {
	return faas.Caller{
		Namespace: faas.Namespace(r.Header.Get(faas.NamespaceHeader)), UserID: userOf(r),
		Scopes: faas.ScopesOf(r.Header.Get(faas.ScopesHeader)),
	}
}

// namespaceOf is what the request is about: the namespace of the caller, or another one that
// the query names, which only administrators of the default one may do.
func (a *api) namespaceOf(r *http.Request) (faas.Namespace, error) {
	caller := a.callerOf(r)
	if r.URL.RawQuery == "" {
		return caller.Namespace, nil
	}
	p, err := parseParameters(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	text, given := p.get("namespace")
	if p.err != nil || !given {
		return caller.Namespace, p.err
	}
	n, err := faas.ParseNamespace(text)
	if err != nil {
		return "", err
	}
	if n != caller.Namespace && a.Auth && !caller.Administers(n) {
		return "", faas.ErrOtherNamespace
	}
	return n, nil
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
	if f.UserID == "" && userOf(r) == "" && a.Auth || !a.may(r, name.Namespace, f.UserID) {
		return f, &faas.Error{Code: faas.Forbidden, Message: name.String() + " is another one's: only who registered it, or an administrator, may change it"}
	}
	return f, nil
}

// ownSession is the session, if it is the caller's own. That of another one does not exist.
func (a *api) ownSession(r *http.Request, id faas.SessionID) (faas.Session, error) {
	n, err := a.namespaceOf(r)
	if err != nil {
		return faas.Session{}, err
	}
	s, err := a.Store.FindSession(r.Context(), id)
	if err == nil && (s.Name.Namespace != n || !a.may(r, n, s.UserID)) {
		return faas.Session{}, faas.ErrNoSession
	}
	return s, err
}

// narrow keeps a listing to one namespace, and from showing sessions' scripts of others.
func (a *api) narrow(r *http.Request, q *faas.FunctionQuery) (err error) {
	if q.Namespace, err = a.namespaceOf(r); err != nil {
		return err
	}
	user := userOf(r)
	switch {
	case !a.Auth || a.callerOf(r).Administers(q.Namespace) || q.Type == faas.Predefined:
	case q.Type == "":
		q.Type = faas.Predefined
	case user == "" || q.UserID != "" && q.UserID != user:
		return &faas.Error{Code: faas.Forbidden, Message: "scripts of sessions are shown to their own users only"}
	default:
		q.UserID = user
	}
	return nil
}
