package xds

import (
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	localv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"envoke/internal/faas"
)

const (
	rateFilter = "envoy.filters.http.local_ratelimit"
	// callersCounted is how many callers each have a count of their own; the one that has not
	// called for longest loses it.
	callersCounted = 10_000
	// anonymousNetwork is what of an IPv6 address counts as one caller, in bits: a line
	// usually has so many addresses.
	anonymousNetwork = 64
)

// Rates are how many requests a minute one Envoy lets through; 0: any number. As many may
// come at one moment. Requests that are refused count too.
type Rates struct {
	Executes  int `json:"executes"`  // that run a function, of each user
	Anonymous int `json:"anonymous"` // that run a function, of each address whose callers are nobody
	Functions int `json:"functions"` // about functions and sessions, of each user, or address
	Namespace int `json:"namespace"` // of both kinds, of all users of each namespace together
}

func (r Rates) check() error {
	for _, rate := range []int{r.Executes, r.Anonymous, r.Functions, r.Namespace} {
		if rate < 0 || rate > math.MaxInt32 {
			return errors.New("a rate is out of range")
		}
	}
	return nil
}

// classes are what requests count as, by their paths; those of no class do not count.
var classes = map[string]string{
	executeClass:  `/(api/v1/(initialize|execute)|runtime|function)([/.?].*)?`,
	functionClass: `/api/v1/(functions|sessions|keys|secrets|audit|config)([/?].*)?`,
	// As short as it can be said, by the first letters of their paths: Envoy bounds the size of an
	// expression.
	anyClass: `/(api/v1/[acefiks][a-z]+|runtime|function)([/.?].*)?`,
}

// pathsOf is the expression of a class. Calls that OpenFaaS takes later count as calls.
func (s State) pathsOf(class string) string {
	if s.OpenFaaS.On() {
		return strings.Replace(classes[class], "|function)", "|(async-)?function)", 1)
	}
	return classes[class]
}

const (
	executeClass  = "execute"
	functionClass = "function"
	anyClass      = "any" // of both

	// Keys of the entries of a descriptor.
	classKey     = "class"
	namespaceKey = "namespace"
	userKey      = "user"
	addressKey   = "masked_remote_address"
)

// rateFilters let through as many requests as the rates say, and tell each caller how many
// are left.
func rateFilters(s State) []*hcmv3.HttpFilter {
	if s.Auth == nil || s.Rates == (Rates{}) {
		return nil
	}
	everything := &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{Numerator: 100}}
	local := filterOf(rateFilter, &localv3.LocalRateLimit{
		StatPrefix:                      "rates",
		TokenBucket:                     bucket(math.MaxInt32, time.Second), // of what no rate is for
		AlwaysConsumeDefaultTokenBucket: wrapperspb.Bool(false),
		FilterEnabled:                   everything,
		FilterEnforced:                  everything,
		Descriptors:                     descriptors(s.Rates),
		RateLimits:                      counts(s),
		MaxDynamicDescriptors:           wrapperspb.UInt32(callersCounted),
		EnableXRatelimitHeaders:         ratelimitv3.XRateLimitHeadersRFCVersion_DRAFT_VERSION_03,
		EnableRetryAfterHeader:          true,
		RateLimitedAsResourceExhausted:  true,
	})
	if s.SharedRates == 0 {
		return []*hcmv3.HttpFilter{local}
	}
	return []*hcmv3.HttpFilter{oneOfEach(), local, sharedFilter(s)}
}

// counted are requests of a class, of each value of the keys that they are counted by.
type counted struct {
	class string
	by    []string
	rate  int // a minute
}

// limits are all that count, in Envoy and in the budget that Envoys share.
func (r Rates) limits() []counted {
	all := []counted{
		{executeClass, []string{userKey}, r.Executes}, // of the default namespace
		{executeClass, []string{namespaceKey, userKey}, r.Executes},
		{executeClass, []string{addressKey}, r.Anonymous},
		{functionClass, []string{userKey}, r.Functions},
		{functionClass, []string{namespaceKey, userKey}, r.Functions},
		{functionClass, []string{addressKey}, r.Functions},
		{anyClass, []string{namespaceKey}, r.Namespace},
	}
	return slices.DeleteFunc(all, func(c counted) bool { return c.rate == 0 })
}

