package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// kind is one kind of request: run sends one, checks the answer and tells whether it
// came from a cache.
type kind struct {
	name   string
	weight int
	run    func(c *client, random *rand.Rand) (hit bool, err error)
}

// client is one connection.
type client struct {
	*fasthttp.HostClient
	url      string
	request  *fasthttp.Request
	response *fasthttp.Response
}

const requestTimeout = 40 * time.Second

func newClient(url string) *client {
	return &client{
		HostClient: &fasthttp.HostClient{
			Addr: strings.TrimPrefix(url, "http://"), MaxConns: 1, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout,
		},
		url: url, request: fasthttp.AcquireRequest(), response: fasthttp.AcquireResponse(),
	}
}

func (c *client) close() { c.CloseIdleConnections() }

// call is a request: its method and path, and the status that it must be answered with.
type call struct {
	status       int
	method, path string
	title        string // the Language-Title header
}

func post(path string) call { return call{status: http.StatusOK, method: http.MethodPost, path: path} }

// send returns the answer's body, which is valid until the next.
func (c *client) send(r call, body string) ([]byte, error) {
	c.request.Reset()
	c.request.Header.SetMethod(r.method)
	c.request.SetRequestURI(c.url + r.path)
	c.request.SetBodyString(body)
	if r.title != "" {
		c.request.Header.Set("Language-Title", r.title)
	}
	c.response.Reset()
	if err := c.Do(c.request, c.response); err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	if got := c.response.StatusCode(); got != r.status {
		return nil, fmt.Errorf("%s %s: status %d: %.500s", r.method, r.path, got, c.response.Body())
	}
	return c.response.Body(), nil
}

func (c *client) hit() bool { return len(c.response.Header.Peek("Age")) > 0 }

// want checks that the answer begins as it must.
func want(body []byte, start string) error {
	if !bytes.HasPrefix(body, []byte(start)) {
		return fmt.Errorf("got %.300s, want %s…", body, start)
	}
	return nil
}

// initialize makes a session of code, or of a registered function.
func (c *client) initialize(title, script string) (id string, err error) {
	request := map[string]string{}
	if script != "" {
		request["script_content"] = script
	}
	raw, _ := json.Marshal(request) // strings only
	body, err := c.send(call{http.StatusOK, http.MethodPost, "/api/v1/initialize", title}, string(raw))
	if err != nil {
		return "", err
	}
	var session struct {
		ID string `json:"request_id"`
	}
	if err := json.Unmarshal(body, &session); err != nil || session.ID == "" {
		return "", fmt.Errorf("no session in %.300s", body)
	}
	return session.ID, nil
}

// register registers a function of JavaScript whose results are cached.
func (c *client) register(title, script string, seconds int) error {
	raw, _ := json.Marshal(map[string]any{ // strings and numbers only
		"language": "nodejs", "title": title, "script_content": script, "cache_ttl_seconds": seconds,
	})
	_, err := c.send(call{http.StatusCreated, http.MethodPost, "/api/v1/functions", ""}, string(raw))
	return err
}

// scripts is how many different ones each kind sends. Hosts keep hundreds of MiB of them,
// so that ever new ones would look like a leak; what leaks by the request still shows.
const scripts = 200

const (
	twice       = "return {n: event.params.n, twice: event.params.n * 2}"
	twicePython = "result = {'n': params['n'], 'twice': params['n'] * 2}"
)

// doubled checks an execute of twice.
func doubled(id string, most int) func(*client, *rand.Rand) (bool, error) {
	return func(c *client, random *rand.Rand) (bool, error) {
		n := random.IntN(most)
		body, err := c.send(post("/api/v1/execute/"+id), fmt.Sprintf(`{"params":{"n":%d}}`, n))
		if err != nil {
			return false, err
		}
		compact := bytes.ReplaceAll(body, []byte(": "), []byte(":"))
		return c.hit(), want(bytes.ReplaceAll(compact, []byte(", "), []byte(",")), fmt.Sprintf(`{"result":{"n":%d,"twice":%d}`, n, 2*n))
	}
}

