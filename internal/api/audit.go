package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"envoke/internal/faas"
)

// maxRequestID bounds what is kept of a request's id, in bytes: callers choose it.
const maxRequestID = 128

// actorOf is who is about to change something.
func (a *api) actorOf(r *http.Request) faas.Actor {
	by := faas.Actor{
		Namespace: a.callerOf(r).Namespace, UserID: userOf(r), Proof: r.Header.Get(faas.ProofHeader),
		Address: r.Header.Get(faas.AddressHeader), RequestID: short(r.Header.Get("X-Request-ID")),
	}
	if a.Auth && by.UserID != "" && by.Proof == "" {
		by.Proof = faas.ByToken
	}
	return by
}

// short is so much of a text that a row may hold.
func short(text string) string {
	if len(text) > maxRequestID {
		text = text[:maxRequestID]
	}
	return strings.ToValidUTF8(text, string(utf8.RuneError))
}

// auditEntry is who has changed what.
type auditEntry struct {
	Number    int64           `json:"number"`
	At        time.Time       `json:"at"`
	Action    faas.Action     `json:"action"`
	Target    string          `json:"target"`
	Namespace string          `json:"namespace"`
	UserOf    string          `json:"user_namespace"`
	UserID    *string         `json:"user_id"`
	Proof     *string         `json:"proof"`
	Address   *string         `json:"address"`
	RequestID *string         `json:"request_id"`
	Details   json.RawMessage `json:"details"`
}

type auditList struct {
	Entries []auditEntry `json:"entries"`
	Total   int          `json:"total"`
	Page    int          `json:"page"`
	PerPage int          `json:"per_page"`
}

func (auditList) private() {}

// listAudit lists what was changed, newest first.
func (a *api) listAudit(r *http.Request) (int, any, error) {
	p, err := parseParameters(r.URL.RawQuery)
	if err != nil {
		return 0, nil, err
	}
	p.only("user", "action", "target", "since", "until", "namespace", "page", "per_page")
	q := faas.AuditQuery{
		UserID:  p.text("user"),
		Action:  oneOf(&p, "action", faas.Actions()...),
		Target:  p.text("target"),
		Since:   p.time("since"),
		Until:   p.time("until"),
		Page:    p.number("page", 1, maxPage),
		PerPage: p.number("per_page", defaultPerPage, maxPerPage),
	}
	if p.err != nil {
		return 0, nil, p.err
	}
	if q.Namespace, err = a.namespaceOf(r); err != nil {
		return 0, nil, err
	}
	found, total, err := a.Store.ListAudit(r.Context(), q)
	if err != nil {
		return 0, nil, err
	}
	list := auditList{Entries: make([]auditEntry, len(found)), Total: total, Page: q.Page, PerPage: q.PerPage}
	for i, e := range found {
		list.Entries[i] = auditEntry{
			Number: e.Number, At: e.At.UTC(), Action: e.Action, Target: e.Target, Namespace: e.Namespace.String(), UserOf: e.Actor.Namespace.String(),
			UserID: orNull(e.Actor.UserID), Proof: orNull(e.Actor.Proof), Address: orNull(e.Actor.Address),
			RequestID: orNull(e.Actor.RequestID), Details: e.Details,
		}
	}
	return http.StatusOK, list, nil
}

// The times that a store can have.
var (
	firstTime = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	lastTime  = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)

func (p *parameters) time(name string) time.Time {
	value, ok := p.get(name)
	if !ok {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, value)
	if err != nil || at.Before(firstTime) || at.After(lastTime) {
		p.fail(name, "must be a time as 2026-11-30T12:00:00Z (RFC 3339), and a + in it is %2B")
	}
	return at
}
