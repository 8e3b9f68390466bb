package kube

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

func documentsOf(text string) (all []string) {
	for document := range strings.SplitSeq(text, "\n---\n") {
		if strings.Contains(document, "kind:") {
			all = append(all, document)
		}
	}
	return all
}

// shown are the hosts of the directory, those that leave with a minus.
func shown(t *testing.T, h *Hosts) (all []string) {
	t.Helper()
	hosts, err := h.List(t.Context())
	if err != nil {
		return []string{err.Error()}
	}
	for _, host := range hosts {
		sign := "+"
		if host.Leaving {
			sign = "-"
		}
		all = append(all, fmt.Sprint(sign, host.Language, " ", host.Address, " ", host.Zone))
	}
	slices.Sort(all)
	return all
}

func (k *cluster) shows(t *testing.T, h *Hosts, want ...string) {
	t.Helper()
	slices.Sort(want)
	testrig.Succeeds(t, func() error {
		if got := shown(t, h); !slices.Equal(got, want) {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
}

// TestHosts: Services and their endpoints become hosts, with the rights of control's Role, and
// stay known while the API is away.
func TestHosts(t *testing.T) {
	k := newCluster(t)
	k.apply(t, runtimeService("fast", "nodejs"), runtimeSlice("fast", `[{addresses: [10.1.0.1], zone: a, conditions: {ready: true}}, {addresses: [10.1.0.2], conditions: {ready: false}}]`),
		runtimeService("odd", "cobol"), runtimeSlice("odd", `[{addresses: [10.1.0.9]}]`))
	h := k.client(t, "control").Hosts()
	if _, err := h.List(t.Context()); err == nil {
		t.Error("hosts are told before Kubernetes has said which there are")
	}
	testrig.Serve(t, h.Serve)
	k.shows(t, h, "+nodejs 10.1.0.1:9011 a")

	k.apply(t, runtimeService("tables", "python"), runtimeSlice("tables", `[{addresses: [10.1.0.3], conditions: {ready: true}}]`))
	k.shows(t, h, "+nodejs 10.1.0.1:9011 a", "+python 10.1.0.3:9011 ")
	for name, want := range map[string]string{
		"fast": "nodejs-fast", "fast-cars": "nodejs-fast-cars", "tables-x": "python-tables-x", "resize-py": "python-resize-py",
		"python-x": "python-x", "some_js:canary": "nodejs-some_js:canary", "faster": "", "rust-x": "",
	} {
		ref, err := h.Select(faas.InPath, name)
		if got := ref.String(); err == nil && got != want || err != nil && want != "" {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}

	if err := k.Kill(); err != nil {
		t.Fatal(err)
	}
	k.shows(t, h, "+nodejs 10.1.0.1:9011 a", "+python 10.1.0.3:9011 ")
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.apply(t, runtimeSlice("fast", `[{addresses: [10.1.0.1], zone: a, conditions: {ready: false, serving: true, terminating: true}}, {addresses: [10.1.0.2], conditions: {ready: true}}]`))
	k.shows(t, h, "-nodejs 10.1.0.1:9011 a", "+nodejs 10.1.0.2:9011 ", "+python 10.1.0.3:9011 ")
	k.remove(t, services, "tables")
	k.shows(t, h, "-nodejs 10.1.0.1:9011 a", "+nodejs 10.1.0.2:9011 ", "-python 10.1.0.3:9011 ")
	k.remove(t, endpointSlices, "fast-1")
	k.shows(t, h, "-nodejs 10.1.0.1:9011 a", "-nodejs 10.1.0.2:9011 ", "-python 10.1.0.3:9011 ")
}
