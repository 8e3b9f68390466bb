package host

import (
	"context"
	"encoding/json"

	"github.com/valyala/fasthttp"

	"envoke/internal/faas"
	"envoke/runtimes/bundle"
)

// userOf is who calls: Envoy has checked it, or nobody is named.
func userOf(c *fasthttp.RequestCtx) string { return string(c.Request.Header.Peek(faas.UserHeader)) }

// sessionFor is the session of that id, if it is the user's own. That of another one does
// not exist.
func (h *Host) sessionFor(ctx context.Context, id faas.SessionID, user string) (*bundle.Session, error) {
	session, err := h.Bundles.Session(ctx, id)
	if err == nil && session.UserID != user {
		return nil, faas.ErrNoSession
	}
	return session, err
}

// withUser is a context, an object or nothing, whose user_id is who calls, where somebody is
// named: a function may rely on it, and not on what a caller says of itself.
func withUser(raw json.RawMessage, user string) json.RawMessage {
	if user == "" {
		return raw
	}
	members := map[string]json.RawMessage{}
	if len(raw) > 0 && json.Unmarshal(raw, &members) != nil {
		return raw // it was checked: it is an object
	}
	members["user_id"], _ = json.Marshal(user)
	out, _ := json.Marshal(members) // of what was JSON
	return out
}
