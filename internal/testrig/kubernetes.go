package testrig

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"envoke/internal/localdb"
)

// Kubernetes starts an apiserver and its etcd, with users of RBAC by their tokens. Without
// KUBEBUILDER_ASSETS the test is skipped. (Nothing that a fresh clone fetches has the two, so
// CI alone does not make it fail.)
func Kubernetes(t testing.TB, users map[string]string) *localdb.Kubernetes {
	t.Helper()
	bin, err := localdb.FindKubernetes()
	if err != nil {
		t.Skip(err)
	}
	k, err := localdb.OpenKubernetes(context.Background(), bin, users)
	must(t, err)
	t.Cleanup(func() { must(t, k.Close()) })
	return k
}

// Kubeconfig is a file by which who has the token reaches it.
func Kubeconfig(t testing.TB, k *localdb.Kubernetes, token string) string {
	t.Helper()
	file, err := k.Kubeconfig(token)
	must(t, err)
	return file
}

// AskKubernetes sends a request with the token and returns the answer's status and body. A body
// of PATCH is applied, as server-side apply does.
func AskKubernetes(t testing.TB, k *localdb.Kubernetes, token, method, path, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, k.URL()+path, strings.NewReader(body))
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	if method == http.MethodPatch {
		request.Header.Set("Content-Type", "application/apply-patch+yaml")
		request.URL.RawQuery = "fieldManager=test&force=true"
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	reply, err := client.Do(request)
	must(t, err)
	defer reply.Body.Close()
	raw, err := io.ReadAll(reply.Body)
	must(t, err)
	return reply.StatusCode, string(raw)
}
