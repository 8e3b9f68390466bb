package xds

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"envoke/internal/routing"
)

// chosen is which rule the Gateway API's text has a request take; -1: none. It knows nothing
// of how Envoy is told.
func chosen(rules []routing.Rule, r request) int {
	best, at := []int(nil), -1
	for n, rule := range rules {
		matches := rule.Matches
		if len(matches) == 0 {
			matches = []routing.Match{{}}
		}
		for _, m := range matches {
			if score, ok := r.matches(m); ok && slices.Compare(score, best) > 0 {
				best, at = score, n
			}
		}
	}
	return at
}

type request struct {
	method, path string
	header       string // the value of x-a
	param        string // the value of a
}

// matches tells whether a request matches, and by what: an exact path, characters of the
// path, a pattern, a method, headers, query parameters.
func (r request) matches(m routing.Match) (score []int, ok bool) {
	path := routing.PathMatch{Type: routing.PathPrefix, Value: "/"}
	if m.Path != nil {
		path = *m.Path
	}
	var exact, length, pattern int
	switch path.Type {
	case routing.Exact:
		ok, exact, length = r.path == path.Value, 1, len(path.Value)
	case routing.Template:
		expression := regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta(path.Value), "[^/]+")
		ok, length, pattern = regexp.MustCompile("^"+expression+"$").MatchString(r.path), strings.IndexByte(path.Value, '{'), 2
	case routing.RegularExpression:
		ok, length, pattern = regexp.MustCompile("^(?:"+path.Value+")$").MatchString(r.path), strings.IndexByte(path.Value, '['), 1
	default:
		prefix := strings.TrimRight(path.Value, "/")
		ok = r.path == prefix || strings.HasPrefix(r.path, prefix+"/")
		length = max(1, len(prefix))
	}
	score = []int{exact, length, pattern, 0, len(m.Headers), len(m.QueryParams)}
	if m.Method != "" {
		score[3], ok = 1, ok && m.Method == r.method
	}
	for _, h := range m.Headers {
		ok = ok && h.Value == r.header
	}
	for _, p := range m.QueryParams {
		ok = ok && p.Value == r.param
	}
	return score, ok
}

func pick[T any](random *rand.Rand, from ...T) T { return from[random.IntN(len(from))] }

func randomPath(random *rand.Rand) string {
	var path strings.Builder
	for range random.IntN(4) {
		path.WriteString("/" + pick(random, "a", "b", "ab", "abc", "0"))
	}
	return path.String()
}

func randomRules(random *rand.Rand, n int) []routing.Rule {
	rules := make([]routing.Rule, n)
	for i := range rules {
		m := routing.Match{Path: &routing.PathMatch{Value: randomPath(random) + pick(random, "", "/")}}
		if m.Path.Value == "" {
			m.Path.Value = "/"
		}
		switch random.IntN(6) {
		case 0, 1:
			m.Path.Type = routing.Exact
		case 2:
			m.Path.Type, m.Path.Value = routing.Template, randomPath(random)+"/{x}"+randomPath(random)
		case 3:
			m.Path.Type, m.Path.Value = routing.RegularExpression, randomPath(random)+"/[ab]+"
		case 4:
			m.Path.Type = routing.PathPrefix
		}
		m.Method = pick(random, "", "", "GET", "PUT")
		if random.IntN(3) == 0 {
			m.Headers = []routing.ValueMatch{{Name: "X-A", Value: pick(random, "1", "2")}}
		}
		if random.IntN(4) == 0 {
			m.QueryParams = []routing.ValueMatch{{Name: "a", Value: pick(random, "1", "2")}}
		}
		rules[i].Matches = []routing.Match{m}
	}
	return rules
}

// TestMatching has Envoy choose among random rules, tried one by one and by a tree.
func TestMatching(t *testing.T) {
	s := newStack(t, nil)
	serveHTTP(t, filepath.Join(s.dir, "any.sock"), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.state.Routing.Upstreams = []routing.Upstream{{Name: "any", Endpoints: []routing.UpstreamEndpoint{{Path: filepath.Join(s.dir, "any.sock")}}}}
	random := rand.New(rand.NewPCG(9, 9))
	hosts := map[string][]routing.Rule{}
	for n := range 40 {
		few, many := fmt.Sprintf("few%d.example", n), fmt.Sprintf("many%d.example", n)
		hosts[few], hosts[many] = randomRules(random, maxLinear), randomRules(random, 4*maxLinear)
	}
	for host, rules := range hosts {
		for n := range rules {
			rules[n].BackendRefs = to("any")
			rules[n].Filters = []routing.Filter{{Type: routing.ResponseHeaderModifier, ResponseHeaderModifier: &routing.Headers{
				Set: []routing.Header{{Name: "x-rule", Value: fmt.Sprint(n)}},
			}}}
		}
		s.state.Routing.Routes = append(s.state.Routing.Routes, routing.Route{Name: host, Hostnames: []string{host}, Rules: rules})
	}
	s.publish(s.state)
	trees := 0
	for host, rules := range hosts {
		if virtualHost(s.state, host, []routing.Route{{Name: host, Rules: rules}}).GetMatcher() != nil {
			trees++
		}
		for range 60 {
			r := request{method: pick(random, "GET", "PUT"), path: randomPath(random) + pick(random, "", "/", "/x"), header: pick(random, "", "1", "2"), param: pick(random, "0", "1", "2")}
			if r.path == "" {
				r.path = "/"
			}
			want := ""
			if n := chosen(rules, r); n >= 0 {
				want = fmt.Sprint(n)
			}
			reply, err := s.sendTo(host, r)
			if err != nil {
				t.Fatal(err)
			}
			if reply != want {
				t.Fatalf("%s: %+v took rule %q, want %q of %+v", host, r, reply, want, rules)
			}
		}
	}
	if trees < 30 {
		t.Errorf("only %d hosts have a tree", trees)
	}
}

func (s *stack) sendTo(host string, r request) (rule string, err error) {
	request, err := http.NewRequestWithContext(s.t.Context(), r.method, "http://"+s.Addr+r.path+"?a="+r.param, http.NoBody)
	if err != nil {
		return "", err
	}
	request.Host = host
	if r.header != "" {
		request.Header.Set("X-A", r.header)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	return response.Header.Get("X-Rule"), nil
}
