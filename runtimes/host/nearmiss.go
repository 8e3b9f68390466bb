package host

import (
	"cmp"
	"fmt"

	"envoke/internal/strict"
)

// bodyMembers is postMembers of a body that has params, or nothing that is not read.
func bodyMembers(body []byte, wanted ...member) error {
	unread, err := postMembers(body, wanted...)
	if err != nil || unread == "" {
		return err
	}
	return wantParams(unread, *find([]byte("params"), wanted))
}

// miss is a member that resembles a wanted one, which may be there too.
type miss struct {
	sent  string
	meant *member
}

// maxMisses bounds how many are remembered of a body.
const maxMisses = 16

// postMembers is members of a request's body. A misspelt member, which would be
// ignored without a word, is an error where the name that was meant is absent: code
// would run with no params, or other code than was sent. So is a timeout_ms beside
// the context, and what only a registered function has, where a session is made: who
// sent it would believe that it holds. Any other name is let through, as clients of older
// systems send more than we read; the first is returned.
func postMembers(body []byte, wanted ...member) (unread string, err error) {
	var misses []miss
	var deadline bool
	var registered string // the first member that only registered functions have
	makesSession := find([]byte("compile_options"), wanted) != nil
	err = scanMembers(body, wanted, func(name string) {
		switch {
		case makesSession && ofFunctions[name] != "":
			registered = cmp.Or(registered, name)
		case name == "timeout_ms":
			deadline = true
		case unread == "" && name != "request_id": // a call by path may say it
			unread = name
		}
		if meant := nearMiss(name, wanted); meant != nil && len(misses) < maxMisses {
			misses = append(misses, miss{name, meant})
		}
	})
	if err != nil {
		return "", err
	}
	for _, m := range misses {
		if *m.meant.value == nil {
			return "", badJSON(fmt.Sprintf("the body has a member %q but no %q: was that meant?", m.sent, m.meant.name), nil)
		}
	}
	if registered != "" {
		return "", strict.BadMember(registered, ofFunctions[registered])
	}
	if deadline {
		return "", misplacedDeadline(find([]byte("context"), wanted) != nil)
	}
	return unread, nil
}

// What an error says of a member that only registered functions have. What a session's own
// script may have too has another place here.
const (
	onlyFunctions = "is no member here, only registered functions have it: POST /api/v1/functions"
	inContext     = "is read in the context only, or of a registered function: POST /api/v1/functions"
	inOptions     = "is read in compile_options only, or of a registered function: POST /api/v1/functions"
)

var ofFunctions = map[string]string{
	"description": onlyFunctions, "schema": onlyFunctions, "examples": onlyFunctions, "tags": onlyFunctions,
	"cache_ttl_seconds": onlyFunctions,
	"cpu_limit_ms":      inContext, "output_limit_bytes": inContext, "max_concurrency": inContext,
	"memory_limit_mb": inOptions, "network": inOptions,
}

// wantParams refuses a call whose params may be what was sent instead: it would run
// with none.
func wantParams(unread string, params []byte) error {
	if unread == "" || params != nil {
		return nil
	}
	return strict.BadMember("params", fmt.Sprintf("is missing, and the body has a member %q that nobody reads: what the function gets belongs into params", unread))
}

func misplacedDeadline(takesContext bool) error {
	if takesContext {
		return strict.BadMember("timeout_ms", `is read in the context only: {"context":{"timeout_ms":1000}}`)
	}
	return strict.BadMember("timeout_ms", "is no member of an execute: the context that initialize gets has it")
}

// nearMiss returns the wanted member whose name resembles this one, or nil.
func nearMiss(name string, wanted []member) *member {
	for i := range wanted {
		if strict.Resembles(name, wanted[i].name) {
			return &wanted[i]
		}
	}
	return nil
}
