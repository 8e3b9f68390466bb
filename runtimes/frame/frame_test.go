package frame

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadBackWhatWasAppended(t *testing.T) {
	frames := []Frame{
		{Type: Ready, Payload: []byte{}},
		{Type: Invoke, Call: 7, Payload: []byte(`{"params":1}`)},
		{Type: Result, Call: 1<<32 - 1, Payload: bytes.Repeat([]byte("x"), 1<<16)},
	}
	var stream []byte
	for _, f := range frames {
		stream = Append(stream, f)
	}
	r := bufio.NewReader(bytes.NewReader(stream))
	for _, want := range frames {
		got, err := Read(r, 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	}
	if _, err := Read(r, 1); !errors.Is(err, io.EOF) {
		t.Fatalf("at the end: %v, want io.EOF", err)
	}
}

func TestReadRefuses(t *testing.T) {
	whole := Append(nil, Frame{Type: Log, Call: 1, Payload: []byte("hello")})
	tests := []struct {
		name   string
		stream []byte
		limit  int
		want   error
	}{
		{"a cut header", whole[:3], 100, io.ErrUnexpectedEOF},
		{"a cut payload", whole[:len(whole)-1], 100, io.ErrUnexpectedEOF},
		{"no payload at all", whole[:HeaderSize], 100, io.ErrUnexpectedEOF},
		{"a payload over the limit", whole, 4, ErrTooLarge},
		{"a length of 4 GiB", []byte{255, 255, 255, 255, 1, 0, 0, 0, 0}, 100, ErrTooLarge},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Read(bufio.NewReader(bytes.NewReader(test.stream)), test.limit); !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
		})
	}
	if _, err := Read(bufio.NewReader(bytes.NewReader(make([]byte, 9))), 100); err == nil {
		t.Fatal("a length of 0 was accepted")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(Append(nil, Frame{Type: Result, Call: 1, Payload: []byte("null")}))
	f.Add([]byte{0, 0, 0, 5, 18, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bufio.NewReader(bytes.NewReader(stream))
		for {
			got, err := Read(r, 1<<12)
			if err != nil {
				return
			}
			var same bool
			if stream, same = bytes.CutPrefix(stream, Append(nil, got)); !same {
				t.Fatalf("frame %+v does not encode to the bytes it was read from", got)
			}
		}
	})
}
