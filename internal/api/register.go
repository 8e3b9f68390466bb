package api

import (
	"context"
	"net/http"

	"envoke/internal/faas"
	"envoke/internal/strict"
)

// createFunction registers a function under a name that is free.
func (a *api) createFunction(r *http.Request) (int, any, error) {
	var d definition
	if err := readBody(r, a.maxDefinition(), &d); err != nil {
		return 0, nil, err
	}
	name, err := d.name(a.Served)
	if err == nil {
		name.Namespace, err = a.namespaceOf(r)
	}
	if err != nil {
		return 0, nil, err
	}
	f, err := d.function(name)
	if err != nil {
		return 0, nil, err
	}
	// A name that is taken should not cost a compilation; the store has the last word.
	if _, err := a.Store.FindFunction(r.Context(), faas.Ref{Name: name}); err == nil {
		return 0, nil, &faas.Error{Code: faas.Conflict, Message: "a function is registered as " + name.String() + " already: PUT makes a new version of it"}
	}
	stored, err := a.put(r, f, faas.OwnerOf(name.Namespace, userOf(r)), a.Store.CreateFunction)
	return http.StatusCreated, stored, err
}

// updateFunction adds a version, which replaces all that the function was described
// by.
func (a *api) updateFunction(r *http.Request) (int, any, error) {
	name, err := a.nameOf(r)
	if err != nil {
		return 0, nil, err
	}
	var d definition
	if err := readBody(r, a.maxDefinition(), &d); err != nil {
		return 0, nil, err
	}
	if err := d.agreesWith(name); err != nil {
		return 0, nil, err
	}
	f, err := d.function(name)
	if err != nil {
		return 0, nil, err
	}
	known, err := a.toChange(r, name)
	if err != nil {
		return 0, nil, err
	}
	stored, err := a.put(r, f, known.SecretOwner(), a.Store.AddVersion)
	return http.StatusOK, stored, err
}

// put has the code checked before it stores it, with the secrets of the function's owner.
func (a *api) put(r *http.Request, f faas.Function, owner string, store func(context.Context, faas.Actor, faas.Function) (faas.Function, error)) (any, error) {
	f.UserID = userOf(r)
	environment, err := a.resolve(r, owner, f.Environment)
	if err != nil {
		return nil, err
	}
	if err := a.Check(r.Context(), r.Header.Get("X-Request-ID"), f, environment); err != nil {
		return nil, err
	}
	stored, err := store(r.Context(), a.actorOf(r), f)
	a.changed(r, f.Name, err)
	return newFunction(stored), err
}

// deleteFunction deletes a function with its versions and aliases. Sessions that run
// it go on until they expire.
func (a *api) deleteFunction(r *http.Request) (int, any, error) {
	name, err := a.nameOf(r)
	if err != nil {
		return 0, nil, err
	}
	if err := a.mayChange(r, name); err != nil {
		return 0, nil, err
	}
	err = a.Store.DeleteFunction(r.Context(), a.actorOf(r), name)
	a.changed(r, name, err)
	return http.StatusNoContent, nil, err
}

// changed tells everybody, unless the store has said that nothing changed. After
// another error it may have, without being able to say so.
func (a *api) changed(r *http.Request, name faas.Name, err error) {
	if err == nil || faas.AsError(err).HTTPStatus() >= http.StatusInternalServerError {
		a.Changed(r.Context(), name)
	}
}

// name is the name that the body of a POST gives.
func (d *definition) name(served faas.Served) (faas.Name, error) {
	if d.Language == nil {
		return faas.Name{}, strict.BadMember("language", "is missing: send "+served.Either(""))
	}
	if d.Title == nil {
		return faas.Name{}, strict.BadMember("title", "is missing: the function will be called <language>-<title>")
	}
	return faas.Name{Language: *d.Language, Title: *d.Title}, d.checkName(served)
}

// agreesWith checks that a body that names its function names the one in the path.
func (d *definition) agreesWith(name faas.Name) error {
	if d.Language != nil && *d.Language != name.Language {
		return strict.BadMember("language", "is not that of the path: a function keeps its name")
	}
	if d.Title != nil && *d.Title != name.Title {
		return strict.BadMember("title", "is not that of the path: a function keeps its name")
	}
	return nil
}

func (d *definition) checkName(served faas.Served) error {
	if !d.Language.Known() {
		return strict.BadMember("language", "must be "+served.Either(""))
	}
	if err := faas.CheckTitle(*d.Title); err != nil {
		e := faas.AsError(err)
		e.Details = map[string]any{"member": "title"}
		return e
	}
	return nil
}

// refOf is the function in the path, of the request's namespace. What lists show is always
// understood; other names as those who call functions write them.
func (a *api) refOf(r *http.Request) (faas.Ref, error) {
	n, err := a.namespaceOf(r)
	if err != nil {
		return faas.Ref{}, err
	}
	name := r.PathValue("name")
	ref, err := faas.ParseRef(name)
	if err != nil {
		ref, err = a.Select(faas.InPath, name)
	}
	return ref.In(n), err
}

// nameOf is the function in the path, which is changed as a whole: by its bare name.
func (a *api) nameOf(r *http.Request) (faas.Name, error) {
	ref, err := a.refOf(r)
	if err == nil && !ref.Bare() {
		err = &faas.Error{Code: faas.InvalidRequest, Message: "only reading takes a version or alias: name the function alone, as " + ref.Name.String()}
	}
	return ref.Name, err
}
