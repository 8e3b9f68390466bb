package extproc

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"envoke/internal/faas"
	"envoke/internal/resultcache"
)

// caching says how the result of a request may be cached.
type caching struct {
	limits   resultcache.Limits
	subject  string      // what runs: a function's version
	code     faas.Digest // of that version: a database that was restored counts versions anew
	envelope bool        // the reply is the API's and says whether it was cached
}

const (
	// maxCachedAge bounds what a function or a caller may allow.
	maxCachedAge = 24 * time.Hour
	// maxStale bounds how much older a result may be while one call renews it.
	maxStale = 30 * time.Second
)

// caching is how a result of the function may be cached for the request; nil: not at
// all. What the caller says comes before what the function says, either way, and a
// caller who names an age gets nothing that is older.
func (s *Server) caching(r *request, ttl time.Duration) *caching {
	c := &caching{limits: resultcache.Limits{MaxAge: min(ttl, maxCachedAge)}}
	c.limits.Stale = min(c.limits.MaxAge, maxStale)
	if r.cacheControl.count > 0 {
		seconds, _ := strings.CutPrefix(r.cacheControl.value, "max-age=")
		n, _ := strconv.Atoi(seconds) // 0 for no-cache
		c.limits = resultcache.Limits{MaxAge: min(time.Duration(n)*time.Second, maxCachedAge)}
	}
	if c.limits.MaxAge <= 0 || s.cache == nil || r.grpc {
		return nil
	}
	return c
}

// callDigest is the digest of the request and its body, as the filter makes it.
func (r *request) callDigest(body []byte) faas.CallDigest {
	head := faas.AppendCall(make([]byte, 0, 256), r.method, r.target, r.caller[:])
	return faas.DigestCall(head, body)
}

// filterDigest is the digest that the filter has made already. What the filter says
// and is none tells that there is too much to make one of.
func (r *request) filterDigest() (digest faas.CallDigest, ok bool) {
	if len(r.callKey) != hex.EncodedLen(len(digest)) {
		return digest, false
	}
	_, err := hex.Decode(digest[:], []byte(r.callKey))
	return digest, err == nil
}

// key is that of the result of a call: what runs is part of it, by its digest and by its name.
func (c *caching) key(call faas.CallDigest) resultcache.Key {
	buffer := make([]byte, 0, 256)
	buffer = append(buffer, call[:]...) // of a fixed length, so no two are alike
	buffer = append(buffer, c.code...)
	return sha256.Sum256(append(buffer, c.subject...))
}
