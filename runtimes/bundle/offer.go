package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"envoke/internal/controlpb"
)

const (
	// offerTimeout bounds the wait for control's answer to each of the two steps.
	offerTimeout = 5 * time.Second
	// offerLife bounds all of it, at control too: code may take a minute to load.
	offerLife = 2 * time.Minute
)

// offer is a session that control has been sent and that may yet be withdrawn.
type offer struct {
	control controlpb.ControlClient
	stream  grpc.BidiStreamingClient[controlpb.CreateSessionRequest, controlpb.CreateSessionResponse]
	cancel  context.CancelFunc
	sending sync.WaitGroup
}

// begin sends the request. What control says of it comes by the channel.
func (o *offer) begin(ctx context.Context, request *controlpb.CreateSessionRequest) <-chan error {
	ctx, o.cancel = context.WithTimeout(ctx, offerLife)
	stored := make(chan error, 1)
	o.sending.Go(func() { stored <- o.send(ctx, request) })
	return stored
}

func (o *offer) send(ctx context.Context, request *controlpb.CreateSessionRequest) (err error) {
	if o.stream, err = o.control.CreateSession(ctx, largeMessages...); err != nil {
		return err
	}
	if err := o.stream.Send(request); err != nil && !errors.Is(err, io.EOF) { // Recv tells why
		return err
	}
	_, err = o.stream.Recv()
	return err
}

// keep waits until control has the session, for good. What note has to say of it comes
// before that.
func (o *offer) keep(stored <-chan error, note func() error) error {
	err := within(offerTimeout, stored)
	if err == nil {
		err = note()
	}
	if err == nil {
		err = o.confirm()
	}
	if err != nil {
		return fmt.Errorf("create session: %w", controlpb.FromStatus(err))
	}
	return nil
}

// confirm ends this side of the stream, and waits for control to end the other.
func (o *offer) confirm() error {
	if err := o.stream.CloseSend(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	o.sending.Go(func() {
		_, err := o.stream.Recv()
		ended <- err
	})
	switch err := within(offerTimeout, ended); {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return errors.New("control answered twice")
	default:
		return err
	}
}

func within(limit time.Duration, answer <-chan error) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-answer:
		return err
	case <-timer.C:
		return status.Error(codes.DeadlineExceeded, "control is too slow")
	}
}

// end withdraws a session that is not kept, and waits for what begin and keep started.
func (o *offer) end() {
	o.cancel()
	o.sending.Wait()
}
