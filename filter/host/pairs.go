package host

import (
	"encoding/binary"
	"iter"
)

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

// All are the names, in lower case, and the values. They are parts of p.
func (p Pairs) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		if len(p) < 4 {
			return
		}
		sizes := p[4:]
		texts := sizes[8*binary.LittleEndian.Uint32(p):]
		next := func() (text []byte) {
			size := binary.LittleEndian.Uint32(sizes)
			text, texts, sizes = texts[:size:size], texts[size+1:], sizes[4:]
			return text
		}
		for len(texts) > 0 {
			name := next()
			if !yield(name, next()) {
				return
			}
		}
	}
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
	for n, value := range p.All() {
		if string(n) == name {
			return value
		}
	}
	return nil
}
