package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	cachedTitle = "nodejs-bench-cached"
	cachedPath  = "/function/" + cachedTitle
)

// cachedSource adds what it is given, in text by GET or in numbers. A GET is answered
// with the fields that our envelope has, as the servers beside it do.
const cachedSource = `module.exports = ({ params, context }) => {
  const result = Number(params.a) + Number(params.b);
  return context.http ? {
    result,
    request_id: '00000000-0000-8110-8000-000000000000',
    language_title: 'nodejs-bench',
    execution_time_ms: 0.051,
    memory_usage_bytes: 52428800,
    cached: false,
  } : result;
};
`

// Keys of the cases whose results come from our cache, by who answers.
var (
	byFilter  = []string{"cf", "cx"} // GET, execute
	byExtProc = []string{"ce", "cp"}
)

func cachedKeys() []string { return slices.Concat(byFilter, byExtProc) }

// startCached makes the cached cases; that of ext_proc needs an Envoke without filter.
// What does not answer from a cache is missing.
func (s *stand) startCached(ctx context.Context, ours target) error {
	if s.wants(byFilter...) {
		if err := s.addCached(ctx, ours, byFilter); err != nil {
			s.miss(err, byFilter...)
		}
	}
	if s.wants(byExtProc...) && ctx.Err() == nil {
		unfiltered, err := s.startEnvoke(ctx, unfilteredName, "--filter=false")
		if err != nil {
			return err
		}
		if err := s.addCached(ctx, unfiltered, byExtProc); err != nil {
			s.miss(err, byExtProc...)
			s.stopLast() // nothing needs it
		}
	}
	return ctx.Err()
}

// addCached registers the function, and adds the endpoints that ask for its results by
// GET and by execute, if both answer from a cache.
func (s *stand) addCached(ctx context.Context, ours target, keys []string) error {
	get := Endpoint{Network: "tcp", Address: ours.address, Of: []string{ours.name}, Cached: true}
	execute := get
	get.Path, get.Get = cachedPath, true
	body, err := json.Marshal(map[string]any{
		"language": "nodejs", "title": strings.TrimPrefix(cachedTitle, "nodejs-"),
		"script_content": cachedSource, "cache_ttl_seconds": 60,
	})
	if err != nil {
		return fmt.Errorf("register %s: %w", cachedTitle, err)
	}
	functions := Endpoint{Network: "tcp", Address: ours.address, Path: "/api/v1/functions"}
	if _, err := post(ctx, functions, string(body)); err != nil {
		return fmt.Errorf("register %s: %w", cachedTitle, err)
	}
	id, err := initialize(ctx, ours.address, cachedTitle, "")
	if err != nil {
		return fmt.Errorf("initialize %s: %w", cachedTitle, err)
	}
	execute.Path = "/api/v1/execute/" + id
	for _, endpoint := range []Endpoint{get, execute} {
		if err := tryCached(ctx, endpoint); err != nil {
			return fmt.Errorf("ask %s for a cached result: %w", endpoint.Path, err)
		}
	}
	s.endpoints[keys[0]], s.endpoints[keys[1]] = get, execute
	return nil
}

// tryCached fails if the endpoint does not answer from a cache.
func tryCached(ctx context.Context, endpoint Endpoint) error {
	connections, err := connect(ctx, dial, endpoint, 1)
	for _, c := range connections {
		c.close()
	}
	return err
}

// filterTries is how many cached results checkFilter asks for. That takes milliseconds,
// and the filter asks ext_proc again after 900 of them at the most.
const filterTries = 50

// checkFilter gives up the cases of the filter that it does not answer. It is called when
// Envoy has compiled the filter.
func (s *stand) checkFilter(ctx context.Context) error {
	for _, key := range byFilter {
		endpoint, ok := s.endpoints[key]
		if !ok {
			continue
		}
		switch asked, err := s.asked(ctx, endpoint); {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("find out who answers case %s: %w", key, err)
		case asked > filterTries/2:
			delete(s.endpoints, key)
			s.miss(fmt.Errorf("the filter left %.0f of %d cached results to ext_proc", asked, filterTries), key)
		}
	}
	return nil
}

// asked is how often ext_proc was asked meanwhile about filterTries cached results.
func (s *stand) asked(ctx context.Context, endpoint Endpoint) (float64, error) {
	connections, err := connect(ctx, dial, endpoint, 1)
	for _, c := range connections {
		defer c.close()
	}
	if err != nil {
		return 0, err
	}
	before, err := readMetric(ctx, s.filtered.operators, extProcRequests)
	if err != nil {
		return 0, err
	}
	for range filterTries {
		if err := connections[0].ask(connections[0].client); err != nil {
			return 0, err
		}
	}
	after, err := readMetric(ctx, s.filtered.operators, extProcRequests)
	return after - before, err
}

// extProcRequests counts the requests that ext_proc was asked about.
const extProcRequests = "envoke_extproc_requests_total{"

// readMetric is the sum of what begins like the metric.
func readMetric(ctx context.Context, operators, metric string) (sum float64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+operators+"/metrics", http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("ask for metrics: %w", err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, fmt.Errorf("ask for metrics: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	found := false
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if line := lines.Text(); strings.HasPrefix(line, metric) {
			n, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			if err != nil {
				return 0, fmt.Errorf("read metrics: %w", err)
			}
			sum, found = sum+n, true
		}
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	if !found {
		return 0, fmt.Errorf("read metrics: there is no %s", metric)
	}
	return sum, nil
}
