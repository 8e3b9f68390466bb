package registry

import (
	"context"
	"encoding/hex"
	"fmt"

	"envoke/internal/controlpb"
)

// moduleTimeout bounds a question for a module: it may be large.
const moduleTimeout = 5 * storeTimeout

// FindModule returns a module that some host has built.
func (r *Registry) FindModule(ctx context.Context, digest string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, moduleTimeout)
	defer cancel()
	wasm, err := r.store.FindModule(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("find module: %w", unavailable(err))
	}
	return wasm, nil
}

// KeepModule stores a module for the other hosts.
func (r *Registry) KeepModule(ctx context.Context, digest string, wasm []byte) error {
	ctx, cancel := context.WithTimeout(ctx, moduleTimeout)
	defer cancel()
	if err := r.store.KeepModule(ctx, digest, wasm); err != nil {
		return fmt.Errorf("keep module: %w", unavailable(err))
	}
	return nil
}

func (s *service) FindModule(ctx context.Context, in *controlpb.FindModuleRequest) (*controlpb.Module, error) {
	err := checkModule(in.GetDigest())
	var wasm []byte
	if err == nil {
		wasm, err = s.registry.FindModule(ctx, in.GetDigest())
	}
	if err != nil {
		return nil, s.fail(ctx, "FindModule", err)
	}
	return &controlpb.Module{Digest: in.GetDigest(), Wasm: wasm}, nil
}

func (s *service) KeepModule(ctx context.Context, in *controlpb.Module) (*controlpb.KeepModuleResponse, error) {
	err := checkModule(in.GetDigest())
	if err == nil && len(in.GetWasm()) == 0 {
		err = invalid("a module cannot be empty")
	}
	if err == nil {
		err = s.registry.KeepModule(ctx, in.GetDigest(), in.GetWasm())
	}
	if err != nil {
		return nil, s.fail(ctx, "KeepModule", err)
	}
	return &controlpb.KeepModuleResponse{}, nil
}

// checkModule refuses what is no SHA-256.
func checkModule(digest string) error {
	const bytes = 32
	if raw, err := hex.DecodeString(digest); err != nil || len(raw) != bytes {
		return invalid("a module is named by a SHA-256 in hex")
	}
	return nil
}
