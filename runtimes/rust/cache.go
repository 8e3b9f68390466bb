package rust

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"envoke/internal/faas"
	"envoke/runtimes/disk"
	"envoke/runtimes/interpreter"
)

// digest names what a build makes: of the source and all that goes into it.
func (b *Builder) digest(j job) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %s %v\n%s", b.opt.Toolchain.identity, b.recipe, j.debug, j.source)
	return hex.EncodeToString(sum.Sum(nil))
}

func (b *Builder) modulesDir() string { return filepath.Join(b.opt.CacheDir, "modules") }

func (b *Builder) modulePath(digest string) string {
	return filepath.Join(b.modulesDir(), digest+".wasm")
}

// cached finds a module on disk, which is then the last to be removed.
func (b *Builder) cached(digest string) ([]byte, bool) {
	path := b.modulePath(digest)
	module, err := os.ReadFile(path)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			b.opt.Logger.Warn("read a module that was built", "error", err)
		}
		return nil, false
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now)
	b.metrics.hits.Inc()
	return module, true
}

// shared finds a module that another host has built, and keeps it on disk. Without an answer
// it is built here.
func (b *Builder) shared(ctx context.Context, digest string) ([]byte, bool) {
	if b.opt.Modules == nil {
		return nil, false
	}
	module, err := b.opt.Modules.Find(ctx, digest)
	switch {
	case err == nil && len(module) > 0 && len(module) <= b.opt.MaxModule:
		b.metrics.shared.Inc()
		b.keep(digest, module)
		return module, true
	case err != nil && !faas.IsNotFound(err):
		b.opt.Logger.Warn("ask for a module that another host may have built", "error", err)
	}
	return nil, false
}

// share stores a module for the other hosts, while its caller goes on.
func (b *Builder) share(digest string, module []byte) {
	if b.opt.Modules == nil {
		return
	}
	b.tasks.Go(func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		defer b.untilStopped(cancel)()
		if err := b.opt.Modules.Keep(ctx, digest, module); err != nil {
			b.opt.Logger.Warn("store a module for other hosts", "error", err)
		}
	})
}

// keep stores a module. A disk that takes none costs the next caller a build.
func (b *Builder) keep(digest string, module []byte) {
	err := interpreter.Write(b.modulePath(digest), module)
	if b.written.Add(int64(len(module))) > b.opt.MaxCache/8 {
		b.written.Store(0)
		err = errors.Join(err, disk.Sweep(b.modulesDir(), b.opt.MaxCache))
	}
	if err != nil {
		b.opt.Logger.Warn("keep a module that was built", "error", err)
	}
}
