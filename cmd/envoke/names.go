package main

import (
	"errors"
	"fmt"

	"envoke/internal/faas"
	"envoke/internal/selection"
)

// mappings reads the file that maps names to languages. Without one it is nil: names
// begin with their language.
func (c *Config) mappings() (*selection.Mappings, error) {
	switch c.RuntimeSelectionStrategy {
	case "prefix", "PrefixMatching": // the older name
		if c.RuntimeMappingsFile != "" {
			return nil, errors.New("RUNTIME_MAPPINGS_FILE is set, but RUNTIME_SELECTION_STRATEGY is not config: nobody would read it")
		}
		return nil, nil
	case "config":
		if c.RuntimeMappingsFile == "" {
			return nil, errors.New("RUNTIME_SELECTION_STRATEGY is config: name the file in RUNTIME_MAPPINGS_FILE")
		}
		mappings, err := selection.Open(c.RuntimeMappingsFile)
		if err != nil {
			return nil, fmt.Errorf("RUNTIME_MAPPINGS_FILE: %w", err)
		}
		return mappings, nil
	case discovery:
		if c.RuntimeMappingsFile != "" {
			return nil, errors.New("RUNTIME_MAPPINGS_FILE is set, but RUNTIME_SELECTION_STRATEGY is not config: nobody would read it")
		}
		return nil, nil
	}
	return nil, fmt.Errorf("RUNTIME_SELECTION_STRATEGY is %q: it must be prefix, config or discovery", c.RuntimeSelectionStrategy)
}

// mapped tells whether names mean something else than their first word says.
func (e *environment) mapped() bool { return e.mappings != nil || e.hosts != nil }

// selection finds the function that a name means which a caller wrote there.
func (e *environment) selection() func(place faas.Place, name string) (faas.Ref, error) {
	if e.hosts != nil {
		return e.hosts.Select
	}
	if e.mappings == nil {
		return offered(e.config).ParseRefIn
	}
	return e.mappings.Select
}
