package main

import "envoke/filter/module"

// filterModule is the Wasm filter for Envoy; nil: it is turned off, or this binary
// was built without it.
func filterModule(e *environment) []byte {
	if !e.config.Filter {
		return nil
	}
	code := module.Code()
	if code == nil {
		e.logger.Warn("this build has no filter, so requests pass by it: `make build` makes one that has")
	}
	return code
}
