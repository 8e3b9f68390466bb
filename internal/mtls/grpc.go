package mtls

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// Rights are the roles that may call a gRPC service, by its full name. Others have no
// method here.
type Rights map[string][]Role

// ServerOptions have a gRPC server take the connections of a Port and nobody else's.
func (r Rights) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(accepted{}),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, in any, call *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if err := r.check(ctx, call.FullMethod); err != nil {
				return nil, err
			}
			return handle(ctx, in)
		}),
		grpc.ChainStreamInterceptor(func(server any, stream grpc.ServerStream, call *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			if err := r.check(stream.Context(), call.FullMethod); err != nil {
				return err
			}
			return handle(server, stream)
		}),
	}
}

var errRole = status.Error(codes.PermissionDenied, "the certificate's role does not allow this")

func (r Rights) check(ctx context.Context, method string) error {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	caller, ok := peer.FromContext(ctx)
	if !ok {
		return errRole
	}
	who, ok := caller.AuthInfo.(shown)
	if !ok || !slices.Contains(r[service], who.role) {
		return errRole
	}
	return nil
}

// shown is what a caller has shown.
type shown struct {
	credentials.CommonAuthInfo
	role Role
}

// AuthType implements credentials.AuthInfo.
func (shown) AuthType() string { return "tls" }

// accepted are the credentials of connections whose handshake a Port has done.
type accepted struct{}

// ServerHandshake implements credentials.TransportCredentials.
func (accepted) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, ok := conn.(*tls.Conn)
	if !ok {
		return nil, nil, errors.New("the connection has no TLS")
	}
	state := secured.ConnectionState()
	role := PeerRole(&state)
	if role == "" || !state.HandshakeComplete {
		return nil, nil, errors.New("the connection has no role")
	}
	return conn, shown{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, role}, nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (accepted) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("for servers only")
}

// Info implements credentials.TransportCredentials.
func (accepted) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements credentials.TransportCredentials.
func (a accepted) Clone() credentials.TransportCredentials { return a }

// OverrideServerName implements credentials.TransportCredentials.
func (accepted) OverrideServerName(string) error { return nil }

// DialOptions have a gRPC client connect to parts of the role.
func (i *Identity) DialOptions(role Role) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(i.Client(role, GRPC))),
		grpc.WithContextDialer(Dial),
	}
}
