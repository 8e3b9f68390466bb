package xds

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/delta/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxNackText bounds what is kept of Envoy's text.
const maxNackText = 4 << 10

// Register serves delta ADS to Envoys on the gRPC server. State of the world is not
// served: there a refused resource is sent again at once, for ever.
func (c *Controller) Register(server *grpc.Server) {
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, &adsServer{controller: c})
}

type adsServer struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	controller *Controller
}

// DeltaAggregatedResources serves one Envoy until it goes or the server stops.
func (a *adsServer) DeltaAggregatedResources(envoy discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	s := &stream{
		controller: a.controller,
		since:      time.Now(),
		held:       map[string]map[string]string{},
		pending:    map[string]*discoveryv3.DeltaDiscoveryResponse{},
	}
	// A server of its own for each stream: callbacks then need no table of streams.
	err := delta.NewServer(envoy.Context(), &streamCache{a.controller.cache, s}, s).DeltaStreamHandler(envoy, resourcev3.AnyType)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// stream is what is known of one connected Envoy. Its maps are guarded by the
// controller's mutex.
type stream struct {
	controller *Controller
	since      time.Time
	node       string
	held       map[string]map[string]string // type → name → version that Envoy took
	pending    map[string]*discoveryv3.DeltaDiscoveryResponse
	refused    *discoveryv3.DeltaDiscoveryResponse // of which parts are to be sent again
}

var _ delta.Callbacks = (*stream)(nil)

// OnDeltaStreamOpen implements delta.Callbacks.
func (s *stream) OnDeltaStreamOpen(_ context.Context, _ int64, _ string) error {
	c := s.controller
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams[s] = struct{}{}
	c.metrics.streams.Set(float64(len(c.streams)))
	return nil
}

// OnDeltaStreamClosed implements delta.Callbacks.
func (s *stream) OnDeltaStreamClosed(int64, *corev3.Node) {
	c := s.controller
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.streams, s)
	c.metrics.streams.Set(float64(len(c.streams)))
}

// OnStreamDeltaResponse implements delta.Callbacks.
func (s *stream) OnStreamDeltaResponse(_ int64, _ *discoveryv3.DeltaDiscoveryRequest, response *discoveryv3.DeltaDiscoveryResponse) {
	s.controller.mu.Lock()
	defer s.controller.mu.Unlock()
	s.pending[response.GetNonce()] = response
}

// OnStreamDeltaRequest implements delta.Callbacks: a request may subscribe, and may
// tell what became of a response.
func (s *stream) OnStreamDeltaRequest(_ int64, request *discoveryv3.DeltaDiscoveryRequest) error {
	response := s.answered(request)
	if nodes := s.controller.nodes; nodes != nil && !slices.Contains(nodes, s.node) {
		s.controller.logger.Warn("refused the configuration to an Envoy that is not known", "node", clip(s.node))
		return status.Error(codes.PermissionDenied, "this Envoy is not known here: ENVOY_NODES names those that are")
	}
	switch fault := request.GetErrorDetail(); {
	case fault != nil:
		apart := s.controller.refused(context.Background(), Nack{
			Time:    time.Now(),
			Node:    s.node,
			Type:    short(request.GetTypeUrl()),
			Version: response.GetSystemVersionInfo(),
			Message: clip(fault.GetMessage()),
			typeURL: request.GetTypeUrl(),
		}, response)
		if apart {
			s.refused = response
		}
	case response != nil || len(request.GetInitialResourceVersions()) > 0:
		s.controller.acknowledged(s, response)
	}
	return nil
}

// answered finds the response that a request is about, and takes down what Envoy
// holds.
func (s *stream) answered(request *discoveryv3.DeltaDiscoveryRequest) *discoveryv3.DeltaDiscoveryResponse {
	s.controller.mu.Lock()
	defer s.controller.mu.Unlock()
	if node := request.GetNode(); node.GetId() != "" {
		s.node = node.GetId()
	}
	typeURL := request.GetTypeUrl()
	if s.held[typeURL] == nil {
		s.held[typeURL] = map[string]string{}
	}
	// What an Envoy has from before it lost us is not sent again.
	maps.Copy(s.held[typeURL], request.GetInitialResourceVersions())
	response := s.pending[request.GetResponseNonce()]
	delete(s.pending, request.GetResponseNonce())
	if response == nil || request.GetErrorDetail() != nil {
		return response
	}
	for _, r := range response.GetResources() {
		s.held[typeURL][r.GetName()] = r.GetVersion()
	}
	for _, name := range response.GetRemovedResources() {
		delete(s.held[typeURL], name)
	}
	return response
}

// holds tells whether Envoy took all of the snapshot.
func (s *stream) holds(snapshot *Snapshot) bool {
	for _, typeURL := range typeURLs {
		for name, version := range snapshot.cache.GetVersionMap(typeURL) {
			if s.held[typeURL][name] != version {
				return false
			}
		}
	}
	return true
}

func clip(text string) string {
	if len(text) > maxNackText {
		return text[:maxNackText] + " …"
	}
	return text
}
