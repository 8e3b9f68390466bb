package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Bounds of what is read, in bytes.
const (
	maxKey         = 512
	maxKeyFile     = 4 << 10
	maxCredentials = 1 << 20
)

// credentials are the API keys that login has stored, by the address of the server.
type credentials struct {
	Addresses map[string]credential `json:"addresses"`

	path string
}

type credential struct {
	APIKey string `json:"api_key"`
}

// key is the API key to call an address with; empty: none.
func (a *app) key(address string) (string, error) {
	if a.keyFile != "" {
		raw, err := readBounded(a.keyFile, maxKeyFile)
		if err != nil {
			return "", misuse("--api-key-file: %w", err)
		}
		return checkKey(a.keyFile, string(raw))
	}
	if key := a.Getenv("ENVOKE_API_KEY"); key != "" {
		return checkKey("ENVOKE_API_KEY", key)
	}
	stored, err := a.credentials()
	if err != nil {
		return "", err
	}
	return stored.Addresses[canonical(address)].APIKey, nil
}

// checkKey takes a key as it came from somewhere, which an error names in place of the key.
func checkKey(from, key string) (string, error) {
	key = strings.TrimSpace(key)
	switch {
	case key == "":
		return "", misuse("there is no API key in %s", from)
	case len(key) > maxKey, strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", misuse("what is in %s is no API key: it must be one word of ASCII, of at most %d characters", from, maxKey)
	}
	return key, nil
}

// canonical is the one way in which an address is stored.
func canonical(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	host := strings.ToLower(u.Host)
	host = strings.TrimSuffix(host, map[string]string{"http": ":80", "https": ":443"}[u.Scheme])
	return u.Scheme + "://" + host + strings.TrimRight(u.EscapedPath(), "/")
}

// credentials reads what is stored. Nothing is where nobody has a home.
func (a *app) credentials() (*credentials, error) {
	c := &credentials{Addresses: map[string]credential{}}
	switch config, home := a.Getenv("XDG_CONFIG_HOME"), a.Getenv("HOME"); {
	case filepath.IsAbs(config): // another one means nothing, by its specification
		c.path = filepath.Join(config, "envoke", "credentials.json")
	case home != "":
		c.path = filepath.Join(home, ".config", "envoke", "credentials.json")
	default:
		return c, nil
	}
	raw, err := readPrivate(c.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return nil, fmt.Errorf("stored API keys: %w", err)
	}
	if err := json.Unmarshal(raw, c); err != nil {
		return nil, fmt.Errorf("stored API keys: %s is not what envoke login wrote: delete it and log in again", c.path)
	}
	if c.Addresses == nil {
		c.Addresses = map[string]credential{}
	}
	return c, nil
}

// readPrivate reads a file that nobody else may read.
func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others can read %s: chmod 600 it, and revoke the keys in it if somebody may have", path)
	}
	return readBounded(path, maxCredentials)
}

func readBounded(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	return readAtMost(file, path, most)
}

func readAtMost(r io.Reader, name string, most int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(raw)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", name, most)
	}
	return raw, err
}

// store replaces the file, so that it is never there in part, nor to be read by others.
func (c *credentials) store() error {
	if c.path == "" {
		return errors.New("there is no place to store an API key: set HOME, or XDG_CONFIG_HOME to an absolute path")
	}
	dir := filepath.Dir(c.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("store API key: %w", err)
	}
	file, err := os.CreateTemp(dir, ".credentials-") // of mode 0600
	if err != nil {
		return fmt.Errorf("store API key: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }() // where it was not renamed
	err = errors.Join(printJSON(file, c), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), c.path)
	}
	if err != nil {
		return fmt.Errorf("store API key: %w", err)
	}
	return nil
}
