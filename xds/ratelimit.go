package xds

import (
	"errors"
	"math"
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
var classes = []struct{ name, paths string }{
	{executeClass, `/(api/v1/(initialize|execute)|runtime|function)([/.?].*)?`},
	{functionClass, `/api/v1/(functions|sessions|keys|secrets|audit)([/?].*)?`},
}

const (
	executeClass  = "execute"
	functionClass = "function"
	anyClass      = "any"
)

// rateFilters let through as many requests as the rates say, and tell each caller how many
// are left.
func rateFilters(s State) []*hcmv3.HttpFilter {
	if s.Auth == nil || s.Rates == (Rates{}) {
		return nil
	}
	everything := &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{Numerator: 100}}
	return []*hcmv3.HttpFilter{{Name: rateFilter, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(&localv3.LocalRateLimit{
		StatPrefix:                      "rates",
		TokenBucket:                     bucket(math.MaxInt32, time.Second), // of what no rate is for
		AlwaysConsumeDefaultTokenBucket: wrapperspb.Bool(false),
		FilterEnabled:                   everything,
		FilterEnforced:                  everything,
		Descriptors:                     descriptors(s.Rates),
		RateLimits:                      append(counts(), teams(s.Rates)...),
		MaxDynamicDescriptors:           wrapperspb.UInt32(callersCounted),
		EnableXRatelimitHeaders:         ratelimitv3.XRateLimitHeadersRFCVersion_DRAFT_VERSION_03,
		EnableRetryAfterHeader:          true,
		RateLimitedAsResourceExhausted:  true,
	})}}}
}

// descriptors have a bucket for each value of the entries that have none here.
func descriptors(r Rates) (all []*ratelimitv3.LocalRateLimitDescriptor) {
	for _, d := range []struct {
		class string
		of    []string
		rate  int
	}{
		{executeClass, []string{"user"}, r.Executes},
		{executeClass, []string{"namespace", "user"}, r.Executes},
		{executeClass, []string{"masked_remote_address"}, r.Anonymous},
		{functionClass, []string{"user"}, r.Functions},
		{functionClass, []string{"namespace", "user"}, r.Functions},
		{functionClass, []string{"masked_remote_address"}, r.Functions},
		{anyClass, []string{"namespace"}, r.Namespace},
	} {
		if d.rate == 0 {
			continue
		}
		entries := []*ratelimitv3.RateLimitDescriptor_Entry{{Key: "class", Value: d.class}}
		for _, key := range d.of {
			entries = append(entries, &ratelimitv3.RateLimitDescriptor_Entry{Key: key})
		}
		all = append(all, &ratelimitv3.LocalRateLimitDescriptor{Entries: entries, TokenBucket: bucket(d.rate, time.Minute)})
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

// counts say as what a request counts, and of whom: of a user of a namespace, or of the address
// of those who are nobody.
func counts() (limits []*routev3.RateLimit) {
	for _, class := range classes {
		is := func(who ...*routev3.HeaderMatcher) *routev3.RateLimit_Action {
			return counted(class.name, append(who, header(":path", all(class.paths)))...)
		}
		limits = append(limits,
			&routev3.RateLimit{Actions: []*routev3.RateLimit_Action{is(absent(faas.NamespaceHeader), others()), of("user", faas.UserHeader)}},
			&routev3.RateLimit{Actions: []*routev3.RateLimit_Action{
				is(present(faas.NamespaceHeader)), of("namespace", faas.NamespaceHeader), of("user", faas.UserHeader),
			}},
			&routev3.RateLimit{Actions: []*routev3.RateLimit_Action{is(absent(faas.UserHeader)), {
				ActionSpecifier: &routev3.RateLimit_Action_MaskedRemoteAddress_{MaskedRemoteAddress: &routev3.RateLimit_Action_MaskedRemoteAddress{
					V4PrefixMaskLen: number(32), V6PrefixMaskLen: number(anonymousNetwork),
				}},
			}}})
	}
	return limits
}

// teams say that a request counts as one of its namespace, the default one too, whoever of that
// has sent it.
func teams(r Rates) []*routev3.RateLimit {
	if r.Namespace == 0 {
		return nil
	}
	paths := make([]string, len(classes))
	for i, class := range classes {
		paths[i] = class.paths
	}
	either := header(":path", all(strings.Join(paths, "|")))
	return []*routev3.RateLimit{
		{Actions: []*routev3.RateLimit_Action{counted(anyClass, present(faas.NamespaceHeader), either), of("namespace", faas.NamespaceHeader)}},
		{Actions: []*routev3.RateLimit_Action{counted(anyClass, absent(faas.NamespaceHeader), others(), either), {
			ActionSpecifier: &routev3.RateLimit_Action_GenericKey_{GenericKey: &routev3.RateLimit_Action_GenericKey{
				DescriptorKey: "namespace", DescriptorValue: faas.DefaultNamespace,
			}},
		}}},
	}
}

// counted says that requests with these headers are of the class.
func counted(class string, headers ...*routev3.HeaderMatcher) *routev3.RateLimit_Action {
	return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_HeaderValueMatch_{
		HeaderValueMatch: &routev3.RateLimit_Action_HeaderValueMatch{DescriptorKey: "class", DescriptorValue: class, Headers: headers},
	}}
}

// of says whose a request is, by a header.
func of(key, header string) *routev3.RateLimit_Action {
	return &routev3.RateLimit_Action{ActionSpecifier: &routev3.RateLimit_Action_RequestHeaders_{
		RequestHeaders: &routev3.RateLimit_Action_RequestHeaders{HeaderName: header, DescriptorKey: key},
	}}
}
