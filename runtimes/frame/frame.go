// Package frame is the codec of the messages between a runtime host and its
// workers: length-prefixed frames over one socketpair, as documented in
// runtimes/PROTOCOL.md. Payloads are opaque here.
package frame

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Type tells what a frame means.
type Type uint8

// Frames from the host to the worker.
const (
	Check  Type = 1 // parse this code, run none of it; answered by Loaded or Failed
	Load   Type = 2 // load this code and keep it; answered by Loaded or Failed
	Invoke Type = 3 // run the loaded code once; answered by Result or Failed, after a Stream perhaps
	More   Type = 4 // so many bytes of a stream's parts were taken, in decimal digits
	Cancel Type = 5 // nobody wants the rest of a stream
)

// Frames from the worker to the host.
const (
	Ready  Type = 16 // sent once, when the worker can take frames
	Loaded Type = 17 // the code is parsed or loaded
	Result Type = 18 // the invocation's result as JSON
	Failed Type = 19 // a Failure as JSON
	Log    Type = 20 // a level byte and a line of text
	Stream Type = 21 // the result comes in parts: what there is beside them, as JSON
	Part   Type = 22 // a PartKind byte and one part of a stream
	// Context is what the function left in its context, as JSON. It comes before the Result
	// of a call whose event has "retain".
	Context Type = 23
)

// PartKind is the first byte of a Part.
type PartKind byte

// The kinds of parts.
const (
	JSONPart  PartKind = 0 // a value as JSON
	BytesPart PartKind = 1 // bytes as they are
)

const (
	// StreamWindow is how many bytes of parts a worker may send that were not taken yet; the
	// last part may be over it.
	StreamWindow = 256 << 10
	// PartCost is what each part counts beside its payload, in bytes.
	PartCost = 16
)

const (
	prefixSize = 4 // length of what follows
	headSize   = 5 // type and call
	// HeaderSize is the size of a frame without its payload, in bytes.
	HeaderSize = prefixSize + headSize
)

// Frame is one message. Call numbers tie answers to questions; 0 is used where
// there is no question.
type Frame struct {
	Type    Type
	Call    uint32
	Payload []byte
}

// Failure is the payload of Failed.
type Failure struct {
	Kind    FailureKind `json:"kind"`
	Type    string      `json:"type"`
	Message string      `json:"message"`
	Line    int         `json:"line,omitempty"`   // from 1, in the user's own source
	Column  int         `json:"column,omitempty"` // from 1
	Stack   string      `json:"stack_trace,omitempty"`
}

// FailureKind tells whose fault a Failure is.
type FailureKind string

// The kinds of failure.
const (
	LoadFailure   FailureKind = "load"   // the code does not parse or load
	ThrownFailure FailureKind = "thrown" // the function threw, or its result is no JSON
	OutputFailure FailureKind = "output" // the result is larger than allowed
	ParamsFailure FailureKind = "params" // the event is not JSON to this language
	MemoryFailure FailureKind = "memory" // the function ran out of memory, and the worker lives on
	// ContextFailure says that what the function left in its context is larger than it may be.
	ContextFailure FailureKind = "context"
)

// Code is the payload of Check and Load.
type Code struct {
	Filename string `json:"filename"`
	Source   string `json:"source"`
	// MaxResult bounds the JSON of a result, in bytes.
	MaxResult int `json:"max_result"`
	// Packages is the folder of those that the code depends on; empty: none.
	Packages string `json:"packages,omitempty"`
	// Environment is what a Load adds to the worker's; empty: nothing.
	Environment map[string]string `json:"environment,omitempty"`
}

// Form is the payload of Loaded.
type Form struct {
	// Form is the handler form that the code has, for the log.
	Form string `json:"form"`
	// Executes tells whether loading runs code of the user's: if not, a Check
	// has shown all that a Load could.
	Executes bool `json:"executes"`
	// Serial tells that a call keeps the worker to itself: sent another one
	// meanwhile, it would only begin that later.
	Serial bool `json:"serial,omitempty"`
}

// ErrTooLarge is returned for a frame over the reader's limit. The stream cannot
// be used after it.
var ErrTooLarge = errors.New("frame is larger than allowed")

// AppendHeader appends the header of a frame whose payload has the given length.
func AppendHeader(b []byte, t Type, call uint32, payload int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(headSize+payload))
	b = append(b, byte(t))
	return binary.BigEndian.AppendUint32(b, call)
}

// Append appends a whole frame.
func Append(b []byte, f Frame) []byte {
	return append(AppendHeader(b, f.Type, f.Call, len(f.Payload)), f.Payload...)
}

// Read reads one frame whose payload has at most limit bytes. The payload is the
// caller's own. io.EOF means that the stream ended between two frames.
func Read(r *bufio.Reader, limit int) (Frame, error) {
	header, err := r.Peek(HeaderSize)
	switch {
	case len(header) == HeaderSize:
	case len(header) > 0:
		return Frame{}, noEOF(err)
	default:
		return Frame{}, err
	}
	length := binary.BigEndian.Uint32(header)
	if length < headSize {
		return Frame{}, fmt.Errorf("frame of length %d has no header", length)
	}
	if uint64(length)-headSize > uint64(limit) {
		return Frame{}, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, length-headSize, limit)
	}
	f := Frame{
		Type:    Type(header[prefixSize]),
		Call:    binary.BigEndian.Uint32(header[prefixSize+1:]),
		Payload: make([]byte, length-headSize),
	}
	_, _ = r.Discard(HeaderSize) // it is in the buffer
	if _, err := io.ReadFull(r, f.Payload); err != nil {
		return Frame{}, fmt.Errorf("read payload: %w", noEOF(err))
	}
	return f, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
