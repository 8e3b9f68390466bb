package envoy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

// Where parts are on several machines, Envoy reads its certificate by these files, which its
// working folder gets at each start. It takes notice when a file that they name is replaced by
// a rename.
const (
	IdentityFile  = "tls/identity.yaml"
	AuthorityFile = "tls/authority.yaml"
)

// Secrets are files in PEM.
type Secrets struct {
	CA, Cert, Key string // absolute paths
}

var secretTemplates = map[string]*template.Template{
	IdentityFile: template.Must(template.New("identity").Funcs(template.FuncMap{"json": quote}).Parse(`resources:
- "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
  name: identity
  tls_certificate: {certificate_chain: {filename: {{json .Cert}}}, private_key: {filename: {{json .Key}}}}
`)),
	AuthorityFile: template.Must(template.New("authority").Funcs(template.FuncMap{"json": quote}).Parse(`resources:
- "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
  name: authority
  validation_context: {trusted_ca: {filename: {{json .CA}}}}
`)),
}

// write writes the files to Envoy's working folder.
func (s Secrets) write(dir string) error {
	for name, text := range secretTemplates {
		var out bytes.Buffer
		if err := text.Execute(&out, s); err != nil {
			return fmt.Errorf("bootstrap Envoy: %w", err)
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("bootstrap Envoy: %w", err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
			return fmt.Errorf("bootstrap Envoy: %w", err)
		}
	}
	return nil
}
