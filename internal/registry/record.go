package registry

import (
	"context"
	"fmt"
	"time"

	"envoke/internal/controlpb"
)

// recordTimeout bounds the storing of a host's records: nobody waits for it but the host's queue.
const recordTimeout = 4 * time.Second

// Record implements controlpb.ControlServer.
func (s *service) Record(ctx context.Context, in *controlpb.RecordRequest) (*controlpb.RecordResponse, error) {
	err := checkHost(in.GetHost())
	if err == nil {
		err = s.registry.recordAll(ctx, in)
	}
	if err != nil {
		return nil, s.fail(ctx, "Record", err)
	}
	return &controlpb.RecordResponse{}, nil
}

func (r *Registry) recordAll(ctx context.Context, in *controlpb.RecordRequest) error {
	records, err := in.Records()
	if err != nil || records.Len() == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	if err := r.record(ctx, records); err != nil {
		return fmt.Errorf("store records: %w", unavailable(err))
	}
	r.metrics.recorded.WithLabelValues("failure").Add(float64(len(records.Failures)))
	r.metrics.recorded.WithLabelValues("exchange").Add(float64(len(records.Exchanges)))
	return nil
}
