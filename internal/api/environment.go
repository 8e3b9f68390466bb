package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"envoke/internal/faas"
	"envoke/internal/strict"
)

// parseEnvironment reads the member of that name. Nil: nothing was said.
func parseEnvironment(raw jsontext.Value) (faas.Environment, error) {
	if orNil(raw) == nil {
		return nil, nil
	}
	var entries map[string]jsontext.Value
	if err := strict.Decode(raw, "environment", &entries); err != nil {
		return nil, strict.BadMember("environment", "must be an object: of texts, and of {\"secret\":\"NAME\"}")
	}
	e := make(faas.Environment, len(entries))
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		variable, err := parseVariable(fmt.Sprintf("environment.%.128s", name), entries[name])
		if err != nil {
			return nil, err
		}
		e[name] = variable
	}
	return e, e.Check()
}

func parseVariable(member string, raw jsontext.Value) (v faas.Variable, err error) {
	switch raw.Kind() {
	case '"':
		err = json.Unmarshal(raw, &v.Text)
		return v, err
	case 'n':
		return v, strict.BadMember(member, "is null: texts are not shown, so send it again")
	case '{':
		var of struct {
			Secret string `json:"secret"`
		}
		if err := strict.Decode(raw, member, &of); err != nil {
			return v, err
		}
		if of.Secret == "" {
			return v, strict.BadMember(member+".secret", "is no name of a secret: "+faas.SecretNames)
		}
		return faas.Variable{Secret: of.Secret}, nil
	}
	return v, strict.BadMember(member, "must be a text, or {\"secret\":\"NAME\"}")
}

// shownEnvironment is what others may know of an environment: its names and those of its
// secrets. A text is null.
type shownEnvironment map[string]*shownVariable

type shownVariable struct {
	Secret string `json:"secret"`
}

func showEnvironment(e faas.Environment) shownEnvironment {
	shown := make(shownEnvironment, len(e)) // {} for none
	for name, variable := range e {
		shown[name] = nil
		if variable.Secret != "" {
			shown[name] = &shownVariable{variable.Secret}
		}
	}
	return shown
}

// resolve finds the values of the secrets that an environment of that owner's function stands
// on. The error is one of a registration: of a secret that is not there, too.
func (a *api) resolve(r *http.Request, owner string, e faas.Environment) (*faas.Resolved, error) {
	names := e.Secrets()
	if len(names) == 0 {
		return e.Resolve(nil), nil
	}
	if a.Auth && faas.UserOf(owner) == "" && !a.callerOf(r).Scopes.Allow(faas.Admin) {
		return nil, errNobodysSecrets
	}
	values, err := a.Secrets.Values(r.Context(), owner, names)
	if err != nil {
		return nil, err
	}
	resolved := e.Resolve(values)
	if err := resolved.Err(); err != nil {
		wrong := *faas.AsError(err)
		wrong.Code, wrong.Status = faas.InitializationError, http.StatusUnprocessableEntity
		return nil, &wrong
	}
	return resolved, nil
}

// errNobodysSecrets keeps what was set before callers were checked from those who do not say
// who they are.
var errNobodysSecrets = &faas.Error{Code: faas.Forbidden, Message: "secrets are somebody's here: say who calls"}
