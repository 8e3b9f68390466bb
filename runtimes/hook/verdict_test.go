package hook

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
)

// written is a verdict as text.
func written(v verdict) string {
	if v.answer != nil {
		return fmt.Sprintf("%d %v %s", v.answer.Status, v.answer.Headers, v.answer.Body)
	}
	return fmt.Sprintf("set %v add %v remove %v", v.set, v.add, v.remove)
}

func TestParse(t *testing.T) {
	const pass = "set [] add [] remove []"
	for _, tt := range []struct{ name, result, want string }{
		{"nothing", ``, pass},
		{"null", ` null `, pass},
		{"an empty object", `{ }`, pass},
		{"no headers", `{"headers":null}`, pass},
		{"no changes", `{"headers":{}}`, pass},
		{"changes", `{"headers":{"set":{"X-B":"2","X-A":"1"},"add":{"X-C":["3","4"]},"remove":["X-D"]}}`, "set [{x-a 1} {x-b 2}] add [{x-c 3} {x-c 4}] remove [x-d]"},
		{"no header's value", `{"headers":{"set":{"a":[]}}}`, pass},
		{"an answer", `{"statusCode":302,"headers":{"Location":"/x"}}`, "302 [[Location /x]] "},
		{"an answer with a body", `{"statusCode":200,"body":{"a":1}}`, `200 [[content-type application/json]] {"a":1}`},
		{"a null status", `{"statusCode":null,"headers":{}}`, pass},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := parse([]byte(tt.result))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, written(v)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	change := func(text string) string { return `{"headers":{"set":{` + text + `}}}` }
	many := make([]string, maxChanges+1)
	for i := range many {
		many[i] = fmt.Sprintf(`"x-%d":"v"`, i)
	}
	for _, tt := range []struct{ name, result, want string }{
		{"a number", `7`, "it is no object"},
		{"a list", `[]`, "it is no object"},
		{"a text", `"ok"`, "it is no object"},
		{"an unknown member", `{"header":{}}`, "header is not known here"},
		{"an unknown change", `{"headers":{"replace":{}}}`, "headers.replace is not known here"},
		{"headers of an answer", `{"headers":{"x-a":"1"}}`, "headers.x-a is not known here"},
		{"headers that are none", `{"headers":7}`, "headers must be an object"},
		{"a value that is none", change(`"a":7`), "headers.set.a must be"},
		{"a status that is none", `{"statusCode":"200"}`, "statusCode must be"},
		{"a status out of range", `{"statusCode":199}`, "statusCode must be"},
		{"a status of four digits", `{"statusCode":2000}`, "statusCode must be"},
		{"a broken status", `{"statusCode":200.5}`, "statusCode must be"},
		{"a body without a status", `{"body":"x"}`, "a body needs a statusCode"},
		{"a large body", `{"statusCode":200,"body":"` + strings.Repeat("x", maxAnswer+1) + `"}`, "larger than"},
		{"no name", change(`"":"1"`), "is no name of a header"},
		{"a name with a space", change(`"a b":"1"`), "is no name of a header"},
		{"a pseudo header", change(`":path":"/x"`), "is no name of a header"},
		{"a new line", change(`"a":"b\r\nc: d"`), "a character that no header may have"},
		{"the host", change(`"Host":"x"`), "no hook may change Host"},
		{"the length", change(`"content-length":"1"`), "no hook may change content-length"},
		{"the connection", change(`"connection":"close"`), "no hook may change connection"},
		{"chunks", change(`"transfer-encoding":"chunked"`), "no hook may change transfer-encoding"},
		{"ours", change(`"X-Envoke-Function":"x"`), "no hook may change X-Envoke-Function"},
		{"Envoy's", change(`"x-envoy-retry-on":"5xx"`), "no hook may change x-envoy-retry-on"},
		{"the id", change(`"x-request-id":"x"`), "no hook may change x-request-id"},
		{"who calls", change(`"x-user-id":"root"`), "no hook may change x-user-id"},
		{"to remove ours", `{"headers":{"remove":["x-envoke-route"]}}`, "no hook may change x-envoke-route"},
		{"too many", change(strings.Join(many, ",")), "more than 50 changes"},
		{"too much", change(`"a":"` + strings.Repeat("x", maxChangeBytes) + `"`), "more than 16384 bytes"},
		{"a name twice", `{"headers":{},"headers":{}}`, "given twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := parse([]byte(tt.result))
			e := faas.AsError(err)
			if err == nil || e.Code != faas.RuntimeError || e.Details["component"] != faas.InFunction || !strings.Contains(e.Message, tt.want) {
				t.Errorf("%v, %v", written(v), err)
			}
		})
	}
}
