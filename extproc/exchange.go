package extproc

import (
	"context"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"envoke/internal/resultcache"
)

// exchange is one HTTP request on its stream. Most have one message, the request's
// headers. Those whose result may be cached have more: the request's body where it is
// part of the key, then the response.
type exchange struct {
	server *Server
	stream extprocv3.ExternalProcessor_ProcessServer

	request *request
	fetch   *fetch             // nil: nothing of it is cached
	made    *resultcache.Reply // the answer, if it is the cache's
}

// answer gives the answer of the matching type. What Envoy is not configured to send
// is passed on untouched.
func (x *exchange) answer(ctx context.Context, message *extprocv3.ProcessingRequest) (*extprocv3.ProcessingResponse, error) {
	switch m := message.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		return x.requestHeaders(ctx, m.RequestHeaders), nil
	case *extprocv3.ProcessingRequest_RequestBody:
		if x.fetch != nil {
			return x.fetch.requestBody(ctx, m.RequestBody), nil
		}
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		if x.fetch != nil {
			return x.fetch.responseHeaders(ctx, m.ResponseHeaders), nil
		}
	case *extprocv3.ProcessingRequest_ResponseBody:
		if x.fetch != nil {
			return x.fetch.responseBody(ctx, m.ResponseBody), nil
		}
	}
	if empty := emptyAnswer(message); empty != nil {
		return empty, nil
	}
	return nil, status.Error(codes.InvalidArgument, "a message of unknown type")
}

// requestHeaders decides about the request, then whether its result may be cached.
func (x *exchange) requestHeaders(ctx context.Context, m *extprocv3.HttpHeaders) *extprocv3.ProcessingResponse {
	started := time.Now()
	x.leave()
	x.request = readHeaders(m.GetHeaders())
	p, operation, err := x.server.decide(ctx, x.request)
	x.server.metrics.observe(operation, err, time.Since(started))
	switch {
	case err != nil:
		return x.server.refuse(ctx, x.request, err)
	case x.request.caching == nil:
		return p.answer()
	}
	x.fetch = &fetch{exchange: x, caching: *x.request.caching}
	return x.fetch.requestHeaders(ctx, p, m.GetEndOfStream())
}

// send sends an answer. That of an entry of the cache is encoded once for all that it
// answers.
func (x *exchange) send(answer *extprocv3.ProcessingResponse) error {
	if x.made == nil || x.made.Message != answer {
		return x.stream.Send(answer)
	}
	encoded, ok := x.made.Encoded.Load().(*grpc.PreparedMsg)
	if !ok {
		encoded = &grpc.PreparedMsg{}
		if err := encoded.Encode(x.stream, answer); err != nil {
			return err
		}
		x.made.Encoded.Store(encoded)
	}
	return x.stream.SendMsg(encoded)
}

// leave gives up what others wait for: the request is over, whatever became of it.
func (x *exchange) leave() {
	if x.fetch != nil {
		x.fetch.leave(false)
		x.fetch = nil
	}
}
