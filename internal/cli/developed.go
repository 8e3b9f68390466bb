package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"envoke/internal/client"
	"envoke/internal/faas"
)

// developed is one file as a registered function of an Envoke, and as a web server
// that forwards to it.
type developed struct {
	path   string
	name   faas.Name // of the function
	server *client.Client
	out    *screen

	mu   sync.Mutex // guards what follows, and lets one load run at a time
	code *source    // that the function runs; nil before any has loaded
}

// developedName is no other function's, on a server that others use too.
func developedName(of faas.Name) faas.Name {
	suffix := "-dev-" + strings.ToLower(rand.Text()[:8])
	of.Title = of.Title[:min(len(of.Title), faas.MaxTitle-len(suffix))] + suffix
	return of
}

// load makes a version of the file as it is now. Where that fails the last one goes on.
func (d *developed) load(ctx context.Context) error {
	code, err := readSource(d.path)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err = deploy(ctx, d.server, client.Definition{
		Language: d.name.Language, Title: d.name.Title, Description: "envoke dev of " + filepath.Base(d.path),
		ScriptContent: code.script(), CompileOptions: code.compileOptions(),
	})
	if err != nil {
		return explain(err, &code)
	}
	d.code = &code
	if doubt := doubt(code); doubt != "" {
		d.out.say("warning: %s", doubt)
	}
	return nil
}

// loaded is what runs, or nil.
func (d *developed) loaded() *source {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.code
}

// drop deletes the function.
func (d *developed) drop(ctx context.Context) {
	if d.loaded() == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, devGrace)
	defer cancel()
	if err := d.server.Delete(ctx, d.name.String()); err != nil {
		d.out.say("✗ %s is still there: %v", d.name, err)
	}
}

// ServeHTTP runs the function for one request.
func (d *developed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started, code := time.Now(), d.loaded()
	var status int
	err := errors.New("the code has not loaded yet")
	if code != nil {
		status, err = d.server.Forward(w, r, d.name.String())
	}
	if err != nil && r.Context().Err() == nil {
		d.out.say("✗ %v", explain(err, code))
	}
	if status == 0 {
		e := &faas.Error{Code: faas.Unavailable, Message: err.Error()}
		status = e.HTTPStatus()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(e.Body(faas.InRuntime, ""))
	}
	d.out.say("%s %s  %d  %d ms", clean(r.Method), clean(r.URL.RequestURI()), status, time.Since(started).Milliseconds())
}
