package rpc

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

// turns bounds the calls under way.
type turns struct {
	free    chan struct{}
	refused prometheus.Counter
}

func newTurns(o Options) turns {
	refused := prometheus.NewCounter(prometheus.CounterOpts{
		Name:        "envoke_rpc_refused_total",
		Help:        "gRPC calls that were refused because too many were under way.",
		ConstLabels: prometheus.Labels{"language": string(o.Language)},
	})
	o.Metrics.MustRegister(refused)
	return turns{free: make(chan struct{}, maxCalls), refused: refused}
}

// take is asked before anything of the call's message is read. The turn is given back
// when the call ends: gRPC ends its context then, whatever became of it.
func (t turns) take(ctx context.Context, call *tap.Info) (context.Context, error) {
	if call.FullMethodName == hookMethod { // callers of gRPC must not keep hooks waiting; these bound themselves
		return ctx, nil
	}
	select {
	case t.free <- struct{}{}:
		context.AfterFunc(ctx, func() { <-t.free })
		return ctx, nil
	default:
		t.refused.Inc()
		return nil, status.Error(codes.ResourceExhausted, "too many calls are under way on this runtime host; try again")
	}
}
