package bundle

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"envoke/internal/controlpb"
)

// moduleTimeout bounds a question for a module: it may be large.
const moduleTimeout = 5 * time.Second

// Modules are those that hosts have built from source, in the store that they share.
type Modules struct{ control controlpb.ControlClient }

// NewModules asks control by the connection.
func NewModules(conn *grpc.ClientConn) Modules {
	return Modules{control: controlpb.NewControlClient(conn)}
}

// Find finds a module by the digest of what it was built from. NOT_FOUND: no host has built
// it lately.
func (m Modules) Find(ctx context.Context, digest string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, moduleTimeout)
	defer cancel()
	found, err := m.control.FindModule(ctx, &controlpb.FindModuleRequest{Digest: digest}, largeMessages...)
	if err != nil {
		return nil, fmt.Errorf("find module: %w", controlpb.FromStatus(err))
	}
	return found.GetWasm(), nil
}

// Keep stores a module for the other hosts.
func (m Modules) Keep(ctx context.Context, digest string, wasm []byte) error {
	ctx, cancel := context.WithTimeout(ctx, moduleTimeout)
	defer cancel()
	if _, err := m.control.KeepModule(ctx, &controlpb.Module{Digest: digest, Wasm: wasm}, largeMessages...); err != nil {
		return fmt.Errorf("keep module: %w", controlpb.FromStatus(err))
	}
	return nil
}
