package redis

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"time"

	"envoke/internal/faas"
	"envoke/internal/resultcache"
)

// Results are results of functions that several controls share.
type Results struct {
	client *Client
	prefix string // of the keys: other installations on the same Redis have others
}

// NewResults keeps results in the client's Redis for all that have the installation's key.
func NewResults(client *Client, installation faas.SessionKey) *Results {
	digest := hmac.New(sha256.New, installation) // the key itself is nobody's to see there
	_, _ = digest.Write([]byte(resultPrefix))
	const enough = 16 // bytes that tell installations apart
	return &Results{client, resultPrefix + hex.EncodeToString(digest.Sum(nil)[:enough]) + ":"}
}

const (
	resultPrefix = "envoke:result:"
	// resultFormat is the first byte of a value; another is another version's.
	resultFormat = 1
	// maxResult bounds a value, in bytes.
	maxResult = 8 << 20
)

// Find implements resultcache.Shared.
func (r *Results) Find(ctx context.Context, key resultcache.Key) *resultcache.Entry {
	name := r.nameOf(key)
	value, ok := r.client.find(ctx, name)
	if !ok {
		return nil
	}
	entry := parseResult(value)
	if entry == nil {
		r.client.foreign(ctx, name)
		return nil
	}
	r.client.metrics.hits.Inc()
	return entry
}

// Store implements resultcache.Shared.
func (r *Results) Store(ctx context.Context, key resultcache.Key, entry *resultcache.Entry) {
	value := appendResult(nil, entry)
	if len(value) <= maxResult {
		r.client.put(ctx, r.nameOf(key), value, entry.Life-time.Since(entry.Made))
	}
}

func (r *Results) nameOf(key resultcache.Key) string { return r.prefix + hex.EncodeToString(key[:]) }

// appendResult lays an entry out:
//
//	format, checksum of what follows      1 and 4 bytes
//	made, life                            8 and 8, nanoseconds
//	status, number of headers             2 and 2
//	sizes and texts of names and values   4 and …, each
//	body                                  …
func appendResult(b []byte, e *resultcache.Entry) []byte {
	b = append(b, resultFormat, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Made.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Life))
	b = binary.BigEndian.AppendUint16(b, uint16(e.Status))
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Headers)))
	for _, h := range e.Headers {
		b = appendText(appendText(b, h.Name), h.Value)
	}
	b = append(b, e.Body...)
	binary.BigEndian.PutUint32(b[1:], crc32.ChecksumIEEE(b[5:]))
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
}

// parseResult is the inverse; nil for anything else.
func parseResult(raw []byte) *resultcache.Entry {
	const fixed = 5 + 8 + 8 + 2 + 2
	if len(raw) < fixed || raw[0] != resultFormat || binary.BigEndian.Uint32(raw[1:]) != crc32.ChecksumIEEE(raw[5:]) {
		return nil
	}
	e := &resultcache.Entry{
		Made:   time.Unix(0, int64(binary.BigEndian.Uint64(raw[5:]))),
		Life:   time.Duration(binary.BigEndian.Uint64(raw[13:])),
		Status: int(binary.BigEndian.Uint16(raw[21:])),
	}
	count, rest := int(binary.BigEndian.Uint16(raw[23:])), raw[fixed:]
	for range count {
		var name, value string
		var ok bool
		if name, rest, ok = cutText(rest); !ok {
			return nil
		}
		if value, rest, ok = cutText(rest); !ok {
			return nil
		}
		e.Headers = append(e.Headers, resultcache.Header{Name: name, Value: value})
	}
	e.Body = rest
	return e
}

func cutText(b []byte) (text string, rest []byte, ok bool) {
	const size = 4
	if len(b) < size {
		return "", nil, false
	}
	length := uint64(binary.BigEndian.Uint32(b))
	if b = b[size:]; length > uint64(len(b)) {
		return "", nil, false
	}
	return string(b[:length]), b[length:], true
}
