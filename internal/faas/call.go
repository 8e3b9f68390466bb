package faas

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// CallerHeaders say who calls, or carry what may say it. Nothing that was answered to
// one caller is answered to another, so they are part of every call's digest, checked
// or not.
func CallerHeaders() []string {
	return []string{"authorization", "cookie", "x-api-key", "x-user-id"}
}

// MaxCachedBody bounds the body of a request whose result may be cached, in bytes: it
// is hashed, and held until then.
const MaxCachedBody = 64 << 10

// MaxCachedResult bounds the body of a response that is cached, in bytes: Envoy holds it
// until ext_proc has it, and holds no more than 1 MiB of anything.
const MaxCachedResult = 512 << 10

// CallDigest is a SHA-256 over all that a request says and its result may depend on.
// Nothing is normalised: what differs in one byte is another call.
type CallDigest [sha256.Size]byte

// CallHash makes digests of calls, one after the other.
type CallHash struct{ hash hash.Hash }

// NewCallHash makes one that can be used any number of times.
func NewCallHash() CallHash { return CallHash{hash: sha256.New()} }

// Head is the digest of a request's head: its method, its path with the query, and the
// values of CallerHeaders, in their order, empty where there is none.
func (h CallHash) Head(method, target string, caller []string) CallDigest {
	h.hash.Reset()
	h.write(method)
	h.write(target)
	for _, value := range caller {
		h.write(value)
	}
	return h.sum()
}

// Call is the digest of the call with that head and that body.
func (h CallHash) Call(head CallDigest, body []byte) CallDigest {
	h.hash.Reset()
	h.hash.Write(head[:])
	h.hash.Write(body)
	return h.sum()
}

// write adds a part, its length first, so that no two lists of parts are alike.
func (h CallHash) write(part string) {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(part)))
	h.hash.Write(length[:])
	h.hash.Write([]byte(part))
}

func (h CallHash) sum() (digest CallDigest) {
	h.hash.Sum(digest[:0])
	return digest
}
