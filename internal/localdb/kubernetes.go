package localdb

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Kubernetes is the API of Kubernetes: an apiserver and its etcd, without nodes and without
// controllers. Whoever shows Admin as token may do everything, and with a token of WithUsers
// what RBAC lets that user.
type Kubernetes struct {
	bin, dir  string
	port      string
	etcd, api *child
}

// Admin is the token of who may do everything.
const Admin = "admin"

// FindKubernetes is the folder of kube-apiserver and etcd: KUBEBUILDER_ASSETS.
func FindKubernetes() (bin string, err error) {
	if bin = os.Getenv("KUBEBUILDER_ASSETS"); bin == "" {
		return "", errors.New("there is no Kubernetes: set KUBEBUILDER_ASSETS to a folder of kube-apiserver and etcd")
	}
	return bin, nil
}

// OpenKubernetes starts an empty one. A user is a token and the name that RBAC knows.
func OpenKubernetes(ctx context.Context, bin string, users map[string]string) (*Kubernetes, error) {
	dir, err := os.MkdirTemp("", "envoke-k8s-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for Kubernetes: %w", err)
	}
	k := &Kubernetes{bin: bin, dir: dir}
	if err := errors.Join(k.prepare(users), k.startEtcd(), k.Start(ctx)); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// prepare writes the key of service accounts and the tokens.
func (k *Kubernetes) prepare(users map[string]string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	tokens := []byte(Admin + ",admin,admin,system:masters\n")
	for token, user := range users {
		tokens = fmt.Appendf(tokens, "%s,%s,%s\n", token, user, user)
	}
	k.port, err = unused()
	return errors.Join(err,
		os.WriteFile(filepath.Join(k.dir, "key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(k.dir, "tokens"), tokens, 0o600))
}

// unused is a port that nobody has yet.
func unused() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // nothing waits
	if err != nil {
		return "", err
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port, listener.Close()
}

func (k *Kubernetes) startEtcd() (err error) {
	socket := "unix://" + filepath.Join(k.dir, "etcd.sock")
	k.etcd, err = start(exec.Command(filepath.Join(k.bin, "etcd"), //nolint:noctx // Close ends it
		"--data-dir", filepath.Join(k.dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", socket, "--advertise-client-urls", socket,
		"--listen-peer-urls", "unix://"+filepath.Join(k.dir, "peer.sock")), filepath.Join(k.dir, "etcd.log"))
	return err
}

// Start starts the apiserver, which knows what it knew before, and waits until it is ready.
func (k *Kubernetes) Start(ctx context.Context) (err error) {
	in := func(name string) string { return filepath.Join(k.dir, name) }
	k.api, err = start(exec.Command(filepath.Join(k.bin, "kube-apiserver"), //nolint:noctx // Close ends it
		"--etcd-servers", "unix://"+in("etcd.sock"), "--secure-port", k.port, "--bind-address", "127.0.0.1",
		"--service-cluster-ip-range", "10.0.0.0/24", "--service-account-issuer", "https://kubernetes.default",
		"--service-account-key-file", in("key"), "--service-account-signing-key-file", in("key"),
		"--token-auth-file", in("tokens"), "--authorization-mode", "RBAC", "--endpoint-reconciler-type", "none",
		"--cert-dir", in("certs"), "--disable-admission-plugins", "ServiceAccount"), in("apiserver.log"))
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // on loopback, of our own child
	}}
	return k.api.await(ctx, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.URL()+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+Admin)
		reply, err := client.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = reply.Body.Close() }()
		if reply.StatusCode != http.StatusOK {
			return errors.New(reply.Status)
		}
		return nil
	})
}

// URL is where it answers.
func (k *Kubernetes) URL() string { return "https://127.0.0.1:" + k.port }

// Kubeconfig writes how who has the token reaches it, and returns the file.
func (k *Kubernetes) Kubeconfig(token string) (string, error) {
	file := filepath.Join(k.dir, strings.ReplaceAll(token, "/", "-")+".kubeconfig")
	return file, os.WriteFile(file, fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: it
contexts: [{name: it, context: {cluster: it, user: it, namespace: default}}]
clusters: [{name: it, cluster: {server: %q, insecure-skip-tls-verify: true}}]
users: [{name: it, user: {token: %q}}]
`, k.URL(), token), 0o600)
}

// Kill ends the apiserver at once. What it knows is in etcd.
func (k *Kubernetes) Kill() error { return k.api.end(syscall.SIGKILL) }

// Close ends both and removes what they wrote.
func (k *Kubernetes) Close() error {
	return errors.Join(k.api.end(syscall.SIGKILL), k.etcd.end(syscall.SIGKILL), os.RemoveAll(k.dir))
}
