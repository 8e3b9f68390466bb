package openfaas_test

import (
	"log/slog"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"envoke/internal/openfaas"
	"envoke/internal/testrig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func nothing(http.ResponseWriter, *http.Request) {}

// open is a Gateway that serves as long as the test.
func open(t *testing.T, of *testrig.OpenFaaS, password string) *openfaas.Gateway {
	t.Helper()
	at, err := url.Parse(of.URL)
	if err != nil {
		t.Fatal(err)
	}
	g := openfaas.New(openfaas.Options{
		URL: at, User: "admin", Password: password, Every: 20 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewPedanticRegistry(),
	})
	testrig.Serve(t, g.Serve)
	return g
}

func TestDiscovery(t *testing.T) {
	of := testrig.NewOpenFaaS(t, "s3cret")
	of.Deploy("nodeinfo", nothing)
	of.Deploy("report.dev", nothing)
	g := open(t, of, "s3cret")
	testrig.Eventually(t, "the first list", func() bool { return g.State() == openfaas.OK })
	if s := g.Status(); len(s.Functions) != 1 || s.Functions[0].Name != "nodeinfo" || s.Functions[0].Available != 1 || s.Listed == nil {
		t.Errorf("known: %+v", s)
	}
	for name, want := range map[string]bool{
		"nodeinfo": true, "nodeinfo.openfaas-fn": true, "report.dev": true, // which is asked for
		"report": false, "nodeinfo.dev": false, "../secrets": false, "a/b": false, "": false, "größe": false,
	} {
		if got := g.Has(t.Context(), name); got != want {
			t.Errorf("Has(%q) = %v", name, got)
		}
	}

	of.Remove("nodeinfo")
	of.Deploy("late", nothing)
	if !g.Has(t.Context(), "late") {
		t.Error("a function that was just deployed is not there")
	}
	testrig.Eventually(t, "a deleted function to be gone", func() bool { return !g.Has(t.Context(), "nodeinfo") })
}

// TestUnknownNamesAreRemembered: who calls a wrong name again and again asks the gateway once
// in a while.
func TestUnknownNamesAreRemembered(t *testing.T) {
	of := testrig.NewOpenFaaS(t, "")
	g := open(t, of, "")
	testrig.Eventually(t, "the first list", func() bool { return g.State() == openfaas.OK })
	for range 1000 {
		if g.Has(t.Context(), "missing") {
			t.Fatal("it has what it has not")
		}
	}
	if n := of.Asked("/system/function/missing"); n > 5 {
		t.Errorf("a thousand calls asked the gateway %d times", n)
	}
}

// TestAway: what does not answer may have everything, and keeps what it had.
func TestAway(t *testing.T) {
	of := testrig.NewOpenFaaS(t, "s3cret")
	of.Deploy("nodeinfo", nothing)
	refused := open(t, of, "wrong")
	testrig.Eventually(t, "the refusal", func() bool { return refused.State() == openfaas.Degraded })
	if !refused.Has(t.Context(), "anything") {
		t.Error("a gateway that does not say is taken to have nothing")
	}

	g := open(t, of, "s3cret")
	testrig.Eventually(t, "the first list", func() bool { return g.State() == openfaas.OK })
	of.Break(true)
	testrig.Eventually(t, "the API to fail", func() bool { return g.State() == openfaas.Degraded })
	if !g.Has(t.Context(), "nodeinfo") || len(g.Status().Functions) != 1 {
		t.Error("what was known is forgotten")
	}
	of.Break(false)
	testrig.Eventually(t, "the API to be back", func() bool { return g.State() == openfaas.OK })
	of.Close()
	testrig.Eventually(t, "the gateway to be down", func() bool { return g.State() == openfaas.Down })
	if !g.Has(t.Context(), "nodeinfo") || !g.Has(t.Context(), "anything") {
		t.Error("a gateway that is away is taken to have nothing: the call should tell that it is away")
	}
}
