package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
	"envoke/internal/schema"
)

const (
	heartbeat = 200 * time.Millisecond
	// maxContext bounds a session's context, in bytes.
	maxContext  = 1 << 20
	maxHostName = 256
	// maxStep and maxBuildError bound what is told of a build, in bytes.
	maxStep       = 64
	maxBuildError = controlpb.MaxBuildError
)

// ServerOptions are what control's gRPC server needs: to carry the largest scripts,
// Envoy's pings, and a stream of ext_proc per request.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(controlpb.MaxMessage),
		// A script in one go: windows that grow while it comes make it wait.
		grpc.InitialWindowSize(1 << 20), grpc.InitialConnWindowSize(16 << 20),
		// Goroutines that are kept: the stack of a new one grows with each stream of
		// ext_proc, 7 % of what that costs here.
		grpc.NumStreamWorkers(64),
		// Envoy pings each 10 s; grpc's default ends connections that ping more often
		// than each 5 minutes.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}
}

// Register offers the registry to runtime hosts as the gRPC service Control.
func (r *Registry) Register(server grpc.ServiceRegistrar) {
	controlpb.RegisterControlServer(server, &service{registry: r})
}

// service translates between messages and the registry.
type service struct {
	controlpb.UnimplementedControlServer
	registry *Registry
}

func (s *service) FindSession(ctx context.Context, in *controlpb.FindSessionRequest) (*controlpb.Session, error) {
	session, err := s.registry.FindSession(ctx, faas.SessionID(in.GetId()))
	if err != nil {
		return nil, s.fail(ctx, "FindSession", err)
	}
	message := controlpb.NewSession(&session)
	message.Secrets, err = s.registry.secretsOf(ctx, session.FunctionOwner(), session.Environment)
	if err != nil {
		return nil, s.fail(ctx, "FindSession", err)
	}
	return message, nil
}

func (s *service) FindScript(ctx context.Context, in *controlpb.FindScriptRequest) (*controlpb.Script, error) {
	script, err := s.registry.FindScript(ctx, faas.Digest(in.GetDigest()))
	if err != nil {
		return nil, s.fail(ctx, "FindScript", err)
	}
	return controlpb.NewScript(&script), nil
}

func (s *service) FindFunction(ctx context.Context, in *controlpb.FindFunctionRequest) (*controlpb.Function, error) {
	ref, err := faas.ParseRefKey(in.GetLanguageTitle())
	if err != nil {
		return nil, s.fail(ctx, "FindFunction", err)
	}
	function, err := s.registry.FindFunction(ctx, ref)
	if err != nil {
		return nil, s.fail(ctx, "FindFunction", err)
	}
	message := controlpb.NewFunction(&function)
	message.Secrets, err = s.registry.secretsOf(ctx, function.SecretOwner(), function.Variables())
	if err != nil {
		return nil, s.fail(ctx, "FindFunction", err)
	}
	return message, nil
}

// CreateSession keeps a session only if its host says so: the code may turn out not to
// load, or the host may die.
func (s *service) CreateSession(stream grpc.BidiStreamingServer[controlpb.CreateSessionRequest, controlpb.CreateSessionResponse]) error {
	in, err := stream.Recv()
	if err != nil {
		return err
	}
	session, script, err := s.parse(in)
	if err == nil {
		err = s.registry.CreateSession(stream.Context(), session, script)
	}
	if err != nil && stream.Context().Err() == nil {
		return s.fail(stream.Context(), "CreateSession", err)
	}
	if err == nil {
		err = isKept(stream)
	}
	if err != nil && faas.AsError(err).Code != faas.Conflict {
		s.registry.undo(stream.Context(), session.ID)
	}
	return err
}

// isKept waits for the end of the stream. Any other end than the host's own is an error.
func isKept(stream grpc.BidiStreamingServer[controlpb.CreateSessionRequest, controlpb.CreateSessionResponse]) error {
	if err := stream.Send(&controlpb.CreateSessionResponse{}); err != nil {
		return err
	}
	_, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return cmp.Or(err, status.Error(codes.InvalidArgument, "one session a stream"))
}

func (s *service) SetBuild(ctx context.Context, in *controlpb.SetBuildRequest) (*controlpb.SetBuildResponse, error) {
	status, build := faas.CompileStatus(in.GetCompileStatus()), in.GetBuild().Build()
	var err error
	switch {
	case status != faas.CompilePending && status != faas.CompileSuccess && status != faas.CompileError:
		err = invalid("a build is pending, success or error")
	case len(build.Step) > maxStep, len(build.Error) > maxBuildError:
		err = &faas.Error{Code: faas.PayloadTooLarge, Message: "what is told of the build is too large"}
	case build.Error != nil && !json.Valid(build.Error):
		err = invalid("the error of a build must be JSON")
	default:
		err = s.registry.SetBuild(ctx, faas.SessionID(in.GetId()), status, build)
	}
	if err != nil {
		return nil, s.fail(ctx, "SetBuild", err)
	}
	return &controlpb.SetBuildResponse{}, nil
}

// maxTaken bounds the time that a host may have a context for.
const maxTaken = 24 * time.Hour

