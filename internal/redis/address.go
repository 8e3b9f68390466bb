package redis

import (
	"errors"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
)

// errAddress says nothing of the address: where it cannot be taken apart, nobody knows which
// part of it is the password.
var errAddress = errors.New("it must be redis://user:password@host:port/number, rediss:// or unix:///path, with %40, %2F, %23, %3F for the characters @ / # ? of a password")

// CheckURL tells whether New would take the URL. The error names no password.
func CheckURL(raw string) error {
	_, err := parse(raw)
	return err
}

func parse(raw string) (*redis.Options, error) {
	if !plain(raw) {
		return nil, errAddress
	}
	options, err := redis.ParseURL(raw)
	if err != nil {
		return nil, errAddress // the library's text quotes what it does not understand
	}
	return options, nil
}

// plain tells whether it is certain where the password begins and ends: an @ that comes after
// the first / ? or # is most likely behind a password that has one of these.
func plain(raw string) bool {
	scheme, rest, _ := strings.Cut(raw, "://")
	host, tail := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		host, tail = rest[:end], rest[end:]
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil, strings.Count(host, "@") > 1, strings.Contains(tail, "@"), u.Fragment != "":
		return false
	case scheme == "unix":
		return u.Path != ""
	}
	return (scheme == "redis" || scheme == "rediss") && u.Hostname() != ""
}
