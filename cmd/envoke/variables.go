package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

func envName(flag string) string { return strings.ToUpper(strings.ReplaceAll(flag, "-", "_")) }

func fillFromEnv(f *pflag.FlagSet, getenv func(string) string) (faults []error) {
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed {
			return
		}
		name := envName(flag.Name)
		file := name + "_FILE"
		if f.Lookup(flag.Name+"-file") != nil {
			file = "" // a setting of its own, such as TLS_CERT_FILE beside TLS_CERT
		}
		value, err := envValue(name, file, getenv)
		if err == nil && value != "" {
			err = f.Set(flag.Name, value)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, plainCause(err)))
		}
	})
	return faults
}

// envValue is the value of a variable, or what the file holds that the other one names.
func envValue(name, file string, getenv func(string) string) (string, error) {
	value := getenv(name)
	if file == "" || getenv(file) == "" {
		return value, nil
	}
	path := getenv(file)
	if value != "" {
		return "", fmt.Errorf("%s is set too: set one of them", file)
	}
	raw, err := os.ReadFile(path)
	return strings.TrimSpace(string(raw)), err
}