func (s *service) TakeContext(ctx context.Context, in *controlpb.TakeContextRequest) (*controlpb.TakeContextResponse, error) {
	most := time.Duration(min(in.GetForMs(), 2*maxTaken.Milliseconds())) * time.Millisecond
	var taken json.RawMessage
	err := checkHost(in.GetHost())
	if err == nil && most > maxTaken {
		err = invalid("a host may have a context for a day at most")
	}
	if err == nil {
		taken, err = s.registry.TakeContext(ctx, faas.SessionID(in.GetId()), in.GetHost(), s.registry.now().Add(most))
	}
	if err != nil {
		return nil, s.fail(ctx, "TakeContext", err)
	}
	return &controlpb.TakeContextResponse{Context: taken}, nil
}

func (s *service) PutContext(ctx context.Context, in *controlpb.PutContextRequest) (*controlpb.PutContextResponse, error) {
	left := json.RawMessage(in.GetContext())
	err := checkHost(in.GetHost())
	switch {
	case err != nil:
	case len(left) == 0:
		left = nil
	case len(left) > maxContext:
		err = &faas.Error{Code: faas.PayloadTooLarge, Message: "the context is larger than 1 MiB"}
	case left[0] != '{' || !json.Valid(left):
		err = invalid("a context must be a JSON object")
	}
	if err == nil {
		err = s.registry.PutContext(ctx, faas.SessionID(in.GetId()), in.GetHost(), left)
	}
	if err != nil {
		return nil, s.fail(ctx, "PutContext", err)
	}
	return &controlpb.PutContextResponse{}, nil
}

func checkHost(name string) error {
	if name == "" || len(name) > maxHostName {
		return invalid("a host must say its name")
	}
	return nil
}

// parse checks what a host sends as if it were a stranger's.
func (s *service) parse(in *controlpb.CreateSessionRequest) (faas.Session, *faas.Script, error) {
	session, err := in.GetSession().Session()
	if err != nil {
		return faas.Session{}, nil, err
	}
	language, _ := session.ID.Language()
	switch {
	case !s.registry.key.Check(session.ID):
		return faas.Session{}, nil, invalid("the session's id was not made with this installation's key")
	case language != session.Name.Language:
		return faas.Session{}, nil, invalid("the session's id and name differ in language")
	case len(session.Context) > maxContext:
		return faas.Session{}, nil, &faas.Error{Code: faas.PayloadTooLarge, Message: "the context is larger than 1 MiB"}
	case len(session.Schema) > schema.MaxBytes:
		return faas.Session{}, nil, &faas.Error{Code: faas.PayloadTooLarge, Message: "the schema is larger than 64 KiB"}
	case session.Version == 0 && len(session.Environment) > 0:
		return faas.Session{}, nil, invalid("only a registered function has an environment")
	case session.Environment.Check() != nil:
		return faas.Session{}, nil, session.Environment.Check()
	case !session.Live(s.registry.now()):
		return faas.Session{}, nil, invalid("the session has expired")
	case in.GetScript() == nil:
		return session, nil, nil
	}
	script := in.GetScript().Script()
	if script.Digest != session.Digest || script.Language != language {
		return faas.Session{}, nil, invalid("the script is not the one that the session names")
	}
	return session, &script, nil
}

func invalid(message string) error {
	return &faas.Error{Code: faas.InvalidRequest, Message: message}
}

// fail makes the status of an error and logs what the status does not tell.
func (s *service) fail(ctx context.Context, method string, err error) error {
	failure := controlpb.Status(err)
	if status.Code(failure) == codes.Internal {
		s.registry.logger.ErrorContext(ctx, "answer a host", "method", method, "error", err)
	}
	return failure
}

// Watch tells a host of every change until either side goes away.
func (s *service) Watch(stream grpc.BidiStreamingServer[controlpb.WatchRequest, controlpb.WatchResponse]) error {
	hello, err := stream.Recv()
	if err != nil {
		return err
	}
	if err := checkHost(hello.GetHost()); err != nil {
		return controlpb.Status(err)
	}
	hosts := s.registry.hosts
	w, err := hosts.join()
	if err != nil {
		return controlpb.Status(err)
	}
	defer hosts.leave(w)
	first := &controlpb.WatchResponse{Epoch: hosts.epoch, Revision: w.joined, SessionKey: s.registry.key}
	if err := stream.Send(first); err != nil {
		return err
	}
	gone := make(chan error, 1)
	// Ends when this method returns, since that ends the stream; gRPC offers no
	// way to wait for it.
	go func() { gone <- readAcks(stream, hosts, w) }()
	return writeEvents(stream, hosts.epoch, w, gone)
}

func readAcks(stream grpc.BidiStreamingServer[controlpb.WatchRequest, controlpb.WatchResponse], h *hosts, w *watch) error {
	for {
		ack, err := stream.Recv()
		if err != nil {
			return err
		}
		h.acknowledge(w, ack.GetAckedRevision())
	}
}

// writeEvents sends events and, at least every 200 ms, a sign of life. That one
// carries the revision last sent: a host may acknowledge what it sees.
func writeEvents(stream grpc.ServerStreamingServer[controlpb.WatchResponse], epoch string, w *watch, gone <-chan error) error {
	alive := &controlpb.WatchResponse{Epoch: epoch, Revision: w.joined}
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		message := alive
		select {
		case <-gone:
			return nil
		case event, ok := <-w.events:
			if !ok {
				return status.Error(codes.Unavailable, "the watch has ended; connect again")
			}
			message = event
			alive = &controlpb.WatchResponse{Epoch: epoch, Revision: event.GetRevision()}
		case <-ticker.C:
		}
		if err := stream.Send(message); err != nil {
			return err
		}
	}
}
