package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"time"
)

// buildKey is the case of Rust source, which is compiled before it can run.
const buildKey = "wr"

const (
	rustTitle = "rust-bench-source"
	rustCode  = `params["a"].as_i64().unwrap_or(0) + params["b"].as_i64().unwrap_or(0)`
)

// buildRounds is how many builds are measured, each as a round of its own: some five are
// enough for a median, and each takes a second.
const buildRounds = 5

// firstBuild bounds the build that is not measured, with what a host does once for each
// compiler: it fetches and compiles the crates.
const firstBuild = 90 * time.Second

const noCompiler = "there is no Rust compiler that makes WebAssembly: `make rust` fetches one where apt-get has Debian 12's packages; or set RUSTC"

// PinnedRustc is where `make rust` puts the compiler of the tests.
func PinnedRustc(cacheDir string) string {
	return filepath.Join(cacheDir, "rust-1.63.0", "usr", "bin", "rustc")
}

// compilerArgs tell Envoke which compiler to use, where that is measured.
func (s *stand) compilerArgs() []string {
	if s.config.Rustc == "" || !s.wants(buildKey) {
		return nil
	}
	return []string{"--rustc", s.config.Rustc}
}

// addBuild adds the endpoint that compiles source, if it can.
func (s *stand) addBuild(ctx context.Context, ours target) {
	if !s.wants(buildKey) {
		return
	}
	endpoint := Endpoint{
		Network: "tcp", Address: ours.address, Path: "/api/v1/initialize", Of: []string{ours.name},
		Header: http.Header{"Language-Title": {rustTitle}}, Unseen: unseenRust,
	}
	err := errors.New(noCompiler)
	if s.config.Rustc != "" {
		s.config.Progress("compiling Rust once")
		err = tryBuild(ctx, endpoint)
	}
	if err != nil {
		s.miss(err, buildKey)
		return
	}
	s.endpoints[buildKey] = endpoint
}

// unseenRust is source that was compiled on no day before: hosts keep modules on disk.
func unseenRust(mark string) string {
	mark += " " + strconv.FormatInt(time.Now().UnixNano(), 36)
	return function{}.members(withComment("//")([]byte(rustCode), mark))
}

// tryBuild asks for a build as a one-shot, which waits as long as it may for a first one. A
// host goes on with what its caller has given up, so the second try may find it done.
func tryBuild(ctx context.Context, endpoint Endpoint) (err error) {
	ctx, cancel := context.WithTimeout(ctx, firstBuild)
	defer cancel()
	endpoint.Path = "/api/v1/execute"
	extra := "," + endpoint.Unseen("first")
	for range 2 {
		var c *client
		if c, err = dial(ctx, endpoint); err != nil {
			return err
		}
		err = newQuestion(endpoint, firstOperand, extra).ask(c)
		c.close()
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("compile Rust source: %w", err)
}

// measureBuilds lets source be compiled again and again, each time another.
func (r *run) measureBuilds(ctx context.Context) error {
	endpoint, ok := r.stand.endpoints[buildKey]
	if !ok {
		return nil
	}
	r.config.Progress("compiling Rust")
	for i := range buildRounds {
		err := r.account(ctx, resultKey{buildKey, Build}, func() (outcome, error) {
			return build(ctx, endpoint, fmt.Sprintf("build-%d", i))
		})
		if err != nil {
			return fmt.Errorf("measure builds of Rust: %w", err)
		}
	}
	return r.noteShares()
}

// build measures the time until initialize has answered that the source is compiled. What
// it was compiled to must then add.
func build(ctx context.Context, endpoint Endpoint, mark string) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, stallTimeout)
	defer cancel()
	c, err := dial(ctx, endpoint)
	if err != nil {
		return outcome{}, err
	}
	defer c.close()
	request := newRequest(endpoint, []byte("{"+endpoint.Unseen(mark)+"}"))
	sent := time.Now()
	reply, err := c.roundTrip(request)
	if err != nil {
		return outcome{}, err
	}
	took := time.Since(sent)
	id, err := sessionOf(reply)
	if err != nil {
		return outcome{}, err
	}
	execute := Endpoint{Path: "/api/v1/execute/" + id}
	return outcome{elapsed: took, sorted: []time.Duration{took}}, newQuestion(execute, firstOperand, "").ask(c)
}
