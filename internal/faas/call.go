package faas

import (
	"crypto/sha256"
	"encoding/binary"
)

// CallerHeaders say who calls, or carry what may say it. Nothing that was answered to
// one caller is answered to another, so they are part of every call's digest, checked
// or not. That of the certificate is Envoy's word for one that was shown: what clients say in
// it themselves is removed, as it is of the last one.
func CallerHeaders() []string {
	return []string{"authorization", "cookie", "x-api-key", "x-user-id", "x-forwarded-client-cert", NamespaceHeader}
}

// MaxCachedBody bounds the body of a request whose result may be cached, in bytes: it
// is hashed, and held until then.
const MaxCachedBody = 64 << 10

// MaxCachedResult bounds the body of a response that is cached, in bytes: Envoy holds it
// until ext_proc has it, and holds no more than 1 MiB of anything.
const MaxCachedResult = 512 << 10

// GRPCContentType begins the content type of a gRPC request. What Envoy, the filter or
// ext_proc answer such a request themselves, Envoy makes a gRPC answer of: its body is
// gone. So no result is kept for one, nor given to one.
const GRPCContentType = "application/grpc"

// CallDigest is a SHA-256 over all that a request says and its result may depend on.
// Nothing is normalised: what differs in one byte is another call.
type CallDigest [sha256.Size]byte

// AppendCall appends the head of a call: its method, its path with the query, and the
// values of CallerHeaders, in their order, empty where there is none. Each has its
// length before it, so that no two heads are alike.
func AppendCall(b []byte, method, target string, caller []string) []byte {
	b = appendPart(b, method)
	b = appendPart(b, target)
	for _, value := range caller {
		b = appendPart(b, value)
	}
	return b
}

func appendPart(b []byte, part string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
	return append(b, part...)
}

// DigestCall is the digest of a call of that head and body.
func DigestCall(head, body []byte) CallDigest {
	sum := sha256.Sum256(head)
	h := sha256.New()
	h.Write(sum[:])
	h.Write(body)
	var digest CallDigest
	h.Sum(digest[:0])
	return digest
}
