// Package runtimepb is the gRPC interface of runtime hosts: the generated code of
// runtime.proto, for clients in Go too.
package runtimepb