// descriptors have a bucket for each value of the entries that have none here.
func descriptors(r Rates) (all []*ratelimitv3.LocalRateLimitDescriptor) {
	for _, c := range r.limits() {
		entries := []*ratelimitv3.RateLimitDescriptor_Entry{{Key: classKey, Value: c.class}}
		for _, key := range c.by {
			entries = append(entries, &ratelimitv3.RateLimitDescriptor_Entry{Key: key})
		}
		all = append(all, &ratelimitv3.LocalRateLimitDescriptor{Entries: entries, TokenBucket: bucket(c.rate, time.Minute)})
	}
	return all
}

func bucket(tokens int, interval time.Duration) *typev3.TokenBucket {
	return &typev3.TokenBucket{MaxTokens: uint32(tokens), TokensPerFill: number(uint32(tokens)), FillInterval: duration(interval)}
}

// others are all users but the process's own, which asks itself whether it serves.
func others() *routev3.HeaderMatcher {
	own := header(faas.UserHeader, equal(faas.OwnUser))
	own.InvertMatch = true // and where there is none, it does not match
	return own
}

// counts say as what a request counts, and of whom: of a user of a namespace, of the address of
// those who are nobody, and of a namespace, whoever of it has sent it. What no rate is for does
// not count.
func counts(s State) (all []*routev3.RateLimit) {
	add := func(class string, who []*routev3.HeaderMatcher, whose ...*routev3.RateLimit_Action) {
		all = append(all, &routev3.RateLimit{Actions: append([]*routev3.RateLimit_Action{isOf(class, s.pathsOf(class), who)}, whose...)})
	}
	elsewhere := []*routev3.HeaderMatcher{present(faas.NamespaceHeader)}
	here := []*routev3.HeaderMatcher{absent(faas.NamespaceHeader), others()}
	for _, c := range s.Rates.limits() {
		switch {
		case c.class == anyClass:
			add(c.class, elsewhere, byHeader(namespaceKey, faas.NamespaceHeader))
			add(c.class, here, inDefault())
		case c.by[0] == addressKey:
			add(c.class, []*routev3.HeaderMatcher{absent(faas.UserHeader)}, network())
		case c.by[0] == namespaceKey:
			add(c.class, elsewhere, byHeader(namespaceKey, faas.NamespaceHeader), byHeader(userKey, faas.UserHeader))
		default:
			add(c.class, here, byHeader(userKey, faas.UserHeader))
		}
	}
	return all
}

// isOf are requests of a class, by their paths, and of those callers.
func isOf(class, paths string, who []*routev3.HeaderMatcher) *routev3.RateLimit_Action {
	return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_HeaderValueMatch_{
		HeaderValueMatch: &routev3.RateLimit_Action_HeaderValueMatch{
			DescriptorKey: classKey, DescriptorValue: class, Headers: append(slices.Clone(who), header(":path", all(paths))),
		},
	}}
}

// byHeader counts a request by the value of a header.
func byHeader(key, name string) *routev3.RateLimit_Action {
	return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_RequestHeaders_{
		RequestHeaders: &routev3.RateLimit_Action_RequestHeaders{HeaderName: name, DescriptorKey: key},
	}}
}

// inDefault counts a request as one of the default namespace, which no header names.
func inDefault() *routev3.RateLimit_Action {
	return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_GenericKey_{
		GenericKey: &routev3.RateLimit_Action_GenericKey{DescriptorKey: namespaceKey, DescriptorValue: faas.DefaultNamespace},
	}}
}

// network counts a request by the address from which it comes.
func network() *routev3.RateLimit_Action {
	return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_MaskedRemoteAddress_{
		MaskedRemoteAddress: &routev3.RateLimit_Action_MaskedRemoteAddress{V4PrefixMaskLen: number(32), V6PrefixMaskLen: number(anonymousNetwork)},
	}}
}
