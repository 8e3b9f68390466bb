package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"envoke/internal/faas"
)

// masked stands in place of a value that nobody is to read.
const masked = "***"

// secretKeys are masked always, whatever the settings add: headers that say who calls, and
// what members of JSON are called that hold secrets.
var secretKeys = []string{
	"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key",
	"password", "passwd", "secret", "client_secret", "token", "access_token", "refresh_token", "id_token",
	"api_key", "apikey", "private_key",
}

// Mask takes out of payloads what nobody is to read, and bounds them.
type Mask struct {
	keys map[string]bool // folded
	most int             // bytes of one payload
}

// NewMask masks what is called as secrets usually are, and what has one of the given names. A
// payload is cut to so many bytes.
func NewMask(keys []string, most int) *Mask {
	m := &Mask{keys: make(map[string]bool, len(secretKeys)+len(keys)), most: most}
	for _, key := range append(append([]string(nil), secretKeys...), keys...) {
		if key = fold(strings.TrimSpace(key)); key != "" {
			m.keys[key] = true
		}
	}
	return m
}

// Secret tells whether a header, or a member of an object, is masked.
func (m *Mask) Secret(key string) bool { return m.keys[fold(key)] }

// fold is the same for names that readers of JSON take for one, and for those that differ in
// how they are put together: access_token, accessToken, access-token.
func fold(key string) string { return joined.Replace(strings.ToLower(strings.ToUpper(key))) }

var joined = strings.NewReplacer("_", "", "-", "", " ", "")

// JSON is a JSON value with its secrets masked, at any depth, and cut. So are API keys of ours
// in any text. It reads little more than
// it shows. What is no JSON is not shown.
func (m *Mask) JSON(value []byte) string {
	if len(value) == 0 {
		return ""
	}
	text, whole, err := m.copy(value)
	if err != nil {
		return fmt.Sprintf("… [%d bytes that are no JSON]", len(value))
	}
	if whole {
		return faas.MaskKeySecrets(strings.ToValidUTF8(text, "\uFFFD"))
	}
	mark := fmt.Sprintf("… [cut: it has %d bytes]", len(value))
	return faas.MaskKeySecrets(strings.ToValidUTF8(text[:max(0, min(len(text), m.most-len(mark)))], "")) + mark
}

// Form is a form (a=1&b=2) that is a JSON string, with its secrets masked, as JSON does it.
func (m *Mask) Form(value []byte) string {
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return m.JSON(value)
	}
	var out strings.Builder
	rest, more := string(text), true
	for more && out.Len() <= m.most {
		var pair string
		pair, rest, more = strings.Cut(rest, "&")
		if name, _, valued := strings.Cut(pair, "="); valued && m.secretField(name) {
			pair = name + "=" + masked
		}
		out.WriteString(pair)
		if more {
			out.WriteByte('&')
		}
	}
	out.WriteString(rest) // it is longer than what is shown, or nothing
	quoted, err := jsontext.AppendQuote(nil, strings.ToValidUTF8(out.String(), "\uFFFD"))
	if err != nil {
		return m.JSON(value)
	}
	return m.JSON(quoted)
}

// secretField tells whether a field of a form is masked, such as user[password].
func (m *Mask) secretField(name string) bool {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '[' || r == ']' || r == '.' })
	return m.Secret(name) || slices.ContainsFunc(parts, m.Secret)
}

// errMore is of several values one after the other, which a decoder of JSON reads too.
var errMore = errors.New("there is more than one value")

// copy copies token by token, with what stands between them, and tells whether that was all.
func (m *Mask) copy(value []byte) (text string, whole bool, err error) {
	var out strings.Builder
	d := jsontext.NewDecoder(bytes.NewBuffer(value), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for last := int64(0); ; last = d.InputOffset() {
		token, err := d.ReadToken()
		_, values := d.StackIndex(0)
		switch {
		case errors.Is(err, io.EOF) && values == 1:
			return out.String(), true, nil
		case err == nil && values > 1:
			err = errMore
		}
		if err != nil {
			return "", false, err
		}
		secret := isName(d, token.Kind()) && m.Secret(token.String())
		span := value[last:d.InputOffset()]
		out.Write(span[:min(len(span), m.most+1)]) // of a long text, no more than is shown
		if secret {
			if err := d.SkipValue(); err != nil {
				return "", false, err
			}
			out.WriteString(`:"` + masked + `"`)
		}
		if out.Len() > m.most {
			return out.String(), false, nil
		}
	}
}

// isName tells whether the token just read is the name of a member.
func isName(d *jsontext.Decoder, read jsontext.Kind) bool {
	in, length := d.StackIndex(d.StackDepth())
	return read == '"' && in == '{' && length%2 == 1
}
