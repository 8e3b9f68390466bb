package host

import "encoding/binary"

// Pairs are names and values of headers as Envoy writes them: their number, the length
// of each name and value, then each name and value with a zero byte behind it; numbers
// are 32 bits, little endian. They can be kept and sent again as they are.
type Pairs []byte

// NewPairs lays out names, each followed by its value.
func NewPairs(namesAndValues ...string) Pairs {
	p := binary.LittleEndian.AppendUint32(nil, uint32(len(namesAndValues)/2))
	for _, text := range namesAndValues {
		p = binary.LittleEndian.AppendUint32(p, uint32(len(text)))
	}
	for _, text := range namesAndValues {
		p = append(append(p, text...), 0)
	}
	return p
}

// Cursor goes through pairs. Name, in lower case, and Value are parts of them.
type Cursor struct {
	Name, Value  []byte
	left         uint32
	sizes, texts []byte
}

// Cursor stands before the first pair.
func (p Pairs) Cursor() Cursor {
	if len(p) < 4 {
		return Cursor{}
	}
	n := binary.LittleEndian.Uint32(p)
	return Cursor{left: n, sizes: p[4:], texts: p[4+8*n:]}
}

// Next goes to the next pair, if there is one.
func (c *Cursor) Next() bool {
	if c.left == 0 {
		return false
	}
	c.left--
	name := binary.LittleEndian.Uint32(c.sizes)
	end := name + 1 + binary.LittleEndian.Uint32(c.sizes[4:])
	c.Name, c.Value = c.texts[:name:name], c.texts[name+1:end:end]
	c.sizes, c.texts = c.sizes[8:], c.texts[end+1:]
	return true
}

// With are the pairs and one more. They are valid until With is called again.
func (p Pairs) With(name, value string) Pairs {
	at := 4
	if len(p) >= 4 {
		at += 8 * int(binary.LittleEndian.Uint32(p))
	}
	n := uint32((at-4)/8) + 1
	b := binary.LittleEndian.AppendUint32(extended[:0], n)
	if len(p) >= 4 {
		b = append(b, p[4:at]...)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(name)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	if len(p) >= 4 {
		b = append(b, p[at:]...)
	}
	b = append(append(b, name...), 0)
	b = append(append(b, value...), 0)
	extended = b
	return b
}

// extended is the memory of With.
var extended []byte

// Find is the value of the first of a name; nil: there is none.
func (p Pairs) Find(name string) []byte {
	for c := p.Cursor(); c.Next(); {
		if string(c.Name) == name {
			return c.Value
		}
	}
	return nil
}
