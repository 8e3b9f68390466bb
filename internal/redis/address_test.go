package redis_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"envoke/internal/redis"
)

// No part of a password is in an error, whatever is wrong with the address.
func TestBadAddresses(t *testing.T) {
	const password = "Tr0ub4dorS3cret"
	for _, address := range []string{
		"", "http://x", "redis://", "redis://:6379", "unix://", "redis://u:%P@host:port", "redis://:%P@%zz",
		"redis://:%P#x@h:6379/0", "redis://:Tr0ub#4dorS3cret@h:6379/0", "redis://:Tr0ub/4dorS3cret@h", "redis://:Tr0ub?4dorS3cret@h:6379",
		"redis://:Tr0ub@4dorS3cret@h:x", "redis://:Tr0ub%4dorS3cret%@h", "u:%P@h:6379/0", ":%P@h", "%P", "http://u:%P@h",
		"redis://h:6379?password=%P", "redis://h:6379/0?db=%P", "redis://h/%P", "redis://u:%P@h/%P", "redis://h:%P/0",
		"rediss://u:%P@h/x", "unix://u:%P@", "unix:///s?password=%P", "redis://u:%P@h:6379/0\n", "redis:u:%P@h", "redis://u:%P", "redis:///%P@h",
	} {
		address = strings.ReplaceAll(address, "%P", password)
		_, err := redis.New(redis.Options{URL: address, Use: "x", Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
		if err == nil {
			t.Errorf("%q is taken", address)
			continue
		}
		for n := range len(password) - 3 {
			if piece := password[n : n+4]; strings.Contains(err.Error(), piece) {
				t.Errorf("%q: %q is in: %v", address, piece, err)
				break
			}
		}
	}
}

func TestGoodAddresses(t *testing.T) {
	for _, address := range []string{
		"redis://h", "redis://h:6379/2", "redis://:p%40%2F%23%3F@h:6379/0", "rediss://u:p@h:6380/0?skip_verify=true",
		"redis://[::1]:6379", "unix:///run/redis.sock", "unix://u:p@/run/redis.sock?db=1",
	} {
		if err := redis.CheckURL(address); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
}