// prepare makes the functions and sessions that the load uses.
func prepare(ctx context.Context, config Config) ([]kind, error) {
	c := newClient(config.URL)
	defer c.close()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	run := strconv.FormatInt(time.Now().UnixNano(), 36) // names of this run's own
	err := errors.Join(
		c.register("soak-twice-"+run, twice, 2),
		c.register("soak-page-"+run, "return 'page ' + event.context.http.query.n", 2),
	)
	if err != nil {
		return nil, err
	}
	cached, err := c.initialize("nodejs-soak-twice-"+run, "")
	if err != nil {
		return nil, err
	}
	hits := []kind{
		{"cached execute", 30, doubled(cached, 200)},
		{"cached page", 30, page("/function/nodejs-soak-page-" + run)},
	}
	if config.HitsOnly {
		return hits, nil
	}
	return others(c, hits, cached)
}

func page(path string) func(*client, *rand.Rand) (bool, error) {
	return func(c *client, random *rand.Rand) (bool, error) {
		n := strconv.Itoa(random.IntN(200))
		body, err := c.send(call{http.StatusOK, http.MethodGet, path + "?n=" + n, ""}, "")
		if err != nil {
			return false, err
		}
		return c.hit(), want(body, `"page `+n+`"`)
	}
}

// others adds what no cache answers.
func others(c *client, work []kind, cached string) ([]kind, error) {
	plain, err := c.initialize("nodejs-soak", twice)
	if err != nil {
		return nil, err
	}
	python, err := c.initialize("python-soak", twicePython)
	if err != nil {
		return nil, err
	}
	module, err := c.initialize("rust-data_validator", "")
	if err != nil {
		return nil, err
	}
	return append(work,
		kind{"many results", 5, doubled(cached, 1<<30)}, // each new: the caches turn over
		kind{"plain execute", 20, doubled(plain, 1<<30)},
		kind{"python", 10, doubled(python, 1<<30)},
		kind{"wasm", 5, validate(module)},
		kind{"one-shot", 1, oneShot},
		kind{"session", 1, session},
		kind{"error", 2, fails(plain)},
		kind{"no session", 2, noSession},
	), nil
}

func validate(id string) func(*client, *rand.Rand) (bool, error) {
	return func(c *client, _ *rand.Rand) (bool, error) {
		body, err := c.send(post("/api/v1/execute/"+id),
			`{"params":{"data":{"age":1},"rules":{"age":{"type":"number"}}}}`)
		if err != nil {
			return false, err
		}
		return false, want(body, `{"result":{`)
	}
}

func oneShot(c *client, random *rand.Rand) (bool, error) {
	n := random.IntN(scripts)
	body, err := c.send(call{http.StatusOK, http.MethodPost, "/api/v1/execute", "nodejs-once"},
		fmt.Sprintf(`{"script_content":"return '%d'"}`, n))
	if err != nil {
		return false, err
	}
	return false, want(body, fmt.Sprintf(`{"result":"%d"`, n))
}

// session makes a session, runs it and deletes it.
func session(c *client, random *rand.Rand) (bool, error) {
	n := random.IntN(scripts)
	id, err := c.initialize("python-session", fmt.Sprintf("result = params + %d", n))
	if err != nil {
		return false, err
	}
	body, err := c.send(post("/api/v1/execute/"+id), `{"params":1}`)
	if err != nil {
		return false, err
	}
	if err := want(body, fmt.Sprintf(`{"result":%d,`, n+1)); err != nil {
		return false, err
	}
	if _, err = c.send(call{http.StatusNoContent, http.MethodDelete, "/api/v1/sessions/" + id, ""}, ""); err != nil {
		return false, err
	}
	_, err = c.send(call{http.StatusNotFound, http.MethodPost, "/api/v1/execute/" + id, ""}, `{"params":1}`)
	return false, err
}

func fails(id string) func(*client, *rand.Rand) (bool, error) {
	return func(c *client, _ *rand.Rand) (bool, error) {
		_, err := c.send(call{http.StatusInternalServerError, http.MethodPost, "/api/v1/execute/" + id, ""}, `{"params":null}`)
		return false, err
	}
}

func noSession(c *client, random *rand.Rand) (bool, error) {
	id := fmt.Sprintf("%08x-0000-8100-8000-000000000000", random.Uint32())
	_, err := c.send(call{http.StatusNotFound, http.MethodPost, "/api/v1/execute/" + id, ""}, `{}`)
	return false, err
}
