package api

import (
	"fmt"
	"net/http"
	"time"

	"envoke/internal/faas"
	"envoke/internal/strict"
)

type version struct {
	Version   int         `json:"version"`
	Digest    faas.Digest `json:"digest"`
	CreatedAt time.Time   `json:"created_at"`
	CreatedBy *string     `json:"created_by"`
	IsCurrent bool        `json:"is_current"`
	Aliases   []string    `json:"aliases"`
}

type versionList struct {
	Versions []version `json:"versions"`
}

// listVersions lists all versions, newest first.
func (a *api) listVersions(r *http.Request) (int, any, error) {
	name, err := a.nameOf(r)
	if err != nil {
		return 0, nil, err
	}
	versions, err := a.Store.ListVersions(r.Context(), name)
	if err != nil {
		return 0, nil, err
	}
	list := versionList{Versions: make([]version, len(versions))}
	for i, v := range versions {
		list.Versions[i] = version{
			Version: v.Number, Digest: v.Digest, CreatedAt: v.CreatedAt.UTC(), CreatedBy: orNull(v.UserID),
			IsCurrent: v.Current, Aliases: append([]string{}, v.Aliases...), // [] for none
		}
	}
	return http.StatusOK, list, nil
}

// rollback makes a version that exists the current one. It makes no new version:
// the number keeps saying which code runs.
func (a *api) rollback(r *http.Request) (int, any, error) {
	name, err := a.nameOf(r)
	if err != nil {
		return 0, nil, err
	}
	var body struct {
		Version *int `json:"version"`
	}
	if err := readBody(r, smallBody, &body); err != nil {
		return 0, nil, err
	}
	if err := checkVersion("version", body.Version); err != nil {
		return 0, nil, err
	}
	if err := a.mayChange(r, name); err != nil {
		return 0, nil, err
	}
	err = a.Store.SetCurrentVersion(r.Context(), a.actorOf(r), name, *body.Version)
	a.changed(r, name, err)
	if err != nil {
		return 0, nil, err
	}
	f, err := a.Store.FindFunction(r.Context(), faas.Ref{Name: name, Version: *body.Version})
	return http.StatusOK, newFunction(f), err
}

func checkVersion(member string, number *int) error {
	if number == nil {
		return strict.BadMember(member, "is missing: send the number of a version")
	}
	if *number < 1 || *number > faas.MaxVersion {
		return strict.BadMember(member, fmt.Sprintf("must be a whole number from 1 to %d", faas.MaxVersion))
	}
	return nil
}
