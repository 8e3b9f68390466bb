package faas_test

import (
	"testing"

	"envoke/internal/faas"
)

func TestCallDigest(t *testing.T) {
	seen := make(map[faas.CallDigest]string)
	for _, call := range []struct {
		name, method, target string
		caller               []string
		body                 string
	}{
		{"a call", "POST", "/a", []string{"", "", "", ""}, "{}"},
		{"another method", "GET", "/a", []string{"", "", "", ""}, "{}"},
		{"a query", "POST", "/a?", []string{"", "", "", ""}, "{}"},
		{"another body", "POST", "/a", []string{"", "", "", ""}, "{ }"},
		{"no body", "POST", "/a", []string{"", "", "", ""}, ""},
		{"a token", "POST", "/a", []string{"t", "", "", ""}, "{}"},
		{"a cookie", "POST", "/a", []string{"", "t", "", ""}, "{}"},
		{"the same letters", "POST", "/at", []string{"", "", "", ""}, "{}"},
		{"the same letters in the method", "POST/", "a", []string{"", "", "", ""}, "{}"},
	} {
		head := faas.AppendCall(nil, call.method, call.target, call.caller)
		digest := faas.DigestCall(head, []byte(call.body))
		if other, ok := seen[digest]; ok {
			t.Errorf("%s and %s have one digest", call.name, other)
		}
		seen[digest] = call.name
		if faas.DigestCall(head, []byte(call.body)) != digest {
			t.Errorf("%s has two digests", call.name)
		}
	}
}
