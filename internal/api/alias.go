package api

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"envoke/internal/faas"
	"envoke/internal/strict"
)

type alias struct {
	Alias   string      `json:"alias"`
	Version int         `json:"version"`
	Weights map[int]int `json:"weights"`
	// Environment is what it adds to that of the version.
	Environment shownEnvironment `json:"environment"`
	CreatedAt   time.Time        `json:"created_at"`
	UpdatedAt   time.Time        `json:"updated_at"`
	UpdatedBy   *string          `json:"updated_by"`
}

type aliasList struct {
	Aliases []alias `json:"aliases"`
}

func newAlias(a faas.Alias) alias {
	weights := maps.Clone(a.Weights)
	if weights == nil {
		weights = map[int]int{} // {} for none
	}
	return alias{
		Alias: a.Name, Version: a.Version, Weights: weights, Environment: showEnvironment(a.Environment),
		CreatedAt: a.CreatedAt.UTC(), UpdatedAt: a.UpdatedAt.UTC(), UpdatedBy: orNull(a.UserID),
	}
}

func (a *api) listAliases(r *http.Request) (int, any, error) {
	name, err := a.nameOf(r)
	if err != nil {
		return 0, nil, err
	}
	aliases, err := a.Store.ListAliases(r.Context(), name)
	if err != nil {
		return 0, nil, err
	}
	list := aliasList{Aliases: make([]alias, len(aliases))}
	for i := range aliases {
		list.Aliases[i] = newAlias(aliases[i])
	}
	return http.StatusOK, list, nil
}

// putAlias sets an alias, a new one or one that exists.
func (a *api) putAlias(r *http.Request) (int, any, error) {
	name, err := a.nameOf(r)
	if err != nil {
		return 0, nil, err
	}
	title := r.PathValue("alias")
	if err := faas.CheckAlias(title); err != nil {
		return 0, nil, err
	}
	var body struct {
		Version     *int           `json:"version"`
		Weights     map[int]int    `json:"weights"`
		Environment jsontext.Value `json:"environment"`
	}
	if err := readBody(r, smallBody, &body); err != nil {
		return 0, nil, err
	}
	if err := checkVersion("version", body.Version); err != nil {
		return 0, nil, err
	}
	if err := checkWeights(*body.Version, body.Weights); err != nil {
		return 0, nil, err
	}
	environment, err := parseEnvironment(body.Environment)
	if err != nil {
		return 0, nil, err
	}
	f, err := a.toChange(r, name)
	if err != nil {
		return 0, nil, err
	}
	if _, err := a.resolve(r, f.SecretOwner(), environment); err != nil {
		return 0, nil, err
	}
	stored, err := a.Store.PutAlias(r.Context(), a.actorOf(r), name, faas.Alias{
		Name: title, Version: *body.Version, Weights: body.Weights, Environment: environment, UserID: userOf(r),
	})
	a.changed(r, name, err)
	return http.StatusOK, newAlias(stored), err
}

// checkWeights checks the percentages of calls that go to other versions than the
// alias' own, which gets the rest.
func checkWeights(own int, weights map[int]int) error {
	sum := 0
	for _, other := range slices.Sorted(maps.Keys(weights)) {
		member := fmt.Sprint("weights.", other)
		if err := checkVersion(member, &other); err != nil {
			return err
		}
		if other == own {
			return strict.BadMember(member, "is the alias' own version, which gets what the others leave")
		}
		percent := weights[other]
		if err := between(member, &percent, 1, 100); err != nil {
			return err
		}
		sum += percent
	}
	if sum > 100 {
		return strict.BadMember("weights", fmt.Sprintf("sum up to %d per cent: 100 is all", sum))
	}
	return nil
}

func (a *api) deleteAlias(r *http.Request) (int, any, error) {
	name, err := a.nameOf(r)
	if err != nil {
		return 0, nil, err
	}
	if err := a.mayChange(r, name); err != nil {
		return 0, nil, err
	}
	err = a.Store.DeleteAlias(r.Context(), a.actorOf(r), name, r.PathValue("alias"))
	a.changed(r, name, err)
	return http.StatusNoContent, nil, err
}
