package wasm

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"envoke/internal/compile"
	"envoke/internal/faas"
)

// target is what compile_options.target says for a ready module.
const target = "wasm32-wasip1"

// source is a module as it was sent or built, with what its options say.
type source struct {
	base64 string // as it was sent; empty: it was built
	wasm   []byte
	memory uint64 // bytes that an instance may have
}

const (
	header    = "\x00asm\x01\x00\x00\x00"
	component = "\x00asm\x0d\x00\x01\x00"
	// base64Magic is what the header looks like to those who forget the target.
	base64Magic = "AGFzb"

	maxTables = 8
	// maxTable bounds the elements of a table. They are eight bytes each, of memory
	// that the limit of linear memory does not count.
	maxTable = 1 << 20
)

func invalid(message string) *faas.Error {
	return &faas.Error{
		Code:    faas.InitializationError,
		Message: message,
		Details: map[string]any{"component": faas.InFunction},
	}
}

// wasi is the form of a module that was sent.
const wasi = "wasi"

// open reads what a script is: a module in base64, or source, of which it has one made. It
// waits for that as long as the builder lets it.
func (e *Engine) open(script faas.Script) (s source, form string, err error) {
	options, err := compile.Parse(script.CompileOptions, "compile_options", e.opt.MaxMemory>>20)
	if err != nil {
		return source{}, "", invalid(faas.AsError(err).Message)
	}
	s.memory = uint64(e.opt.MaxMemory)
	if options.MemoryLimitMB != nil {
		s.memory = uint64(*options.MemoryLimitMB) << 20
	}
	wanted := ""
	if options.Target != nil {
		wanted = *options.Target
	}
	switch {
	case wanted == target:
		s.base64 = script.Source
		return s, wasi, nil
	case wanted != "":
		return source{}, "", invalid(fmt.Sprintf("compile_options.target is %.50q: only %s runs here", wanted, target))
	case strings.HasPrefix(script.Source, base64Magic):
		return source{}, "", invalid(`script_content is a WebAssembly module: say so with "compile_options": {"target": "` + target + `"}`)
	}
	s.wasm, form, err = e.build(script.Source, options)
	return s, form, err
}

// build compiles Rust source.
func (e *Engine) build(text string, options compile.Options) (module []byte, form string, err error) {
	switch {
	case len(text) > e.opt.MaxSource:
		return nil, "", &faas.Error{
			Code:    faas.PayloadTooLarge,
			Message: fmt.Sprintf("script_content is larger than %d bytes", e.opt.MaxSource),
			Details: map[string]any{"limit_bytes": e.opt.MaxSource},
		}
	case e.opt.Builder == nil:
		return nil, "", invalid("Rust source cannot be compiled here: " + e.opt.NoBuilder + ". Or send a ready module in base64, with " +
			`"compile_options": {"target": "` + target + `"}`)
	}
	// It is built for all who want it, and the builder has a deadline of its own.
	return e.opt.Builder.Build(context.Background(), text, options)
}

// decode finds the module in what was sent, and bounds it.
func (e *Engine) decode(s source) (source, error) {
	if s.base64 != "" {
		// Nothing is decoded that is too large, white space aside.
		if len(s.base64) > 2*e.opt.MaxModule+1024 {
			return source{}, tooLarge(e.opt.MaxModule)
		}
		var err error
		if s.wasm, err = base64.StdEncoding.DecodeString(s.base64); err != nil {
			return source{}, invalid("script_content is no base64: with target " + target + " it must be a WASI module in base64")
		}
		s.base64 = ""
	}
	if len(s.wasm) > e.opt.MaxModule {
		return source{}, tooLarge(e.opt.MaxModule)
	}
	var err error
	s.wasm, err = bound(s.wasm)
	return s, err
}

func tooLarge(limit int) error {
	return &faas.Error{
		Code:    faas.PayloadTooLarge,
		Message: fmt.Sprintf("the module is larger than %d bytes", limit),
		Details: map[string]any{"limit_bytes": limit},
	}
}

// bound checks what a module is made of, leaves out custom sections other than the names
// of functions, and gives each table a maximum: without one, table.grow takes as much
// of the host's memory as it likes.
func bound(wasm []byte) ([]byte, error) {
	switch {
	case strings.HasPrefix(string(wasm[:min(8, len(wasm))]), component):
		return nil, invalid("this is a WebAssembly component: send a core module of WASI preview 1, built for " + target)
	case len(wasm) < len(header) || string(wasm[:4]) != header[:4]:
		return nil, invalid("this is no WebAssembly module: it does not begin with \\0asm")
	case string(wasm[:8]) != header:
		return nil, invalid(fmt.Sprintf("this is WebAssembly of version %d: only 1 runs here", binary.LittleEndian.Uint32(wasm[4:])))
	}
	out := wasm[:len(header):len(header)]
	for rest := wasm[len(header):]; len(rest) > 0; {
		id := rest[0]
		body, after, ok := section(rest[1:])
		if !ok {
			return nil, invalid("the module is cut short: a section is longer than the rest of it")
		}
		whole := rest[:len(rest)-len(after)]
		rest = after
		if id == customSection && !namesOnly(body) {
			continue
		}
		if err := checkCounts(id, body); err != nil {
			return nil, err
		}
		if id == tableSection {
			bounded, err := boundTable(body)
			if err != nil {
				return nil, err
			}
			whole = append(binary.AppendUvarint([]byte{id}, uint64(len(bounded))), bounded...)
		}
		out = append(out, whole...)
	}
	return out, nil
}

// section splits what follows a length from what comes after it.
func section(b []byte) (body, after []byte, ok bool) {
	length, n := binary.Uvarint(b) // LEB128
	if n <= 0 || length > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n:][:length], b[n:][length:], true
}

// boundTable rewrites a table section: a count, then for each table its type, a byte
// that tells whether it has a maximum, its minimum, its maximum.
func boundTable(body []byte) ([]byte, error) {
	number := func() uint64 {
		v, n := binary.Uvarint(body)
		body = body[max(n, 0):]
		if n <= 0 {
			return 1 << 63 // over every limit
		}
		return v
	}
	count := number()
	if count > maxTables {
		return nil, invalid(fmt.Sprintf("the module has more than %d tables", maxTables))
	}
	out := binary.AppendUvarint(nil, count)
	for range count {
		if len(body) < 2 || body[0] != 0x70 && body[0] != 0x6f || body[1] > 1 {
			return nil, invalid("the module has a table of a kind that is not known here")
		}
		kind, bounded := body[0], body[1] == 1
		body = body[2:]
		least, most := number(), uint64(maxTable)
		if bounded {
			most = min(most, number())
		}
		if least > maxTable {
			return nil, invalid(fmt.Sprintf("the module has a table of more than %d elements", maxTable))
		}
		out = binary.AppendUvarint(append(out, kind, 1), least)
		out = binary.AppendUvarint(out, most)
	}
	return append(out, body...), nil // what is too much, wazero refuses
}
