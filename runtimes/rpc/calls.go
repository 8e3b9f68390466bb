package rpc

import (
	"cmp"
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"envoke/internal/faas"
	"envoke/runtimes/host"
	"envoke/runtimes/runtimepb"
)

// executedTrailer names the session whose function ran, for Envoy's access log, from
// which a session's executes are counted.
const executedTrailer = "x-envoke-executed"

// Execute runs a session's function, or a script that comes with the call.
func (s *Server) Execute(ctx context.Context, r *runtimepb.ExecuteRequest) (*runtimepb.ExecuteResponse, error) {
	if r.GetRequestId() == "" && r.ScriptContent == nil {
		return nil, &faas.Error{Code: faas.InvalidRequest, Message: "request_id must be the id of a session, or script_content the code to run"}
	}
	result, err := s.Host.Execute(ctx, host.Execution{
		// Without an id of its own, what the call prints is found by the session's.
		RequestID: cmp.Or(requestID(ctx), r.GetRequestId()), Caller: callerOf(ctx),
		Session: faas.SessionID(r.GetRequestId()), Script: r.ScriptContent,
		Params: []byte(r.GetParams()), Context: []byte(r.GetContext()),
	})
	if r.ScriptContent == nil && ran(err) {
		// Only a stream that has ended already takes no trailer.
		_ = grpc.SetTrailer(ctx, metadata.Pairs(executedTrailer, r.GetRequestId()))
	}
	if err != nil {
		return nil, err
	}
	reply := &runtimepb.ExecuteResponse{
		Result:          string(result.JSON),
		ExecutionTimeMs: float64(result.Duration) / float64(time.Millisecond),
	}
	if result.MemoryBytes >= 0 {
		reply.MemoryUsageBytes = &result.MemoryBytes
	}
	return reply, nil
}

func callerOf(ctx context.Context) host.Caller {
	return host.Caller{
		Caller:  faas.Caller{Namespace: faas.Namespace(one(ctx, faas.NamespaceHeader)), UserID: one(ctx, faas.UserHeader)},
		Checked: one(ctx, faas.CheckedHeader) != "",
	}
}

// ran tells whether the function was run, whatever came of it.
func ran(err error) bool {
	if err == nil {
		return true
	}
	switch e := faas.AsError(err); e.Code {
	case faas.RuntimeError, faas.ResourceExhausted:
		return true
	case faas.Timeout:
		return e.Details["component"] != faas.InRuntime // else it waited for its code
	}
	return false
}

// Initialize makes a session.
func (s *Server) Initialize(ctx context.Context, r *runtimepb.InitializeRequest) (*runtimepb.InitializeResponse, error) {
	if r.GetRequestId() != "" {
		return nil, &faas.Error{Code: faas.InvalidRequest, Message: "request_id must be empty: the host makes the session's id"}
	}
	session, err := s.Host.Initialize(ctx, host.Initialization{
		Caller: callerOf(ctx), LanguageTitle: r.GetLanguageTitle(), Script: r.ScriptContent, Context: []byte(r.GetContext()),
		Dependencies: []byte(r.GetDependencies()),
	})
	if err != nil {
		return nil, err
	}
	return &runtimepb.InitializeResponse{
		RequestId:     string(session.ID),
		Status:        "initialized",
		ExpiresAt:     session.ExpiresAt.UTC().Format(time.RFC3339),
		LanguageTitle: session.Name.String(),
		CompileStatus: string(session.CompileStatus),
	}, nil
}

// HealthCheck tells whether an Initialize would be taken.
func (s *Server) HealthCheck(context.Context, *runtimepb.HealthCheckRequest) (*runtimepb.HealthCheckResponse, error) {
	status := "ok"
	if !s.Host.Ready() {
		status = "waiting for control"
	}
	return &runtimepb.HealthCheckResponse{Status: status, Language: string(s.Language), Version: s.Version}, nil
}
