package rust

import (
	"strings"
	"unicode/utf8"
)

// Form is how a source is written.
type Form string

// The forms of a source.
const (
	Fragment Form = "fragment" // statements over params and context, whose value is the result
	Handler  Form = "handler"  // it has fn handler, which takes params and returns the result
	Program  Form = "program"  // it has fn main, which reads stdin and writes stdout
)

// FormOf tells the form by the functions that are declared at the source's top level. What
// has a main is a program, whatever else is in it.
func FormOf(source string) Form {
	s := scanner{rest: withoutShebang(source)}
	form, depth, last := Fragment, 0, ""
	for token := s.next(); token != ""; token = s.next() {
		declares := depth == 0 && last == "fn"
		switch {
		case token == "{" || token == "(" || token == "[":
			depth++
		case token == "}" || token == ")" || token == "]":
			depth = max(0, depth-1)
		case token == "main" && declares:
			return Program
		case token == "handler" && declares:
			form = Handler
		}
		last = token
	}
	return form
}

// withoutShebang leaves out the first line where the compiler does.
func withoutShebang(source string) string {
	if !strings.HasPrefix(source, "#!") || strings.HasPrefix(strings.TrimLeft(source[2:], " \t\r\n"), "[") {
		return source
	}
	_, rest, _ := strings.Cut(source, "\n")
	return rest
}

// scanner reads Rust as far as to tell what is a word from what only looks like one: in
// comments, strings and characters. See https://doc.rust-lang.org/reference/tokens.html
type scanner struct{ rest string }

// next is the next word, or a byte of anything else; empty at the end. What is in strings,
// numbers and lifetimes is left out.
func (s *scanner) next() string {
	for s.rest != "" {
		first := s.rest[0]
		switch {
		case first <= ' ':
			s.skip(1)
		case strings.HasPrefix(s.rest, "//"):
			_, s.rest, _ = strings.Cut(s.rest, "\n")
		case strings.HasPrefix(s.rest, "/*"):
			s.skipComment()
		case first == '"':
			s.skip(1)
			s.skipString('"')
		case first == '\'':
			s.skipQuote()
		case isDigit(first):
			s.word()
		case isWord(first):
			if word := s.word(); !s.isPrefix(word) {
				return word
			}
		default:
			s.skip(1)
			return string(rune(first))
		}
	}
	return ""
}

func (s *scanner) skip(n int) { s.rest = s.rest[min(n, len(s.rest)):] }

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// isWord takes all that is no ASCII for a letter: the compiler knows better.
func isWord(b byte) bool {
	return b == '_' || isDigit(b) || b|0x20 >= 'a' && b|0x20 <= 'z' || b >= utf8.RuneSelf
}

func (s *scanner) word() string {
	n := 0
	for n < len(s.rest) && isWord(s.rest[n]) {
		n++
	}
	word := s.rest[:n]
	s.skip(n)
	return word
}

// isPrefix tells whether a word is what a string, a character or a raw word begins with,
// and skips that.
func (s *scanner) isPrefix(word string) bool {
	switch {
	case s.rest == "":
	case (word == "b" || word == "c") && s.rest[0] == '"':
		s.skip(1)
		s.skipString('"')
		return true
	case word == "b" && s.rest[0] == '\'':
		s.skip(1)
		s.skipString('\'')
		return true
	case word == "r" || word == "br" || word == "cr":
		return s.skipRaw()
	}
	return false
}

// skipRaw skips the rest of a raw string, or of a raw word such as r#fn, behind its letters.
func (s *scanner) skipRaw() bool {
	hashes := len(s.rest) - len(strings.TrimLeft(s.rest, "#"))
	switch after := s.rest[hashes:]; {
	case strings.HasPrefix(after, `"`):
		_, s.rest, _ = strings.Cut(after[1:], `"`+s.rest[:hashes])
		return true
	case hashes == 1 && after != "" && isWord(after[0]):
		s.skip(1)
		s.word()
		return true
	}
	return false
}

// skipComment skips a block comment with those that are in it.
func (s *scanner) skipComment() {
	depth := 0
	for s.rest != "" {
		switch {
		case strings.HasPrefix(s.rest, "/*"):
			depth++
			s.skip(2)
		case strings.HasPrefix(s.rest, "*/"):
			s.skip(2)
			if depth--; depth == 0 {
				return
			}
		default:
			s.skip(1)
		}
	}
}

// skipString skips to behind the end of a string or a character that has begun.
func (s *scanner) skipString(end byte) {
	for s.rest != "" {
		switch s.rest[0] {
		case '\\':
			s.skip(2)
		case end:
			s.skip(1)
			return
		default:
			s.skip(1)
		}
	}
}

// skipQuote skips a character, or a lifetime or label: those have no quote at their end.
func (s *scanner) skipQuote() {
	s.skip(1)
	if strings.HasPrefix(s.rest, `\`) {
		s.skipString('\'')
		return
	}
	_, size := utf8.DecodeRuneInString(s.rest)
	if strings.HasPrefix(s.rest[size:], "'") {
		s.skip(size + 1)
		return
	}
	s.word()
}
