package xds

import (
	"maps"
	"slices"

	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

const (
	// maxLinear is how many routes of a host Envoy tries one by one. What a tree costs, a few
	// of them cost too.
	maxLinear = 12
	// maxCopies bounds how often a tree holds each route on average. Many patterns that begin
	// with nothing would be in every node: those hosts are tried one by one.
	maxCopies = 16
)

// arrange has a host's routes tried in their order: one by one, or, where many are declared,
// by a tree that leads to those that can match.
func arrange(host *routev3.VirtualHost, routes []ranked, declared int) {
	if declared > maxLinear {
		if tree := matchTree(routes); tree != nil {
			host.Matcher = tree
			return
		}
	}
	for _, r := range routes {
		host.Routes = append(host.Routes, r.route)
	}
}

// matchTree finds the longest of its keys with which a path begins. Under each key are the
// routes that may match such a path: those of the key, and of all keys that the key begins
// with. A route's prefix is a key, and every path that it matches begins with it, so it is
// under the longest key of each of these paths. Nil: the tree would be too large.
func matchTree(routes []ranked) *xdsmatcherv3.Matcher {
	at := map[string][]int{} // prefix → routes in order
	for n, r := range routes {
		key := r.prefix
		if key == "" {
			key = "/" // with which all paths begin
		}
		at[key] = append(at[key], n)
	}
	nodes, copies := map[string]*xdsmatcherv3.Matcher_OnMatch{}, 0
	for _, key := range slices.Sorted(maps.Keys(at)) {
		var under []int
		for end := 1; end <= len(key); end++ {
			under = append(under, at[key[:end]]...)
		}
		if copies += len(under); copies > maxCopies*len(routes) {
			return nil
		}
		slices.Sort(under)
		nodes[key] = tried(routes, under)
	}
	return &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherTree_{MatcherTree: &xdsmatcherv3.Matcher_MatcherTree{
		Input: xdsExtension("path", &matcherv3.HttpRequestHeaderMatchInput{HeaderName: ":path"}),
		TreeType: &xdsmatcherv3.Matcher_MatcherTree_PrefixMatchMap{
			PrefixMatchMap: &xdsmatcherv3.Matcher_MatcherTree_MatchMap{Map: nodes},
		},
	}}}
}

// tried is a list of which the first that matches is taken.
func tried(routes []ranked, which []int) *xdsmatcherv3.Matcher_OnMatch {
	list := &routev3.RouteList{}
	for _, n := range which {
		list.Routes = append(list.Routes, routes[n].route)
	}
	return &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{Action: xdsExtension("routes", list)}}
}
