package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"envoke/internal/keys"
)

// The length of ADMIN_KEY, in bytes. It is long enough that nobody guesses a text of random
// characters, and what keys.Verify takes.
const (
	leastAdminKey = 32
	mostAdminKey  = 512
)

func (c *Config) bindKeys(f *pflag.FlagSet) {
	f.StringVar(&c.AdminKey, "admin-key", "", "API key of all rights that needs no database, to make the first keys with: at least 32 random characters (openssl rand -hex 32), better in ADMIN_KEY_FILE than here; empty: none")
}

// checkKeys says nothing of the key itself.
func (c *Config) checkKeys() []error {
	switch key := c.AdminKey; {
	case key == "":
		return nil
	case len(key) < leastAdminKey || len(key) > mostAdminKey:
		return []error{fmt.Errorf("ADMIN_KEY: it must have %d to %d characters: openssl rand -hex 32 makes one", leastAdminKey, mostAdminKey)}
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return []error{errors.New("ADMIN_KEY: it must be of printable ASCII without spaces, since it is sent as a header")}
	}
	return nil
}

func newKeys(e *environment, s store) *keys.Keys {
	return keys.New(keys.Options{Store: s, AdminKey: e.config.AdminKey, Logger: e.logger, Registerer: e.metrics})
}
