package bench

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"envoke/internal/signer"
)

// Keys of the cases of an Envoke that checks who calls, by what callers show.
const (
	byToken  = "jf"
	byAPIKey = "kf"
	byNobody = "vf"
)

func callerKeys() []string { return []string{byToken, byAPIKey, byNobody} }

// startChecked starts an Envoke that checks who calls, and adds a plain session of each
// kind of caller.
func (s *stand) startChecked(ctx context.Context) error {
	if !s.wants(callerKeys()...) {
		return nil
	}
	token, file, err := s.issue()
	if err != nil {
		return err
	}
	admin := rand.Text() + rand.Text()
	ours, err := s.startEnvoke(ctx, checkedName, "--filter=false", "--auth", "--jwt-issuers-file", file, "--admin-key", admin,
		"--anonymous-scopes", "execute:nodejs", "--rate-execute-per-minute", "0", "--rate-anonymous-per-minute", "0", "--rate-functions-per-minute", "0")
	if err != nil {
		return err
	}
	key, err := s.makeKey(ctx, ours, admin)
	if err != nil {
		return err
	}
	for _, caller := range []struct{ key, header, value string }{
		{byToken, "Authorization", "Bearer " + token}, {byAPIKey, "X-Api-Key", key}, {byNobody, "Accept", "*/*"},
	} {
		if err := s.addCaller(ctx, ours, caller.key, http.Header{caller.header: {caller.value}}); err != nil {
			return fmt.Errorf("a session for %s: %w", caller.key, err)
		}
	}
	return nil
}

// issue returns a token, and the file that makes its issuer known.
func (s *stand) issue() (token, file string, err error) {
	issuer, err := signer.New("https://issuer.bench/", "bench")
	if err != nil {
		return "", "", err
	}
	if token, err = issuer.Token(map[string]any{"sub": "bench", "aud": "envoke", "scope": "execute:nodejs"}); err != nil {
		return "", "", err
	}
	dir := s.newDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", err
	}
	keys := filepath.Join(dir, "keys.json")
	file = filepath.Join(dir, "issuers.yaml")
	text := fmt.Sprintf("issuers: [{issuer: %q, audiences: [envoke], jwks_file: %q}]\n", issuer.URL, keys)
	for path, content := range map[string]string{keys: signer.KeySet(issuer), file: text} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return "", "", err
		}
	}
	return token, file, nil
}

func (s *stand) makeKey(ctx context.Context, ours target, admin string) (string, error) {
	at := Endpoint{Network: "tcp", Address: ours.address, Path: "/api/v1/keys", Header: http.Header{"X-Api-Key": {admin}}}
	reply, err := post(ctx, at, `{"name":"bench","user_id":"bench","scopes":["execute:nodejs"]}`)
	var made struct{ Secret string }
	if err == nil {
		err = json.Unmarshal(reply, &made)
	}
	if err != nil {
		return "", fmt.Errorf("make an API key: %w", err)
	}
	return made.Secret, nil
}

// addCaller makes a session that the caller executes, of the function of the case f.
func (s *stand) addCaller(ctx context.Context, ours target, key string, header http.Header) error {
	f := functions()[0]
	at := Endpoint{Network: "tcp", Address: ours.address, Path: "/api/v1/initialize", Header: header.Clone()}
	at.Header.Set("Language-Title", f.title)
	reply, err := post(ctx, at, "{"+f.members(f.source)+"}")
	if err != nil {
		return err
	}
	id, err := sessionOf(reply)
	if err != nil {
		return err
	}
	s.endpoints[key] = Endpoint{Network: "tcp", Address: ours.address, Path: "/api/v1/execute/" + id, Of: []string{ours.name}, Header: header}
	return nil
}
