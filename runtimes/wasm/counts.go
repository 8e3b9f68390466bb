package wasm

import (
	"encoding/binary"
	"fmt"
)

// What a module may hold, as in browsers or less. wazero makes room for as many things
// as a module says it has before it looks at the first, and what Go cannot allocate
// ends the process; so each count is held against a limit and against the bytes left.
const (
	maxTypes     = 1_000_000
	maxParams    = 1_000
	maxFunctions = 1_000_000
	maxNamed     = 100_000 // imports, exports, globals, segments of elements and data
	maxLocals    = 10_000  // of a function: each call takes them all
)

// Sections, by their ids.
const (
	customSection   = 0
	typeSection     = 1
	importSection   = 2
	functionSection = 3
	tableSection    = 4
	memorySection   = 5
	globalSection   = 6
	exportSection   = 7
	elementSection  = 9
	codeSection     = 10
	dataSection     = 11
	countSection    = 12
)

// checkCounts refuses a section that says it has more than it can have.
func checkCounts(id byte, body []byte) error {
	r := &reader{rest: body}
	switch id {
	case typeSection:
		r.each(maxTypes, 3, func() {
			r.take(1)
			r.take(r.count(maxParams, 1))
			r.take(r.count(maxParams, 1))
		})
	case importSection:
		r.count(maxNamed, 4)
	case functionSection:
		r.count(maxFunctions, 1)
	case memorySection:
		r.count(maxNamed, 2)
	case globalSection:
		r.count(maxNamed, 4)
	case exportSection:
		r.count(maxNamed, 3)
	case elementSection:
		r.each(maxNamed, 3, r.elements)
	case codeSection:
		r.each(maxFunctions, 3, func() { r.failed = !withinLocals(r.take(r.number())) || r.failed })
	case dataSection:
		r.count(maxNamed, 2)
	case countSection:
		r.failed = r.number() > maxNamed
	}
	if r.failed {
		return invalid(fmt.Sprintf("the module's section %d is malformed, or has more in it than is taken here", id))
	}
	return nil
}

// withinLocals reads the head of a function's body: groups of locals of one type.
func withinLocals(body []byte) bool {
	r, locals := &reader{rest: body}, 0
	r.each(maxLocals, 2, func() {
		locals += min(r.number(), maxLocals+1)
		r.take(1)
		r.failed = r.failed || locals > maxLocals
	})
	return !r.failed
}

// namesOnly tells whether a custom section has names of functions, for stack traces,
// and only as many as it can. Nothing else is read of custom sections.
func namesOnly(body []byte) bool {
	r := &reader{rest: body}
	if string(r.take(r.number())) != "name" {
		return false
	}
	for !r.failed && len(r.rest) > 0 {
		id := r.take(1)
		sub := &reader{rest: r.take(r.number())}
		switch {
		case r.failed:
		case id[0] == 0:
			sub.take(sub.number())
		case id[0] == 1:
			sub.names()
		case id[0] == 2:
			sub.each(maxFunctions, 2, func() { sub.number(); sub.names() })
		default:
			return false
		}
		r.failed = r.failed || sub.failed
	}
	return !r.failed
}

// reader reads a section. Once it has failed it reads nothing more.
type reader struct {
	rest   []byte
	failed bool
}

// number reads an unsigned LEB128 of 32 bits.
func (r *reader) number() int {
	v, n := binary.Uvarint(r.rest)
	if r.failed || n <= 0 || n > 5 || v > 1<<32-1 {
		r.failed = true
		return 0
	}
	r.rest = r.rest[n:]
	return int(v)
}

func (r *reader) take(n int) []byte {
	if r.failed || n > len(r.rest) {
		r.failed = true
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

// count reads how many things follow, each of at least some bytes.
func (r *reader) count(most, least int) int {
	n := r.number()
	if n > most || n > len(r.rest)/least {
		r.failed = true
		return 0
	}
	return n
}

func (r *reader) each(most, least int, read func()) {
	for range r.count(most, least) {
		if r.failed {
			return
		}
		read()
	}
}

func (r *reader) names() {
	r.each(maxFunctions, 2, func() { r.number(); r.take(r.number()) })
}

// elements reads a segment of a table. Its first number's bits say what follows.
func (r *reader) elements() {
	const passive, hasIndex, ofExpressions = 1, 2, 4
	flags := r.number()
	if flags&passive == 0 {
		if flags&hasIndex != 0 {
			r.number()
		}
		r.expression()
	}
	if flags&(passive|hasIndex) != 0 {
		r.take(1) // the kind of its elements
	}
	if flags&ofExpressions != 0 {
		r.each(maxTable, 2, r.expression)
	} else {
		r.each(maxTable, 1, func() { r.number() })
	}
}

// expression skips a constant expression.
func (r *reader) expression() {
	for {
		op := r.take(1)
		if r.failed {
			return
		}
		switch op[0] {
		case 0x0b: // end
			return
		case 0x41, 0x42: // i32.const, i64.const
			r.signed()
		case 0x43: // f32.const
			r.take(4)
		case 0x44: // f64.const
			r.take(8)
		case 0x23, 0xd2: // global.get, ref.func
			r.number()
		case 0xd0: // ref.null
			r.take(1)
		case 0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e: // add, sub and mul
		default:
			r.failed = true
		}
	}
}

// signed skips a LEB128 of up to 64 bits.
func (r *reader) signed() {
	for range 10 {
		if b := r.take(1); r.failed || b[0] < 0x80 {
			return
		}
	}
	r.failed = true
}
