package testrig

import (
	"context"
	"testing"

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
