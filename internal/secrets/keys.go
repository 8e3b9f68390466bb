package secrets

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const (
	keySize = 32 // bytes: AES-256
	// maxKeys and maxKeyFile bound a file of keys.
	maxKeys    = 16
	maxKeyFile = 64 << 10 // bytes
)

// Keys seal with AES-256-GCM and a fresh nonce each time. They are a Sealer.
type Keys struct{ keys []key }

type key struct {
	id   string
	aead cipher.AEAD
}

// ErrUnknownKey says that something is sealed with a key that is not among these.
var ErrUnknownKey = errors.New("it is sealed with a key that the key file does not have")

// ReadKeys reads a file of keys: one of 32 bytes as they are, or one a line in hexadecimal or
// base64. The first seals, and all open. Its errors hold nothing of what is in the file.
func ReadKeys(path string) (*Keys, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	raw, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxKeyFile {
		return nil, errors.New("it is much too large for a file of keys")
	}
	return parseKeys(raw)
}

func parseKeys(raw []byte) (*Keys, error) {
	if len(raw) == keySize {
		if _, err := hex.DecodeString(string(raw)); err == nil {
			return nil, errors.New("it is half a key: 16 bytes in hexadecimal")
		}
		return newKeys(raw)
	}
	var secrets [][]byte
	for i, line := range bytes.Split(raw, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		secret, ok := decodeKey(string(line))
		if !ok {
			return nil, fmt.Errorf("line %d is no key: 32 bytes in hexadecimal or base64", i+1)
		}
		secrets = append(secrets, secret)
	}
	switch {
	case len(secrets) == 0:
		return nil, errors.New("there is no key in it: write one of 32 bytes, in hexadecimal or base64")
	case len(secrets) > maxKeys:
		return nil, fmt.Errorf("it has more than %d keys", maxKeys)
	}
	return newKeys(secrets...)
}

func decodeKey(line string) ([]byte, bool) {
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if secret, err := decode(line); err == nil && len(secret) == keySize {
			return secret, true
		}
	}
	return nil, false
}

func newKeys(secrets ...[]byte) (*Keys, error) {
	k := &Keys{}
	for _, secret := range secrets {
		block, err := aes.NewCipher(secret)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(append([]byte("envoke secrets key\x00"), secret...))
		k.keys = append(k.keys, key{id: hex.EncodeToString(sum[:8]), aead: aead})
	}
	return k, nil
}

// First is the id of the key that seals.
func (k *Keys) First() string { return k.keys[0].id }

// Seal implements Sealer.
func (k *Keys) Seal(_ context.Context, value, bound []byte) (id string, sealed []byte, err error) {
	first := k.keys[0]
	nonce := make([]byte, first.aead.NonceSize(), first.aead.NonceSize()+len(value)+first.aead.Overhead())
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	return first.id, first.aead.Seal(nonce, nonce, value, bound), nil
}

// Open implements Sealer.
func (k *Keys) Open(_ context.Context, id string, sealed, bound []byte) ([]byte, error) {
	for _, key := range k.keys {
		if key.id != id {
			continue
		}
		size := key.aead.NonceSize()
		if len(sealed) < size {
			return nil, errors.New("what is sealed is cut off")
		}
		return key.aead.Open(nil, sealed[:size], sealed[size:], bound)
	}
	return nil, ErrUnknownKey
}

// MakeKey writes a file with a new key, which only this user may read. An error that is
// fs.ErrExist says that there is one.
func MakeKey(path string) (err error) {
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	file, err := os.CreateTemp(filepath.Dir(path), ".secrets-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(file.Name())) }()
	_, err = file.WriteString(base64.StdEncoding.EncodeToString(secret) + "\n") // it is 0600
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Link(file.Name(), path) // in whole, and never over another
}
