package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"envoke/internal/routing"
)

// Keys of the cases of declared routes to node:http, without a hook and with one.
const (
	unhooked = "rb"
	hookedBy = "rh"
)

func routedKeys() []string { return []string{unhooked, hookedBy} }

// hookSource looks at a header, as a guard does, and lets pass.
const hookSource = `module.exports = ({ params }) => params.headers['x-blocked'] ? { statusCode: 403 } : null;
`

// startHooked declares the routes. An Envoke that does not take them misses the cases.
func (s *stand) startHooked(ctx context.Context, ours target, node string) error {
	if !s.wants(routedKeys()...) {
		return nil
	}
	if err := s.addHooked(ctx, ours, node); err != nil {
		s.miss(err, routedKeys()...)
	}
	return ctx.Err()
}

func (s *stand) addHooked(ctx context.Context, ours target, node string) error {
	body, err := json.Marshal(map[string]any{"language": "nodejs", "title": "bench-hook", "script_content": hookSource})
	if err != nil {
		return fmt.Errorf("register the hook: %w", err)
	}
	if _, err := post(ctx, Endpoint{Network: "tcp", Address: ours.address, Path: "/api/v1/functions"}, string(body)); err != nil {
		return fmt.Errorf("register the hook: %w", err)
	}
	if err := declare(ctx, ours, hookRoutes(node)); err != nil {
		return err
	}
	const rest = "/v1/execute/00000000-0000-8110-8000-000000000000"
	for key, path := range map[string]string{unhooked: "/route" + rest, hookedBy: "/hooks" + rest} {
		at := Endpoint{Network: "tcp", Address: ours.address, Path: path, Of: []string{ours.name, "node"}}
		if err := s.awaitRoute(ctx, at); err != nil {
			return fmt.Errorf("ask %s: %w", path, err)
		}
		s.endpoints[key] = at
	}
	return nil
}

// hookRoutes are two routes to node:http, the second by way of the hook.
func hookRoutes(node string) routing.Routing {
	rule := func(path string) routing.Rule {
		return routing.Rule{
			Matches:     []routing.Match{{Path: &routing.PathMatch{Value: path}}},
			BackendRefs: []routing.BackendRef{{Name: "node"}},
		}
	}
	hooked := rule("/hooks")
	hooked.Hooks.Request = &routing.Hook{Function: "nodejs-bench-hook", Deadline: routing.Duration(time.Second), FailureMode: routing.FailClosed}
	return routing.Routing{
		Upstreams: []routing.Upstream{{Name: "node", Endpoints: []routing.UpstreamEndpoint{{Path: node}}}},
		Routes:    []routing.Route{{Name: "bench", Rules: []routing.Rule{rule("/route"), hooked}}},
	}
}

// declare puts a declaration.
func declare(ctx context.Context, ours target, r routing.Routing) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("declare routes: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+ours.address+"/api/v1/config", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("declare routes: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return fmt.Errorf("declare routes: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if text, _ := io.ReadAll(io.LimitReader(response.Body, 300)); response.StatusCode != http.StatusOK {
		return fmt.Errorf("declare routes: status %d: %s", response.StatusCode, text)
	}
	return nil
}

// routeWait is how long a route that was declared may take to be served.
const routeWait = 10 * time.Second

func (s *stand) awaitRoute(ctx context.Context, at Endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, routeWait)
	defer cancel()
	poll := time.NewTicker(settlePoll)
	defer poll.Stop()
	for {
		connections, err := connect(ctx, dial, at, 1)
		for _, c := range connections {
			c.close()
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-poll.C:
		}
	}
}
