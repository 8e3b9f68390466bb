package controlpb

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"envoke/internal/faas"
)

// MaxMessage bounds a message in either direction, in bytes: a wasm module of
// 32 MiB in base64, a context and some air.
const MaxMessage = 64 << 20

// MaxBuildError bounds the JSON of a build's error, in bytes: a compiler's words and air.
const MaxBuildError = 128 << 10

// grpcCodes has no code that gRPC itself sets, but for UNAVAILABLE, so that its own
// texts are never taken for ours.
var grpcCodes = map[faas.Code]codes.Code{
	faas.InvalidRequest:  codes.InvalidArgument,
	faas.NotFound:        codes.NotFound,
	faas.Conflict:        codes.AlreadyExists,
	faas.PayloadTooLarge: codes.OutOfRange,
	faas.Unavailable:     codes.Unavailable,
}

var faasCodes = func() map[codes.Code]faas.Code {
	inverse := make(map[codes.Code]faas.Code, len(grpcCodes))
	for code, grpcCode := range grpcCodes {
		inverse[grpcCode] = code
	}
	return inverse
}()

// Status makes the gRPC status of an error. What a *faas.Error says to callers
// passes; its details and every other error's text stay here, for the log.
func Status(err error) error {
	var e *faas.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e) && grpcCodes[e.Code] != codes.OK:
		return status.Error(grpcCodes[e.Code], e.Message)
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "canceled")
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, "too slow")
	default:
		return status.Error(codes.Internal, "internal error")
	}
}

// FromStatus is the inverse of Status. A control that does not answer, or not in
// time, is UNAVAILABLE; a status without a counterpart is no *faas.Error, so that
// a caller is not shown its text.
func FromStatus(err error) error {
	if err == nil {
		return nil
	}
	s := status.Convert(err)
	switch s.Code() {
	case codes.Unavailable, codes.DeadlineExceeded:
		return &faas.Error{Code: faas.Unavailable, Message: "control does not answer; try again", Err: err}
	case codes.Canceled:
		return fmt.Errorf("ask control: %w", context.Canceled)
	}
	if code, ok := faasCodes[s.Code()]; ok {
		return &faas.Error{Code: code, Message: s.Message(), Err: err}
	}
	return fmt.Errorf("ask control: %w", err)
}
