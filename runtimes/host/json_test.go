package host

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
)

func TestMembers(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"nothing", ``, ``},
		{"white space", " \t\r\n", ``},
		{"absent", `{"other":1}`, ``},
		{"null", `{"params":null}`, `null`},
		{"as it was written", `{ "params" : { "a" : [ 1 , 2 ] } }`, `{ "a" : [ 1 , 2 ] }`},
		{"white space around", "\n {\"params\":1} \t\r\n", `1`},
		{"a number of any length", `{"params":123456789012345678901234567890.0000000000000000001e999}`, `123456789012345678901234567890.0000000000000000001e999`},
		{"the last of equal names", `{"params":1,"x":{"params":2},"params":3,"Params":4}`, `3`},
		{"an escaped name", `{"\u0070aram\u0073":1}`, `1`},
		{"an escaped name after the plain one", `{"params":1,"\u0070arams":2}`, `2`},
		{"a name that is no text", `{"\ud800":1,"params":2}`, `2`},
		{"nested only", `{"x":{"params":1}}`, ``},
		{"equal names inside", `{"params":{"a":1,"a":2}}`, `{"a":1,"a":2}`},
		{"lone surrogates", `{"params":"\ud800 \udfff\ud800"}`, `"\ud800 \udfff\ud800"`},
		{"U+2028, NUL and an emoji", "{\"params\":\"\u2028\\u0000\U0001F600\"}", "\"\u2028\\u0000\U0001F600\""},
		{"deep", `{"params":` + nested(9999) + `}`, nested(9999)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []byte
			if err := members([]byte(test.body), member{"params", &got}); err != nil {
				t.Fatal(err)
			}
			if string(got) != test.want {
				t.Errorf("got %.100q, want %.100q", got, test.want)
			}
		})
	}
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func TestMembersRefuses(t *testing.T) {
	const (
		noObject = `the body must be a JSON object, such as {"params":{}}`
		more     = "the body has more after its JSON object"
		noUTF8   = "the body is not valid UTF-8"
	)
	tests := []struct{ name, body, want string }{
		{"byte order mark", "\uFEFF{}", "the body is not valid JSON (at byte 0)"},
		{"white space of another kind", "\u00a0", "the body is not valid JSON (at byte 0)"},
		{"not UTF-8", "{\"params\":\"\xff\"}", noUTF8},
		{"half a rune", "{}\xe2\x82", noUTF8},
		{"null", `null`, noObject},
		{"array", ` [{"params":1}]`, noObject},
		{"string", `"params"`, noObject},
		{"no value", `nul`, "the body is not valid JSON (at byte 3)"},
		{"open", `{`, "the body is not valid JSON (at byte 1)"},
		{"open name", `{"params`, "the body is not valid JSON (at byte 8)"},
		{"no colon", `{"params" 1}`, "the body is not valid JSON (at byte 10)"},
		{"no value of a name", `{"params":}`, "the body is not valid JSON (at byte 10)"},
		{"a comma at the end", `{"params":1,}`, "the body is not valid JSON (at byte 11)"},
		{"a comma at the beginning", `{,"params":1}`, "the body is not valid JSON (at byte 1)"},
		{"no comma", `{"a":1 "params":1}`, "the body is not valid JSON (at byte 7)"},
		{"another bracket", `{"params":1]`, "the body is not valid JSON (at byte 11)"},
		{"a name without quotes", `{params:1}`, "the body is not valid JSON (at byte 1)"},
		{"single quotes", `{'params':1}`, "the body is not valid JSON (at byte 1)"},
		{"comment", `{/**/"params":1}`, "the body is not valid JSON (at byte 1)"},
		{"NaN", `{"params":NaN}`, "the body is not valid JSON (at byte 10)"},
		{"leading zero", `{"params":01}`, "the body is not valid JSON (at byte 11)"},
		{"control character", "{\"params\":\"\n\"}", "the body is not valid JSON (at byte 11)"},
		{"escape that is none", `{"params":"\x"}`, "the body is not valid JSON (at byte 11)"},
		{"another object", `{} {}`, more},
		{"garbage", `{}x`, more},
		{"zero byte", "{}\x00", more},
		{"too deep", `{"params":` + nested(10000) + `}`, "the body is nested deeper than 10000 (at byte 10009)"},
		{"too deep beside params", `{"other":` + strings.Repeat(`{"a":`, 10000), "the body is nested deeper than 10000 (at byte 50004)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []byte
			err := members([]byte(test.body), member{"params", &got})
			wantCode(t, err, faas.InvalidRequest)
			if diff := cmp.Diff(test.want, faas.AsError(err).Message); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// members takes what encoding/json takes for an object, and finds the same value.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		``, ` `, `{}`, `null`, `{"params":{"a":[1,2.5e3,"\u00e9"]}}`, `{"params":1,"\u0070arams":2}`, `{"a":1}{}`,
		"\uFEFF{}", "\u00a0", "{\"params\":\"\xff\"}", `{"params":"\ud800"}`, `{"params":1,}`, `{"params":01}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got []byte
		err := members(bytes.Clone(body), member{"params", &got})
		var want map[string]json.RawMessage
		valid := utf8.Valid(body) && json.Unmarshal(body, &want) == nil && want != nil
		if empty := len(bytes.Trim(body, " \t\r\n")) == 0; empty {
			valid = true
		}
		if valid != (err == nil) {
			t.Fatalf("members: %v; valid: %v", err, valid)
		}
		if valid && !bytes.Equal(want["params"], got) {
			t.Fatalf("got %q, want %q", got, want["params"])
		}
	})
}
