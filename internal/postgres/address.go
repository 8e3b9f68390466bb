package postgres

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// errAddress says nothing of the address: where it cannot be taken apart, nobody knows which
// part of it is the password.
var errAddress = errors.New("it must be postgres://user:password@host:port/database, with %40 and the like for the characters @ / ? % of a password")

// CheckAddress tells whether an address can be understood. It connects to nothing, and its
// error has no password in it.
func CheckAddress(address string) error {
	_, err := parse(address)
	return err
}

func parse(address string) (*pgxpool.Config, error) {
	if !plain(address) {
		return nil, errAddress
	}
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, errors.New(withoutPassword(cause(err), address))
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "envoke"
	}
	return config, nil
}

// plain tells whether it is certain where the password begins and ends: an @ that comes after
// the first / or ? is most likely behind a password that has one of these.
func plain(address string) bool {
	scheme, rest, _ := strings.Cut(address, "://")
	if scheme != "postgres" && scheme != "postgresql" {
		return false
	}
	host, tail := rest, ""
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		host, tail = rest[:end], rest[end:]
	}
	return strings.Count(host, "@") <= 1 && !strings.Contains(tail, "@")
}

// cause is what is wrong with an address, without the address.
func cause(err error) string {
	var invalid *pgconn.ParseConfigError
	if !errors.As(err, &invalid) {
		return err.Error()
	}
	_, text, found := strings.Cut(invalid.Error(), "`: ")
	if !found {
		return errAddress.Error()
	}
	return text
}

// withoutPassword takes out what a library may have quoted.
func withoutPassword(text, address string) string {
	_, rest, _ := strings.Cut(address, "://")
	user, rest, _ := strings.Cut(rest, "@")
	_, password, _ := strings.Cut(user, ":")
	_, query, _ := strings.Cut(rest, "?")
	parameters, _ := url.ParseQuery(query) // as far as it goes
	decoded, _ := url.PathUnescape(password)
	for _, secret := range []string{password, decoded, parameters.Get("password"), parameters.Get("sslpassword")} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "xxxxx")
		}
	}
	return text
}

// place is a database as errors name it.
func place(config *pgconn.Config) string {
	host := config.Host
	if !strings.HasPrefix(host, "/") {
		host = fmt.Sprintf("%s:%d", host, config.Port)
	}
	return fmt.Sprintf("database %q at %s as user %q", config.Database, host, config.User)
}
