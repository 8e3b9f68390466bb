package bench

import (
	"encoding/binary"
	"strconv"
)

// constantModule is a WASI command that prints the value: for versions of a function that
// differ in what they return, without a compiler. In WebAssembly's text format:
//
//	(module
//	  (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
//	  (memory (export "memory") 1)
//	  (func (export "_start") (drop (call 0 (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
//	  (data (i32.const 0) "\10\00\00\00" "<length>" "\00\00\00\00\00\00\00\00" "<value>"))
func constantModule(value int64) []byte {
	text := strconv.FormatInt(value, 10)
	memory := binary.LittleEndian.AppendUint32(nil, 16) // the vector that fd_write is given: where
	memory = binary.LittleEndian.AppendUint32(memory, uint32(len(text)))
	memory = append(append(memory, make([]byte, 8)...), text...)

	m := []byte("\x00asm\x01\x00\x00\x00")
	m = append(m, wasmSection(1, "\x02\x60\x04\x7f\x7f\x7f\x7f\x01\x7f\x60\x00\x00")...)                        // the types of both functions
	m = append(m, wasmSection(2, "\x01"+wasmText("wasi_snapshot_preview1")+wasmText("fd_write")+"\x00\x00")...) // imports
	m = append(m, wasmSection(3, "\x01\x01")...)                                                                // the type of _start
	m = append(m, wasmSection(5, "\x01\x00\x01")...)                                                            // a page of memory
	m = append(m, wasmSection(7, "\x02"+wasmText("memory")+"\x02\x00"+wasmText("_start")+"\x00\x01")...)        // exports
	m = append(m, wasmSection(10, "\x01"+wasmText("\x00\x41\x01\x41\x00\x41\x01\x41\x08\x10\x00\x1a\x0b"))...)  // code
	return append(m, wasmSection(11, "\x01\x00\x41\x00\x0b"+wasmText(string(memory)))...)                       // data
}

func wasmSection(id byte, content string) []byte { return append([]byte{id}, wasmText(content)...) }

// wasmText begins with its length.
func wasmText(text string) string { return string(binary.AppendUvarint(nil, uint64(len(text)))) + text }
