package envoy

import (
	"bytes"
	_ "embed" // the template
	"encoding/json"
	"fmt"
	"text/template"
)

// Bootstrap is what Envoy is told at its start; all else comes from control.
type Bootstrap struct {
	NodeID        string
	ControlSocket string // Unix socket of control's ADS server
	AdminSocket   string // Unix socket that Envoy makes, for this user only

	// Controls are the ports of controls on other machines, in place of ControlSocket. Envoy
	// speaks TLS with them, by the files of its working folder.
	Controls []Address
	// ControlURI is how a certificate of control's names itself.
	ControlURI string

	// MaxHeapBytes is where Envoy begins to refuse requests; 0 means 1 GiB.
	MaxHeapBytes int64
	// MaxConnections is how many clients may be connected; 0 means 50,000.
	MaxConnections int64
}

// Address is a name or an IP address, and a port.
type Address struct {
	Host string
	Port int
}

// IdentityFile is where Envoy's own certificate is.
func (Bootstrap) IdentityFile() string { return IdentityFile }

// AuthorityFile is where the authorities are that Envoy believes.
func (Bootstrap) AuthorityFile() string { return AuthorityFile }

//go:embed bootstrap.yaml.tmpl
var bootstrapText string

var bootstrapTemplate = template.Must(template.New("bootstrap").
	Funcs(template.FuncMap{"json": quote}).Parse(bootstrapText))

// maxSocketPath is what sockaddr_un holds, less its final NUL.
const maxSocketPath = 107

// YAML renders the bootstrap.
func (b Bootstrap) YAML() ([]byte, error) {
	for _, path := range []string{b.ControlSocket, b.AdminSocket} {
		if len(path) > maxSocketPath {
			return nil, fmt.Errorf("bootstrap Envoy: the socket path %s is longer than the system's %d bytes: use a shorter folder", path, maxSocketPath)
		}
	}
	if b.MaxHeapBytes == 0 {
		b.MaxHeapBytes = 1 << 30
	}
	if b.MaxConnections == 0 {
		b.MaxConnections = 50_000
	}
	var out bytes.Buffer
	if err := bootstrapTemplate.Execute(&out, b); err != nil {
		return nil, fmt.Errorf("bootstrap Envoy: %w", err)
	}
	return out.Bytes(), nil
}

// quote writes a JSON string, which is a YAML string whatever it holds: a bare
// `id: n` would be a boolean.
func quote(s string) (string, error) {
	out, err := json.Marshal(s)
	return string(out), err
}
