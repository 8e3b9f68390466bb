package xds

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"envoke/internal/envoytest"
	"envoke/internal/faas"
	"envoke/internal/testrig"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// net/http waits half a second for a client whose body it did not read.
		goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// stack is a real Envoy between real servers: ADS, ext_proc, control's API and two
// hosts, each on a Unix socket.
type stack struct {
	*envoytest.Envoy
	t          testing.TB
	dir        string
	state      State
	controller *Controller
	scheme     string
	client     *http.Client
	killADS    func()
}

func newStack(t testing.TB, change func(*State)) *stack {
	t.Helper()
	dir := testrig.Dir(t)
	s := &stack{t: t, dir: dir, scheme: "http", controller: New(Options{}), state: State{
		Listener:    Listener{Host: "127.0.0.1"},
		ExtProcPath: filepath.Join(dir, "extproc.sock"),
		APIPath:     filepath.Join(dir, "api.sock"),
		AccessLog:   filepath.Join(dir, "access.log"),
		MaxTimeout:  time.Second,
		Runtimes: []Runtime{{Language: faas.NodeJS, Endpoints: []Endpoint{
			{Path: filepath.Join(dir, "host0.sock")}, {Path: filepath.Join(dir, "host1.sock")},
		}}},
	}}
	if change != nil {
		change(&s.state)
	}
	serveHTTP(t, filepath.Join(dir, "api.sock"), upstream("api"))
	serveHTTP(t, filepath.Join(dir, "host0.sock"), upstream("host0"))
	serveHTTP(t, filepath.Join(dir, "host1.sock"), upstream("host1"))
	serveExtProc(t, s.state.ExtProcPath)
	if err := s.controller.Publish(t.Context(), s.state); err != nil {
		t.Fatal(err)
	}
	testrig.Serve(t, s.controller.Serve)
	s.killADS = serveADS(t, s.ads(), s.controller)
	s.Envoy = envoytest.Start(t, envoytest.Options{Control: s.ads(), Listener: ListenerName})
	s.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

func (s *stack) ads() string { return filepath.Join(s.dir, "ads.sock") }

// do sends a request; headers are name, value, name, value…
func (s *stack) do(method, path, body string, headers ...string) envoytest.Reply {
	s.t.Helper()
	reply, err := s.send(method, path, body, headers...)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply
}

// send is do for any goroutine.
func (s *stack) send(method, path, body string, headers ...string) (envoytest.Reply, error) {
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.scheme+"://"+s.Addr+path, strings.NewReader(body))
	if err != nil {
		return envoytest.Reply{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	response, err := s.client.Do(request)
	if err != nil {
		return envoytest.Reply{}, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	return envoytest.Reply{Status: response.StatusCode, Header: response.Header, Body: raw}, err
}

// seen is what an upstream got, and says in its answer.
type seen struct {
	Upstream string      `json:"upstream"`
	Path     string      `json:"path"`
	Header   http.Header `json:"header"`
	Bytes    int64       `json:"bytes"`
}

func decode(t testing.TB, reply envoytest.Reply) (s seen) {
	t.Helper()
	if err := json.Unmarshal(reply.Body, &s); err != nil {
		t.Fatalf("status %d, body %.200q: %v", reply.Status, reply.Body, err)
	}
	return s
}

// upstream answers what it saw, or does what the header x-do says.
func upstream(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		do, argument, _ := strings.Cut(r.Header.Get("x-do"), " ")
		switch do {
		case "die":
			conn, _, _ := http.NewResponseController(w).Hijack()
			_ = conn.Close()
			return
		case "sleep":
			_, _ = io.Copy(io.Discard, r.Body) // else net/http does not see the client go
			d, _ := time.ParseDuration(argument)
			select {
			case <-time.After(d):
			case <-r.Context().Done():
			}
		case "refuse":
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			_, _ = io.WriteString(w, "refused by the host")
			return
		case "headers":
			w.Header().Set("X-Content-Type-Options", "own")
			w.Header().Set("Strict-Transport-Security", "own")
		case "typed", "encoded", "tagged":
			sendTyped(w, do, argument)
			return
		case "send":
			n, _ := strconv.Atoi(argument)
			_, _ = io.WriteString(w, strings.Repeat("x", n))
			return
		}
		w.Header().Set(SessionHeader, "leak")
		n, _ := io.Copy(io.Discard, r.Body)
		_ = json.NewEncoder(w).Encode(seen{name, r.URL.RequestURI(), r.Header, n})
	}
}

// sendTyped answers 4 KiB of text: of a type and length, encoded already, or with an ETag.
func sendTyped(w http.ResponseWriter, do, argument string) {
	kind, length, _ := strings.Cut(argument, " ")
	n, err := strconv.Atoi(length)
	if err != nil {
		kind, n = "text/plain", 4096
	}
	w.Header().Set("Content-Type", kind)
	switch do {
	case "encoded":
		w.Header().Set("Content-Encoding", "zstd")
	case "tagged":
		w.Header().Set("Etag", argument)
	}
	w.Header().Set("Content-Length", strconv.Itoa(n))
	_, _ = io.WriteString(w, strings.Repeat("x", n))
}

func serveHTTP(t testing.TB, path string, handler http.Handler) {
	t.Helper()
	server := &httptest.Server{Listener: listen(t, path), Config: &http.Server{Handler: handler}}
	server.Start()
	t.Cleanup(server.Close) // which waits for the requests under way
}

// serveADS returns a func that kills the server as SIGKILL would: no farewell.
func serveADS(t testing.TB, path string, controller *Controller) (kill func()) {
	t.Helper()
	server := grpc.NewServer()
	controller.Register(server)
	return serveGRPC(t, path, server)
}

func serveExtProc(t testing.TB, path string) (kill func()) {
	t.Helper()
	server := grpc.NewServer()
	extprocv3.RegisterExternalProcessorServer(server, extProcStub{})
	authv3.RegisterAuthorizationServer(server, keyServer{})
	return serveGRPC(t, path, server)
}

func serveGRPC(t testing.TB, path string, server *grpc.Server) (kill func()) {
	t.Helper()
	listener := listen(t, path)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	killed := false
	kill = func() {
		if !killed {
			killed = true
			server.Stop()
			<-done
		}
	}
	t.Cleanup(kill)
	return kill
}

func listen(t testing.TB, path string) net.Listener {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// extProcStub does what the Language-Title header says: it is a real ext_proc
// server with simple manners.
type extProcStub struct {
	extprocv3.UnimplementedExternalProcessorServer
}

func (extProcStub) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	request, err := stream.Recv()
	if err != nil {
		return err
	}
	headers := map[string]string{}
	for _, h := range request.GetRequestHeaders().GetHeaders().GetHeaders() {
		headers[h.GetKey()] = string(h.GetRawValue())
	}
	set := map[string]string{ClusterHeader: RuntimeCluster(faas.NodeJS), "x-envoke-extproc": "seen"}
	what, argument, _ := strings.Cut(headers["language-title"], " ")
	switch what {
	case "session":
		set[SessionHeader], set[HashHeader] = argument, executePath+"/"+argument
	case "cluster":
		set[ClusterHeader] = argument
	case "path":
		set[":path"] = "/elsewhere"
	case "fail":
		return status.Error(codes.Internal, "secret text")
	case "hang":
		<-stream.Context().Done()
		return nil
	case "immediate":
		return stream.Send(immediate(`{"error":{"code":"NOT_FOUND"}}`))
	}
	if err := stream.Send(mutate(set)); err != nil {
		return err
	}
	_, err = stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func mutate(set map[string]string) *extprocv3.ProcessingResponse {
	mutation := &extprocv3.HeaderMutation{}
	for key, value := range set {
		mutation.SetHeaders = append(mutation.SetHeaders, &corev3.HeaderValueOption{
			Header: &corev3.HeaderValue{Key: key, RawValue: []byte(value)},
		})
	}
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestHeaders{
		RequestHeaders: &extprocv3.HeadersResponse{
			Response: &extprocv3.CommonResponse{HeaderMutation: mutation, ClearRouteCache: true},
		},
	}}
}

func immediate(body string) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ImmediateResponse{
		ImmediateResponse: &extprocv3.ImmediateResponse{
			Status:  &typev3.HttpStatus{Code: typev3.StatusCode_NotFound},
			Body:    []byte(body),
			Details: "envoke",
			Headers: &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{{
				Header: &corev3.HeaderValue{Key: "content-type", RawValue: []byte("application/json")},
			}}},
		},
	}}
}
