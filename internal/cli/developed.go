package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"envoke/internal/client"
	"envoke/internal/faas"
)

// maxBody is what an execute takes (6 MiB).
const maxBody = 6 << 20

// developed is one file as a session of an Envoke, and as a web server.
type developed struct {
	path   string
	server *client.Client
	out    *screen

	mu   sync.Mutex // guards what follows, and lets one load run at a time
	id   string     // of the session; empty before any code has loaded
	code source     // that the session runs
}

func (d *developed) session() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.id
}

// load makes a session of the file as it is now. Where that fails the last session
// stays.
func (d *developed) load(ctx context.Context) error {
	code, err := readSource(d.path)
	if err != nil {
		return err
	}
	return d.start(ctx, code)
}

func (d *developed) start(ctx context.Context, code source) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	id, err := d.server.Initialize(ctx, code.name.String(), client.Call{
		ScriptContent: code.script(), CompileOptions: code.compileOptions(),
	})
	if err != nil {
		return explain(err, &code)
	}
	old := d.id
	d.id, d.code = id, code
	// Calls that began with the old session may still run, and its worker finishes them.
	d.drop(context.WithoutCancel(ctx), old)
	return nil
}

// restart makes a new session where the given one is gone: sessions live for an hour.
func (d *developed) restart(ctx context.Context, gone string) error {
	d.mu.Lock()
	id, code := d.id, d.code
	d.mu.Unlock()
	if id != gone {
		return nil // somebody else has
	}
	return d.start(ctx, code)
}

// drop deletes a session, as a courtesy: it expires by itself.
func (d *developed) drop(ctx context.Context, id string) {
	if id != "" {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = d.server.DeleteSession(ctx, id)
	}
}

// ServeHTTP runs the function for one request.
func (d *developed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	status, body := d.answer(w, r)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) //nolint:gosec // JSON, and named so
	d.out.say("%s %s  %d  %d ms", clean(r.Method), clean(r.URL.RequestURI()), status, time.Since(started).Milliseconds())
}

func (d *developed) answer(w http.ResponseWriter, r *http.Request) (status int, body []byte) {
	params, err := paramsOf(w, r)
	if err == nil {
		var result client.Invocation
		if result, err = d.execute(r.Context(), client.Call{Params: params}); err == nil {
			return http.StatusOK, result.Result
		}
	}
	d.mu.Lock()
	code := d.code
	d.mu.Unlock()
	if r.Context().Err() == nil {
		d.out.say("✗ %v", explain(err, &code))
	}
	return failureBody(err)
}

// execute runs the session, and where the server has forgotten it, a new one: a call
// that was answered by 404 has not run.
func (d *developed) execute(ctx context.Context, call client.Call) (client.Invocation, error) {
	id := d.session()
	if id == "" {
		return client.Invocation{}, errors.New("the code has not loaded yet")
	}
	result, err := d.server.Execute(ctx, id, call)
	var reply *client.ReplyError
	if !errors.As(err, &reply) || reply.Code != faas.NotFound {
		return result, err
	}
	if err := d.restart(ctx, id); err != nil {
		return result, err
	}
	return d.server.Execute(ctx, d.session(), call)
}

// paramsOf are the body as JSON, else as text; without a body the query.
func paramsOf(w http.ResponseWriter, r *http.Request) (json.RawMessage, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	switch {
	case err != nil:
		return nil, &client.ReplyError{
			Status: http.StatusRequestEntityTooLarge, Code: faas.PayloadTooLarge, Message: "the body cannot be read: " + err.Error(),
		}
	case len(body) == 0:
		return json.Marshal(single(r.URL.Query()))
	case json.Valid(body):
		return body, nil
	}
	return json.Marshal(string(body))
}

// single writes a value that is given once without its list.
func single(values url.Values) map[string]any {
	members := make(map[string]any, len(values))
	for name, given := range values {
		if members[name] = given; len(given) == 1 {
			members[name] = given[0]
		}
	}
	return members
}

// failureBody is the error JSON of every Envoke.
func failureBody(err error) (status int, body []byte) {
	e := &faas.Error{Code: faas.Unavailable, Message: err.Error()}
	var id string
	var reply *client.ReplyError
	if errors.As(err, &reply) {
		e = &faas.Error{Code: reply.Code, Message: reply.Message, Status: reply.Status, Details: reply.Details}
		id = reply.RequestID
	}
	return e.HTTPStatus(), e.Body(faas.InRuntime, id)
}
