package secrets

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
)

// Owned are keys in a file of our own, which is made when something is sealed for the first
// time. They are a Sealer.
type Owned struct {
	path   string
	logger *slog.Logger

	mu   sync.Mutex
	keys *Keys // nil: the file was not there yet
}

// OpenOwned reads the file, if there is one.
func OpenOwned(path string, logger *slog.Logger) (*Owned, error) {
	o := &Owned{path: path, logger: logger}
	keys, err := ReadKeys(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return o, nil
	case err != nil:
		return nil, err
	}
	o.keys = keys
	return o, nil
}

// Keys are nil as long as there are none.
func (o *Owned) Keys() *Keys {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.keys
}

// Seal implements Sealer.
func (o *Owned) Seal(ctx context.Context, value, bound []byte) (key string, sealed []byte, err error) {
	keys, err := o.make(ctx)
	if err != nil {
		return "", nil, err
	}
	return keys.Seal(ctx, value, bound)
}

// Open implements Sealer.
func (o *Owned) Open(ctx context.Context, key string, sealed, bound []byte) ([]byte, error) {
	if keys := o.Keys(); keys != nil {
		return keys.Open(ctx, key, sealed, bound)
	}
	return nil, ErrUnknownKey
}

func (o *Owned) make(ctx context.Context) (*Keys, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.keys != nil {
		return o.keys, nil
	}
	err := MakeKey(o.path)
	if err == nil {
		o.logger.WarnContext(ctx, "made a key for secrets: who loses this file loses them, so back it up, and not beside the database", "file", o.path)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	keys, err := ReadKeys(o.path)
	if err == nil {
		o.keys = keys
	}
	return keys, err
}
