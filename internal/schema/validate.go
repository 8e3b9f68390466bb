package schema

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Schema is a compiled schema. It is safe for concurrent use, and checks one value
// at a time.
type Schema struct {
	mu    sync.Mutex
	left  int // steps that the check under way may still take
	root  *jsonschema.Schema
	nodes int
}

// nodeSize is what one object of a schema takes once it is compiled, about.
const nodeSize = 1 << 10

// Size is what the schema takes of memory, in bytes, about.
func (s *Schema) Size() int64 { return int64(s.nodes) * nodeSize }

// maxCheckedNumber bounds a number that is checked, in bytes: the library calculates
// exactly, in time by the square of the digits.
const maxCheckedNumber = 4096

// Validate tells whether a value, in JSON, keeps to the schema. The error is a
// *Fault: the first that is found, by the value's order of names.
func (s *Schema) Validate(value []byte) error {
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return &Fault{Reason: "is not valid JSON"}
	}
	if err := checkNumbers(decoded, nil); err != nil {
		return err
	}
	var invalid *jsonschema.ValidationError
	switch err := s.run(decoded); {
	case err == nil:
		return nil
	case errors.As(err, &invalid):
		return violation(invalid)
	default:
		return err
	}
}

// checkNumbers refuses what would take the library too long to read.
func checkNumbers(value any, at []string) error {
	switch v := value.(type) {
	case json.Number:
		_, exponent, _ := strings.Cut(strings.ToLower(string(v)), "e")
		if len(v) > maxCheckedNumber || len(strings.Trim(exponent, "+-")) > maxExponent {
			return &Fault{Path: pointer(at), Reason: "the number is too long, too large or too small to be checked"}
		}
	case []any:
		for i, element := range v {
			if err := checkNumbers(element, append(at, strconv.Itoa(i))); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, member := range v {
			if err := checkNumbers(member, append(at, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// violation finds the cause that tells most. Of alternatives nobody knows which was
// meant, so they are told as a whole.
func violation(e *jsonschema.ValidationError) *Fault {
	for len(e.Causes) > 0 {
		switch e.ErrorKind.(type) {
		case *kind.AnyOf:
			return violates(e, "fits none of the schemas in anyOf")
		case *kind.OneOf:
			return violates(e, "fits none of the schemas in oneOf")
		}
		// The library goes through names in no order.
		e = slices.MinFunc(e.Causes, func(a, b *jsonschema.ValidationError) int {
			return cmp.Or(slices.Compare(a.InstanceLocation, b.InstanceLocation), cmp.Compare(keyword(a), keyword(b)))
		})
	}
	return violates(e, e.ErrorKind.LocalizedString(message.NewPrinter(language.English)))
}

// maxReason bounds a reason in bytes: it may quote the value.
const maxReason = 512

func violates(e *jsonschema.ValidationError, reason string) *Fault {
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") + "…"
	}
	return &Fault{Path: pointer(e.InstanceLocation), Keyword: keyword(e), Reason: plain(reason)}
}

func keyword(e *jsonschema.ValidationError) string {
	if path := e.ErrorKind.KeywordPath(); len(path) > 0 {
		return path[0]
	}
	return strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", e.ErrorKind), "*kind."))
}
