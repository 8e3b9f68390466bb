// Package layer installs the packages that functions depend on: once for each set of files
// that pins them, into a folder that all functions with the same files share and none can
// change. What installs them, npm or pip, runs in a sandbox, reaches the package index
// only, and runs no code of a package's.
package layer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"envoke/internal/faas"
	"envoke/runtimes/egress"
	"envoke/runtimes/fault"
	"envoke/runtimes/sandbox"
)

// Options configures Layers. A zero field means its default, where one is named.
type Options struct {
	Language faas.Language
	Dir      string // of the layers, this process's alone
	Tool     Tool
	Egress   *egress.Proxy // that lets the tool reach the index and nothing else

	Timeout  time.Duration // of one installation; 2 min
	MaxBytes int64         // of one layer; 256 MiB
	MaxAll   int64         // bytes of all; those used longest ago go; 2 GiB
	MaxFiles int           // of one layer; 20,000
	Queue    int           // installations that wait for the one under way; 8
	MemoryMB int           // of one installation, in MiB; 2048

	Groups *sandbox.Groups // give each installation a control group; nil: none has one

	Registerer prometheus.Registerer // nil: no metrics
}

// Layers are those of one language.
type Layers struct {
	opt     Options
	flight  singleflight.Group
	turn    chan struct{} // held by the installation under way
	metrics *metrics

	mu      sync.Mutex // guards what follows
	waiting int
	layers  map[string]*layer // by their keys
}

// layer is an installed one.
type layer struct {
	bytes    int64
	lastUsed time.Time
	users    int
}

const (
	filesMode  = 0o644
	folderMode = 0o755
	// unfinished is how the names of folders begin that are being filled.
	unfinished = "building-"
)

// Open finds the layers that are there, and removes what was left unfinished.
func Open(opt Options) (*Layers, error) {
	setDefault(&opt.Timeout, 2*time.Minute)
	setDefault(&opt.MaxBytes, 256<<20)
	setDefault(&opt.MaxAll, 2<<30)
	setDefault(&opt.MaxFiles, 20_000)
	setDefault(&opt.Queue, 8)
	setDefault(&opt.MemoryMB, 2048)
	l := &Layers{opt: opt, turn: make(chan struct{}, 1), layers: make(map[string]*layer)}
	if err := os.MkdirAll(opt.Dir, folderMode); err != nil {
		return nil, fmt.Errorf("make the folder of layers: %w", err)
	}
	entries, err := os.ReadDir(opt.Dir)
	if err != nil {
		return nil, fmt.Errorf("find layers: %w", err)
	}
	for _, entry := range entries {
		path := filepath.Join(opt.Dir, entry.Name())
		if strings.HasPrefix(entry.Name(), unfinished) {
			err = errors.Join(err, os.RemoveAll(path))
			continue
		}
		found, sizeErr := sizeOf(path)
		info, statErr := entry.Info()
		if err = errors.Join(err, sizeErr, statErr); err == nil {
			l.layers[entry.Name()] = &layer{bytes: found.bytes, lastUsed: info.ModTime()}
		}
	}
	l.metrics = newMetrics(opt.Registerer, l)
	return l, err
}

func setDefault[T int | int64 | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// Use returns the folder of the packages that the files pin, by their names: node_modules
// is in it, or packages. They are installed first, if they are not there. The folder stays until release is called.
// Errors are *faas.Error: INITIALIZATION_ERROR (422) where they cannot be installed, with
// the last words of what tried to; RATE_LIMITED or UNAVAILABLE where nothing tried.
func (l *Layers) Use(ctx context.Context, files map[string]string) (dir string, release func(), err error) {
	if fault := l.opt.Tool.check(files); fault != nil {
		return "", nil, fault
	}
	key := l.key(files)
	for {
		if dir, release, ok := l.hold(key); ok {
			return dir, release, nil
		}
		// It goes on for others if this caller goes away.
		installing := l.flight.DoChan(key, func() (any, error) { return nil, l.install(key, files) })
		select {
		case done := <-installing:
			if done.Err != nil {
				return "", nil, done.Err
			}
		case <-ctx.Done():
			return "", nil, fault.GoneAway(ctx)
		}
	}
}

// key names a layer: what is installed, and by what.
func (l *Layers) key(files map[string]string) string {
	h := sha256.New()
	write := func(part string) {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	write(l.opt.Tool.Version)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		write(name)
		write(files[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// hold keeps a layer from being removed until release.
func (l *Layers) hold(key string) (dir string, release func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := l.layers[key]
	if found == nil {
		return "", nil, false
	}
	found.users++
	l.use(key, found)
	return filepath.Join(l.opt.Dir, key), sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		found.users--
		l.use(key, found)
	}), true
}

// use notes when a layer was used last, for the next process too.
func (l *Layers) use(key string, found *layer) {
	found.lastUsed = time.Now()
	_ = os.Chtimes(filepath.Join(l.opt.Dir, key), time.Time{}, found.lastUsed)
}

// add makes an installed layer one of those that are there, and room for it.
func (l *Layers) add(key, from string, size int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := os.Rename(from, filepath.Join(l.opt.Dir, key)); err != nil {
		return fmt.Errorf("keep a layer: %w", err)
	}
	l.layers[key] = &layer{bytes: size, lastUsed: time.Now()}
	return l.evict(key)
}

// evict removes the layers used longest ago until the others fit. Those in use stay.
func (l *Layers) evict(but string) error {
	total := l.bytes()
	for total > l.opt.MaxAll {
		oldest := ""
		for key, found := range l.layers {
			if key != but && found.users == 0 && (oldest == "" || found.lastUsed.Before(l.layers[oldest].lastUsed)) {
				oldest = key
			}
		}
		if oldest == "" {
			return nil
		}
		total -= l.layers[oldest].bytes
		delete(l.layers, oldest)
		l.metrics.evictions.Inc()
		if err := os.RemoveAll(filepath.Join(l.opt.Dir, oldest)); err != nil {
			return fmt.Errorf("remove a layer: %w", err)
		}
	}
	return nil
}

// bytes is the size of all, with the lock held.
func (l *Layers) bytes() (total int64) {
	for _, found := range l.layers {
		total += found.bytes
	}
	return total
}

// size is what a folder holds.
type size struct {
	bytes int64
	files int
}

func sizeOf(dir string) (s size, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		s.files++
		s.bytes += info.Size()
		return nil
	})
	return s, err
}
