package layer

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"envoke/internal/faas"
	"envoke/internal/strict"
)

// Tool installs packages of one language.
type Tool struct {
	Version string   // of the interpreter and the tool: others may install other files
	Argv    []string // absolute paths; the files that pin packages are where it starts
	Env     []string
	Read    []string // files that it reads, and whole folders
	Result  string   // the folder that it makes, where it starts
	Files   []string // that pin packages, by their names: all of them are needed
}

// maxPinned bounds the files that pin packages, in bytes.
const maxPinned = 1 << 20

// NPM installs what package-lock.json pins, by the npm at a path. It runs no scripts of
// packages, and makes no links to their programs, since functions start none.
func NPM(node, npm, version, index string) Tool {
	return Tool{
		Version: "npm " + version,
		Argv: []string{
			node, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--bin-links=false",
			"--update-notifier=false", "--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=30000",
			"--registry=" + index,
		},
		Env:    append(trusting("NODE_EXTRA_CA_CERTS"), "npm_config_globalconfig=/dev/null", "npm_config_logs_max=0"),
		Result: "node_modules",
		Files:  []string{"package.json", "package-lock.json"},
	}
}

// Pip installs what requirements.txt names, by the pip of a Python: wheels only, since
// what is built from source runs code of the package.
func Pip(python, version, index string) Tool {
	return Tool{
		Version: "pip " + version,
		Argv: []string{
			python, "-I", "-B", "-m", "pip", "install", "--target=packages", "--only-binary=:all:", "--no-cache-dir",
			"--no-input", "--no-compile", "--disable-pip-version-check", "--no-color", "--progress-bar=off", "--retries=1", "--index-url=" + index,
			"--requirement=requirements.txt",
		},
		Env:    append(trusting("PIP_CERT"), "PIP_ROOT_USER_ACTION=ignore"),
		Read:   []string{"/etc/os-release", "/etc/lsb-release", "/etc/debian_version", "/etc/mime.types"}, // it fails without what is there
		Result: "packages",
		Files:  []string{"requirements.txt"},
	}
}

// trusting makes a tool trust whom the system trusts: a mirror's certificate may be by an
// authority of the operator's own, which the list that the tool brings has not.
func trusting(variable string) []string {
	for _, path := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"} {
		if _, err := os.Stat(path); err == nil {
			return []string{variable + "=" + path}
		}
	}
	return nil
}

// check tells what is wrong with the files that pin packages.
func (t Tool) check(files map[string]string) error {
	total := 0
	for _, name := range slices.Sorted(maps.Keys(files)) {
		total += len(files[name])
		if !slices.Contains(t.Files, name) {
			return strict.BadMember("dependencies."+name, "is not known here: the members are "+strings.Join(t.Files, ", "))
		}
	}
	for _, name := range t.Files {
		if strings.TrimSpace(files[name]) == "" {
			return strict.BadMember("dependencies."+name, "is missing")
		}
	}
	if total > maxPinned {
		return &faas.Error{
			Code: faas.PayloadTooLarge, Message: fmt.Sprintf("dependencies are larger than %d bytes", maxPinned),
			Details: map[string]any{"limit_bytes": maxPinned},
		}
	}
	return nil
}

// arguments are those for these files: where one has a hash, all must have.
func (t Tool) arguments(files map[string]string) []string {
	if strings.Contains(files["requirements.txt"], "--hash=") {
		return append(slices.Clone(t.Argv), "--require-hashes")
	}
	return t.Argv
}
