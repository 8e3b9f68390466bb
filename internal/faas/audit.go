package faas

import (
	"encoding/json"
	"maps"
	"time"
)

// Actor is who changes something. Stores write it beside the change.
type Actor struct {
	Namespace Namespace
	UserID    string // empty: nobody in particular
	Proof     string // how it has proved who it is: "key <id>", ByToken or ByCertificate; empty: not at all
	Address   string // from where; empty: unknown
	RequestID string // empty: no request
}

// ProofHeader says of a verified caller how it has proved who it is, as UserHeader says who it
// is. Who is named without it has shown a token.
const ProofHeader = "x-envoke-proof"

// AddressHeader is the address from which control's API is asked.
const AddressHeader = "x-envoke-address"

// What a caller has shown other than a key.
const (
	ByToken       = "token"
	ByCertificate = "certificate"
)

// Itself is the process where nobody has asked it.
func Itself() Actor { return Actor{UserID: OwnUser} }

// Action is what an actor has done.
type Action string

// The actions that are audited: all that change what others run, or may.
const (
	FunctionRegister Action = "function.register"
	FunctionDelete   Action = "function.delete"
	VersionAdd       Action = "version.add"
	VersionActivate  Action = "version.activate"
	AliasPut         Action = "alias.put"
	AliasDelete      Action = "alias.delete"
	KeyCreate        Action = "key.create"
	KeyRevoke        Action = "key.revoke"
	SecretPut        Action = "secret.put"
	SecretDelete     Action = "secret.delete"
	SecretReseal     Action = "secret.reseal"  // with another key: the value is the same
	SessionDelete    Action = "session.delete" // of another user's session
	ConfigPut        Action = "config.put"     // a new version of declared routes
	ConfigRollback   Action = "config.rollback"
)

// Actions lists every action.
func Actions() []Action {
	return []Action{
		FunctionRegister, FunctionDelete, VersionAdd, VersionActivate, AliasPut, AliasDelete,
		KeyCreate, KeyRevoke, SecretPut, SecretDelete, SecretReseal, SessionDelete,
		ConfigPut, ConfigRollback,
	}
}

// AuditEntry is one change. It never holds what is secret: no code, no environment, no value.
type AuditEntry struct {
	Number    int64 // in the order of changes, but for those of one moment; with gaps
	At        time.Time
	Action    Action
	Target    string    // the name or id of what was changed
	Namespace Namespace // of that
	Actor     Actor
	Details   json.RawMessage // an object
}

// AuditQuery selects entries. Empty fields select all.
type AuditQuery struct {
	Namespace Namespace // of what was changed; the default one too: no query selects several
	UserID    string
	Action    Action
	Target    string
	Since     time.Time // this one included
	Until     time.Time // this one excluded
	Page      int       // from 1
	PerPage   int
}

// audit makes an entry. Its details are texts, numbers and lists of them: that cannot fail.
func audit(action Action, n Namespace, target string, details map[string]any) AuditEntry {
	maps.DeleteFunc(details, func(_ string, value any) bool { return value == "" || value == nil })
	raw, _ := json.Marshal(details)
	if details == nil {
		raw = []byte("{}")
	}
	return AuditEntry{Action: action, Target: target, Namespace: n, Details: raw}
}

// AuditVersion tells of a new version, as it is stored: by FunctionRegister or VersionAdd.
func AuditVersion(action Action, f *Function) AuditEntry {
	return audit(action, f.Name.Namespace, f.Name.String(), map[string]any{"version": f.Version, "digest": string(f.Script.Digest), "owner": f.UserID})
}

// AuditFunction tells of the end of a function with so many versions.
func AuditFunction(name Name, versions int) AuditEntry {
	return audit(FunctionDelete, name.Namespace, name.String(), map[string]any{"versions": versions})
}

// AuditCurrent tells which version is the current one from now on.
func AuditCurrent(name Name, version int) AuditEntry {
	return audit(VersionActivate, name.Namespace, name.String(), map[string]any{"version": version})
}

// AuditAlias tells of an alias that was put: also that its environment was given, not what it is.
func AuditAlias(name Name, a *Alias, environment bool) AuditEntry {
	details := map[string]any{"version": a.Version}
	if len(a.Weights) > 0 {
		details["weights"] = a.Weights
	}
	if environment {
		details["environment"] = "given"
	}
	return audit(AliasPut, name.Namespace, Ref{Name: name, Alias: a.Name}.String(), details)
}

// AuditNoAlias tells of the end of an alias.
func AuditNoAlias(name Name, alias string) AuditEntry {
	return audit(AliasDelete, name.Namespace, Ref{Name: name, Alias: alias}.String(), nil)
}

// AuditKey tells of a new API key.
func AuditKey(k *APIKey) AuditEntry {
	details := map[string]any{"name": k.Name, "user_id": k.UserID, "scopes": k.Scopes}
	if len(k.Languages) > 0 {
		details["languages"] = k.Languages
	}
	if !k.ExpiresAt.IsZero() {
		details["expires_at"] = k.ExpiresAt.UTC()
	}
	return audit(KeyCreate, k.Namespace, k.ID, details)
}

// AuditNoKey tells that a user's API key was revoked.
func AuditNoKey(n Namespace, id, user string) AuditEntry {
	return audit(KeyRevoke, n, id, map[string]any{"user_id": user})
}

// AuditSecret tells what was done with an owner's secret.
func AuditSecret(action Action, owner, name string) AuditEntry {
	n, user := SplitOwner(owner)
	return audit(action, n, name, map[string]any{"owner": user})
}

// AuditSession tells of the end of a user's session.
func AuditSession(id SessionID, n Namespace, user string) AuditEntry {
	return audit(SessionDelete, n, string(id), map[string]any{"user_id": user})
}

// Audits tells whether the end of a user's session is to be audited: what users do with
// sessions of their own is not, and neither is what the process tidies up.
func (a Actor) Audits(n Namespace, user string) bool {
	return (a.UserID != user || a.Namespace != n) && a != Itself()
}
