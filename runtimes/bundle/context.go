package bundle

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
)

const (
	// putTimeout bounds one attempt to put a context back, and putPause is between two.
	putTimeout = time.Second
	putPause   = 100 * time.Millisecond
)

// TakeContext has control give the context of a retained session to this host, for one call,
// and to no other until PutContext or the given time. CONFLICT: another has it.
func (b *Bundles) TakeContext(ctx context.Context, id faas.SessionID, until time.Time) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	taken, err := b.control.TakeContext(ctx, &controlpb.TakeContextRequest{
		Id: string(id), Host: b.host, ForMs: time.Until(until).Milliseconds() + 1, // clocks of machines differ
	}, largeMessages...)
	if err != nil {
		return nil, fmt.Errorf("take context: %w", controlpb.FromStatus(err))
	}
	return taken.GetContext(), nil
}

// PutContext ends what TakeContext began: with what the call left in its context, or with nil
// where that is as it was. It asks again until control answers, or ctx ends.
func (b *Bundles) PutContext(ctx context.Context, id faas.SessionID, left json.RawMessage) error {
	request := &controlpb.PutContextRequest{Id: string(id), Host: b.host, Context: left}
	for {
		err := b.putContext(ctx, request)
		if err == nil {
			return nil
		}
		if faas.AsError(err).Code != faas.Unavailable || !pause(ctx, putPause) {
			return fmt.Errorf("put context: %w", err)
		}
	}
}

func (b *Bundles) putContext(ctx context.Context, request *controlpb.PutContextRequest) error {
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	_, err := b.control.PutContext(ctx, request, largeMessages...)
	return controlpb.FromStatus(err)
}
