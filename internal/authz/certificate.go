package authz

import "strings"

// subjectOf is whom a client's certificate names, by Envoy's x-forwarded-client-cert: its
// first URI, else its first DNS name, else the common name of its subject; empty: nobody.
// Envoy has set the header itself and dropped what the client sent.
func subjectOf(header string) string {
	fields := fieldsOf(header)
	for _, name := range []string{"URI", "DNS"} {
		if fields[name] != "" {
			return fields[name]
		}
	}
	for part := range strings.SplitSeq(fields["Subject"], ",") {
		if name, ok := strings.CutPrefix(strings.TrimSpace(part), "CN="); ok {
			return name
		}
	}
	return ""
}

// fieldsOf reads `Hash=1;Subject="CN=a,O=b";URI=c`, of which the first of each name counts.
// A value in quotes may have any character in it, a quote behind a backslash.
func fieldsOf(header string) map[string]string {
	fields := map[string]string{}
	for header != "" {
		name, rest, ok := strings.Cut(header, "=")
		if !ok {
			break
		}
		value, rest := cutValue(rest)
		if _, known := fields[name]; !known {
			fields[name] = value
		}
		header = rest
	}
	return fields
}

// cutValue cuts a value off the front, up to the semicolon behind it. A comma outside
// quotes would begin another certificate: there is none, since Envoy sets the header anew.
func cutValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ";")
		return value, rest
	}
	var out strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			out.WriteByte(s[i])
		case s[i] == '"':
			return out.String(), strings.TrimPrefix(s[i+1:], ";")
		default:
			out.WriteByte(s[i])
		}
	}
	return out.String(), ""
}
