package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"envoke/internal/faas"
	"envoke/internal/strict"
)

const (
	maxKeyName = 128                  // bytes
	maxKeyLife = 10 * 365 * 24 * 3600 // seconds
)

type apiKey struct {
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Namespace  string          `json:"namespace"`
	UserID     string          `json:"user_id"`
	Scopes     []faas.Scope    `json:"scopes"`
	Languages  []faas.Language `json:"languages"` // null: all
	CreatedAt  time.Time       `json:"created_at"`
	CreatedBy  *string         `json:"created_by"`
	ExpiresAt  *time.Time      `json:"expires_at"`
	LastUsedAt *time.Time      `json:"last_used_at"`
	RevokedAt  *time.Time      `json:"revoked_at"`
}

// newAPIKey is a key with its secret, which is in this reply and nowhere else.
type newAPIKey struct {
	apiKey

	Secret string `json:"secret"`
}

func (newAPIKey) private() {}

type apiKeyList struct {
	Keys    []apiKey `json:"keys"`
	Total   int      `json:"total"`
	Page    int      `json:"page"`
	PerPage int      `json:"per_page"`
}

func showKey(k *faas.APIKey) apiKey {
	var languages []faas.Language // null for none, which is all
	languages = append(languages, k.Languages...)
	return apiKey{
		ID: k.ID, Name: k.Name, Namespace: k.Namespace.String(), UserID: k.UserID, Scopes: append([]faas.Scope{}, k.Scopes...), Languages: languages,
		CreatedAt: k.CreatedAt.UTC(), CreatedBy: orNull(k.CreatedBy), ExpiresAt: orNull(k.ExpiresAt.UTC()),
		LastUsedAt: orNull(k.LastUsedAt.UTC()), RevokedAt: orNull(k.RevokedAt.UTC()),
	}
}

// keyDefinition is the body that makes a key.
type keyDefinition struct {
	Name      *string         `json:"name"`
	UserID    *string         `json:"user_id"`
	Scopes    []faas.Scope    `json:"scopes"`
	Languages []faas.Language `json:"languages"`
	ExpiresIn *int            `json:"expires_in_seconds"`
}

func (a *api) createKey(r *http.Request) (int, any, error) {
	if !a.Auth { // who could make one without a right to would have it later, with AUTH
		return 0, nil, &faas.Error{Code: faas.Forbidden, Message: "this installation does not check who calls, so anybody could make a key of any rights: start it with AUTH and ADMIN_KEY, and make keys with that"}
	}
	var d keyDefinition
	if err := readBody(r, smallBody, &d); err != nil {
		return 0, nil, err
	}
	if err := d.check(); err != nil {
		return 0, nil, err
	}
	n, err := a.namespaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	key := faas.APIKey{Name: *d.Name, Namespace: n, UserID: *d.UserID, Scopes: d.Scopes, Languages: d.Languages, CreatedBy: userOf(r)}
	if d.ExpiresIn != nil {
		key.ExpiresAt = time.Now().Add(time.Duration(*d.ExpiresIn) * time.Second)
	}
	if len(key.Caller().Scopes) == 0 {
		return 0, nil, strict.BadMember("languages", "have none of the languages of scopes: the key could do nothing")
	}
	key, secret, err := a.Keys.Create(r.Context(), a.actorOf(r), key)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, newAPIKey{showKey(&key), secret}, nil
}

func (d *keyDefinition) check() error {
	if err := checkText("name", d.Name, maxKeyName); err != nil {
		return err
	}
	if err := checkText("user_id", d.UserID, faas.MaxUser); err != nil {
		return err
	}
	if !faas.ValidUser(*d.UserID) {
		return strict.BadMember("user_id", "must be printable ASCII, since Envoy sends it in a header")
	}
	if err := checkList("scopes", d.Scopes, faas.AllScopes()); err != nil {
		return err
	}
	if d.Scopes == nil {
		return strict.BadMember("scopes", fmt.Sprintf("is missing: the scopes are %s", faas.Scopes(faas.AllScopes())))
	}
	if err := checkList("languages", d.Languages, faas.Languages()); err != nil {
		return err
	}
	if d.Languages != nil && slices.Contains(d.Scopes, faas.Admin) {
		return strict.BadMember("languages", "means nothing beside the scope admin, which has all rights")
	}
	return between("expires_in_seconds", d.ExpiresIn, 1, maxKeyLife)
}

// checkText refuses what could not be sent as a header, or be read by people.
func checkText(member string, text *string, most int) error {
	switch {
	case text == nil:
		return strict.BadMember(member, "is missing")
	case *text == "" || len(*text) > most || *text != strings.TrimSpace(*text) || !utf8.ValidString(*text) || strings.ContainsFunc(*text, unicode.IsControl):
		return strict.BadMember(member, fmt.Sprintf("must be text of 1 to %d bytes without control characters, and without spaces around it", most))
	}
	return nil
}

// checkList refuses a list of other than the words that there are. One that is empty could be
// taken for none of them and for all.
func checkList[T ~string](member string, words, known []T) error {
	if words != nil && len(words) == 0 {
		return strict.BadMember(member, "may not be empty")
	}
	for i, word := range words {
		if !slices.Contains(known, word) {
			return strict.BadMember(fmt.Sprint(member, ".", i), fmt.Sprintf("must be one of %v", known))
		}
		if slices.Contains(words[:i], word) {
			return strict.BadMember(fmt.Sprint(member, ".", i), "is there twice")
		}
	}
	return nil
}

func (a *api) listKeys(r *http.Request) (int, any, error) {
	p, err := parseParameters(r.URL.RawQuery)
	if err != nil {
		return 0, nil, err
	}
	p.only("namespace", "user_id", "page", "per_page")
	n, err := a.namespaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	q := faas.KeyQuery{
		Namespace: n,
		UserID:    p.text("user_id"),
		Page:      p.number("page", 1, maxPage),
		PerPage:   p.number("per_page", defaultPerPage, maxPerPage),
	}
	if p.err != nil {
		return 0, nil, p.err
	}
	found, total, err := a.Keys.List(r.Context(), q)
	if err != nil {
		return 0, nil, err
	}
	list := apiKeyList{Keys: make([]apiKey, len(found)), Total: total, Page: q.Page, PerPage: q.PerPage}
	for i := range found {
		list.Keys[i] = showKey(&found[i])
	}
	return http.StatusOK, list, nil
}

// revokeKey has a key accepted no more. It stays in the list.
func (a *api) revokeKey(r *http.Request) (int, any, error) {
	n, err := a.namespaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, a.Keys.Revoke(r.Context(), a.actorOf(r), n, r.PathValue("id"))
}
