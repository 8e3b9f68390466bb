package registry_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
	"envoke/internal/registry"
)

// TestRecords: what a host tells is stored as it told it, and what is beyond the bounds is
// refused for good.
func TestRecords(t *testing.T) {
	var (
		stored faas.Records
		fault  error
	)
	client := newRig(t, registry.Options{Record: func(_ context.Context, r faas.Records) error {
		if fault == nil {
			stored = r
		}
		return fault
	}}).connect(t)
	at := time.Now().UTC().Truncate(time.Microsecond)
	failure := faas.Failure{
		RequestID: "r", SessionID: "s", LanguageTitle: "nodejs-f", Language: faas.NodeJS, Component: faas.InFunction, Code: faas.RuntimeError,
		Message: "é", StackTrace: "at", Details: []byte(`{"line":1}`), At: at,
	}
	all := faas.Records{
		Failures:  []faas.Failure{failure, {At: at}},
		Exchanges: []faas.Exchange{{RequestID: "r", StartedAt: at, Headers: []byte(`{}`), Request: "1", Response: "2", Metrics: []byte(`{"a":1}`)}, {StartedAt: at}},
		Samples:   []faas.Sample{{At: at, Language: faas.NodeJS, Host: "h1", Metric: "m", Value: 1.5}},
	}
	if _, err := client.Record(t.Context(), controlpb.NewRecords("h1", all)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, stored); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	long := strings.Repeat("x", controlpb.MaxRecordPayload+1)
	for name, test := range map[string]struct {
		host    string
		records faas.Records
		fault   error
		want    codes.Code
	}{
		"no host":           {"", all, nil, codes.InvalidArgument},
		"too many":          {"h", faas.Records{Failures: make([]faas.Failure, controlpb.MaxRecords+1)}, nil, codes.InvalidArgument},
		"a long id":         {"h", faas.Records{Failures: []faas.Failure{{RequestID: long}}}, nil, codes.InvalidArgument},
		"a long message":    {"h", faas.Records{Failures: []faas.Failure{{Message: long}}}, nil, codes.InvalidArgument},
		"no object":         {"h", faas.Records{Failures: []faas.Failure{{Details: []byte(`[1]`)}}}, nil, codes.InvalidArgument},
		"no JSON":           {"h", faas.Records{Exchanges: []faas.Exchange{{Metrics: []byte(`{`)}}}, nil, codes.InvalidArgument},
		"a long payload":    {"h", faas.Records{Exchanges: []faas.Exchange{{Request: long}}}, nil, codes.InvalidArgument},
		"the store is away": {"h", all, &faas.Error{Code: faas.Unavailable}, codes.Unavailable},
		"the store is slow": {"h", all, context.DeadlineExceeded, codes.Unavailable},
		"a fault of ours":   {"h", all, errors.New("secret"), codes.Internal},
		"nothing":           {"h", faas.Records{}, errors.New("nobody should ask"), codes.OK},
	} {
		fault = test.fault
		if _, err := client.Record(t.Context(), controlpb.NewRecords(test.host, test.records)); status.Code(err) != test.want {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}
