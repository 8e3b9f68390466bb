package host

// Message is a half of an exchange.
type Message uint32

// The halves. Envoy knows the second only from proxy_on_response_headers on.
const (
	Request  Message = 0
	Response Message = 1
)

// headerMap and buffer are Envoy's numbers of what it holds.
type (
	headerMap uint32
	buffer    uint32
)

const pluginConfiguration buffer = 7

func (m Message) headers() headerMap { return headerMap(2 * m) } // trailers are odd
func (m Message) body() buffer       { return buffer(m) }

// Header is the value of a header, of which there may be ":path" and the like too; nil:
// there is none. Envoy joins several of a name by a comma.
func (m Message) Header(name string) []byte {
	s := proxyGetHeaderMapValue(m.headers(), name, &where.address, &where.size)
	return answer(s)
}

// Headers are all of them, which is one call in place of one for each.
func (m Message) Headers() Pairs {
	s := proxyGetHeaderMapPairs(m.headers(), &where.address, &where.size)
	return answer(s)
}

// SetHeader replaces all headers of a name by one.
func (m Message) SetHeader(name string, value []byte) bool {
	return proxyReplaceHeaderMapValue(m.headers(), name, text(value)) == ok
}

// AddHeader adds one beside others of its name.
func (m Message) AddHeader(name string, value []byte) bool {
	return proxyAddHeaderMapValue(m.headers(), name, text(value)) == ok
}

// RemoveHeader removes all headers of a name.
func (m Message) RemoveHeader(name string) bool {
	return proxyRemoveHeaderMapValue(m.headers(), name) == ok
}

// Body is what Envoy has of the body in the body's own callback, at most so many bytes.
func (m Message) Body(most int) []byte { return m.BodyFrom(0, most) }

// BodyFrom is Body from an offset on, for bodies that are read in pieces.
func (m Message) BodyFrom(offset, most int) []byte {
	return readBuffer(m.body(), uint32(offset), uint32(most))
}

func readBuffer(b buffer, start, most uint32) []byte {
	s := proxyGetBufferBytes(b, start, most, &where.address, &where.size)
	return answer(s)
}
