package accesslog

import "strings"

// scan reads a line as Envoy writes nearly all: one flat object without spaces, its
// members sorted, whose texts are ASCII and need no escape. It tells false where a line is another, right or
// wrong: that is for a JSON decoder to say, at four times the cost. Equal to the
// decoder's are its results: see FuzzScan.
//
// The fields of l are parts of text.
func (l *line) scan(text string) bool {
	rest, ok := strings.CutPrefix(text, "{")
	if !ok {
		return false
	}
	for last := ""; ; {
		var key, value string
		if key, rest, ok = cutText(rest); !ok || key <= last {
			return false
		}
		last = key
		if rest, ok = strings.CutPrefix(rest, ":"); !ok {
			return false
		}
		if value, rest, ok = cutValue(rest); !ok || !l.set(key, value) {
			return false
		}
		if rest == "}" {
			return true
		}
		if rest, ok = strings.CutPrefix(rest, ","); !ok {
			return false
		}
	}
}

// cutText cuts a text and its quotes off the front.
func cutText(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[1:i], s[i+1:], true
		case c < ' ', c > '~', c == '\\':
			return "", "", false
		}
	}
	return "", "", false
}

// cutValue cuts a text with its quotes, a count or null off the front.
func cutValue(s string) (value, rest string, ok bool) {
	if s == "" {
		return "", "", false
	}
	switch c := s[0]; {
	case c == '"':
		_, rest, ok = cutText(s)
		return s[:len(s)-len(rest)], rest, ok
	case '1' <= c && c <= '9':
		n := 1
		for n < len(s) && '0' <= s[n] && s[n] <= '9' {
			n++
		}
		return s[:n], s[n:], true
	case c == '0':
		return s[:1], s[1:], true
	}
	rest, ok = strings.CutPrefix(s, "null")
	return "null", rest, ok
}

// set tells false where the member is unknown or of another type.
func (l *line) set(key, value string) bool {
	if n := l.number(key); n != nil {
		*n = number(value)
		return true
	}
	t := l.text(key)
	if t == nil || value != "null" && value[0] != '"' {
		return false
	}
	if value != "null" {
		*t = value[1 : len(value)-1]
	}
	return true
}

func (l *line) number(key string) *number {
	switch key {
	case "start":
		return &l.Start
	case "status":
		return &l.Status
	case "duration_us":
		return &l.DurationUS
	case "bytes_in":
		return &l.BytesIn
	case "bytes_out":
		return &l.BytesOut
	}
	return nil
}

func (l *line) text(key string) *string {
	switch key {
	case "request_id":
		return &l.RequestID
	case "route":
		return &l.Route
	case "session":
		return &l.Session
	case "function":
		return &l.Function
	case "language_title":
		return &l.LanguageTitle
	case "method":
		return &l.Method
	case "path":
		return &l.Path
	case "client_ip":
		return &l.ClientIP
	case "user_id":
		return &l.UserID
	case "namespace":
		return &l.Namespace
	case "details":
		return &l.Details
	case "flags":
		return &l.Flags
	}
	return nil
}
