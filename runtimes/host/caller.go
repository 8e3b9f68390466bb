package host

import (
	"context"
	"encoding/json"

	"github.com/valyala/fasthttp"

	"envoke/internal/faas"
	"envoke/runtimes/bundle"
)

// Caller is who calls, as Envoy says it.
type Caller struct {
	faas.Caller // without scopes: an empty user id names nobody

	Checked bool // somebody checks callers: who is not named is nobody in particular
}

func callerOf(c *fasthttp.RequestCtx) Caller {
	return Caller{Caller: identityOf(c), Checked: len(c.Request.Header.Peek(faas.CheckedHeader)) > 0}
}

func identityOf(c *fasthttp.RequestCtx) faas.Caller {
	return faas.Caller{Namespace: namespaceOf(c), UserID: string(c.Request.Header.Peek(faas.UserHeader))}
}

// namespaceOf is where the caller's functions are. Envoy lets no other text pass than one that
// may be a namespace.
func namespaceOf(c *fasthttp.RequestCtx) faas.Namespace {
	return faas.Namespace(c.Request.Header.Peek(faas.NamespaceHeader))
}

// check refuses who has a longer name than is stored.
func (c Caller) check() error {
	if len(c.UserID) > faas.MaxUser {
		return faas.ErrLongUser
	}
	return nil
}

// sessionFor is the session of that id, if it is the caller's own. That of another one does
// not exist.
func (h *Host) sessionFor(ctx context.Context, id faas.SessionID, caller faas.Caller) (*bundle.Session, error) {
	session, err := h.Bundles.Session(ctx, id)
	if err == nil && !caller.Is(session.Name.Namespace, session.UserID) {
		return nil, faas.ErrNoSession
	}
	return session, err
}

// in is a context, an object or nothing, whose user_id is who calls, where that is checked:
// a function may rely on it, and not on what a caller says of itself.
func (c Caller) in(raw json.RawMessage) json.RawMessage {
	if c.UserID == "" && (!c.Checked || len(raw) == 0) {
		return raw
	}
	members := map[string]json.RawMessage{}
	if len(raw) > 0 && json.Unmarshal(raw, &members) != nil {
		return nil // it was checked: it is an object
	}
	if delete(members, "user_id"); c.UserID != "" {
		members["user_id"], _ = json.Marshal(c.UserID)
	}
	out, _ := json.Marshal(members) // of what was JSON
	return out
}
