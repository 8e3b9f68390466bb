package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/pflag"

	"envoke/internal/faas"
	"envoke/internal/secrets"
)

// secretsKeyFile is the name of the key file that is made in the data folder.
const secretsKeyFile = "secrets.key"

func (c *Config) bindSecrets(f *pflag.FlagSet) {
	f.StringVar(&c.SecretsKeyFile, "secrets-key-file", "", "file of keys that functions' secrets are sealed with, 32 bytes in hexadecimal or base64 a line: the first seals, all open (default: one in the data folder, made when it is needed; none with PostgreSQL, where secrets need it)")
}

// openSecrets has the keys of secrets. With PostgreSQL there are several controls, or may be:
// each needs the same keys, which nobody but the operator can bring about.
func openSecrets(e *environment, store secrets.Store, changed func(context.Context)) (*secrets.Secrets, error) {
	options := secrets.Options{Store: store, Changed: changed, Logger: e.logger}
	switch {
	case e.config.SecretsKeyFile != "":
		keys, err := secrets.ReadKeys(e.config.SecretsKeyFile)
		if err != nil {
			return nil, fmt.Errorf("SECRETS_KEY_FILE: %w", err)
		}
		options.Sealer = keys
	case !e.config.onPostgres():
		path := filepath.Join(e.config.DataDir, secretsKeyFile)
		owned, err := secrets.OpenOwned(path, e.logger)
		if err != nil {
			return nil, fmt.Errorf("read the key of secrets in %s: %w", path, err)
		}
		options.Sealer = owned
	}
	return secrets.New(options), nil
}

// reseal gives secrets the first key that have another, once.
func (c *control) reseal(ctx context.Context) error {
	first := ""
	switch sealer := c.secrets.Sealer.(type) {
	case *secrets.Keys:
		first = sealer.First()
	case *secrets.Owned:
		if keys := sealer.Keys(); keys != nil {
			first = keys.First()
		}
	}
	if first != "" {
		resealed, err := c.secrets.Reseal(ctx, c.store, first)
		switch {
		case err != nil && ctx.Err() == nil:
			c.secrets.Logger.ErrorContext(ctx, "secrets keep their old keys until the next start", "error", err)
		case resealed > 0:
			c.secrets.Logger.InfoContext(ctx, "sealed secrets with the first key", "secrets", resealed, "key", first)
		}
	}
	<-ctx.Done()
	return nil
}

// secretValues is what the registry asks, which was made before the secrets.
func (c *control) secretValues(ctx context.Context, owner string, names []string) (faas.Secrets, error) {
	return c.secrets.Values(ctx, owner, names)
}
