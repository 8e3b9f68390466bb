package xds

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"envoke/internal/routing"
)

// hooked has a declared rule's requests and responses pass its hooks.
func hooked(_ State, _ routing.Rule, r *routev3.Route) *routev3.Route { return r }
