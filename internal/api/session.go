package api

import (
	"encoding/json"
	"net/http"
	"time"

	"envoke/internal/faas"
)

type session struct {
	RequestID      faas.SessionID      `json:"request_id"`
	LanguageTitle  string              `json:"language_title"`
	CreatedAt      time.Time           `json:"created_at"`
	ExpiresAt      time.Time           `json:"expires_at"`
	LastExecutedAt *time.Time          `json:"last_executed_at"`
	ExecutionCount int64               `json:"execution_count"`
	Status         faas.SessionStatus  `json:"status"`
	CompileStatus  *faas.CompileStatus `json:"compile_status"`
	CompileStep    *string             `json:"compile_step"`
	CompileSince   *time.Time          `json:"compile_since"`
	CompileError   json.RawMessage     `json:"compile_error"` // nil: null
}

// sessionID is the id in the path. One that is malformed or forged never reaches
// the store.
func (a *api) sessionID(r *http.Request) (faas.SessionID, error) {
	id := faas.SessionID(r.PathValue("id"))
	if !a.Key.Check(id) {
		return "", faas.ErrNoSession
	}
	return id, nil
}

// showSession also shows sessions that have expired, until they are swept.
func (a *api) showSession(r *http.Request) (int, any, error) {
	id, err := a.sessionID(r)
	if err != nil {
		return 0, nil, err
	}
	s, err := a.ownSession(r, id)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, session{
		RequestID:      s.ID,
		LanguageTitle:  s.Name.String(),
		CreatedAt:      s.CreatedAt.UTC(),
		ExpiresAt:      s.ExpiresAt.UTC(),
		LastExecutedAt: orNull(s.LastExecutedAt.UTC()),
		ExecutionCount: s.ExecutionCount,
		Status:         s.StatusAt(time.Now()),
		CompileStatus:  orNull(s.CompileStatus),
		CompileStep:    orNull(s.Build.Step),
		CompileSince:   orNull(s.Build.Since.UTC()),
		CompileError:   s.Build.Error,
	}, nil
}

func (a *api) deleteSession(r *http.Request) (int, any, error) {
	id, err := a.sessionID(r)
	if err != nil {
		return 0, nil, err
	}
	if a.Auth {
		if _, err := a.ownSession(r, id); err != nil {
			return 0, nil, err
		}
	}
	return http.StatusNoContent, nil, a.Revoke(r.Context(), a.actorOf(r), id)
}

// orNull is null for the zero value: the wire contract tells "none" from "empty".
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
