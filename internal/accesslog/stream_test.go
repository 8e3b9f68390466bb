package accesslog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	datav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"envoke/internal/faas"
	"envoke/internal/testrig"
	"envoke/xds"
)

// TestStreamOfARealEnvoy: what a real Envoy sends by gRPC is what it writes to the file.
func TestStreamOfARealEnvoy(t *testing.T) {
	r := newRig(t)
	tail := r.process()
	if err := tail.Rotate(); err != nil {
		t.Fatal(err)
	}
	receiver := tail.NewReceiver()
	envoy := startEnvoyOf(t, func(s *xds.State) { s.AccessLog, s.AccessLogStream = r.envoy.path, true }, receiver)
	testrig.Serve(t, receiver.Serve)
	const sent = 50
	get(t, "http://"+envoy.Addr+"/no/such/path?secret=1", sent/2)
	get(t, "http://"+envoy.Addr+"/api/v1/execute/"+string(faas.NewSessionKey().NewID(faas.NodeJS, true)), sent/2)
	var streamed []faas.RequestLog
	testrig.Eventually(t, "a row for each request", func() bool {
		var err error
		if streamed, err = r.store.LatestRequestLogs(t.Context(), faas.RequestLogQuery{Limit: 2 * sent}); err != nil {
			t.Fatal(err)
		}
		return len(streamed) == sent
	})
	last := streamed[0].ID
	var written []faas.RequestLog
	testrig.Eventually(t, "a line for each request", func() bool {
		r.look(tail)
		var err error
		if written, err = r.store.LatestRequestLogs(t.Context(), faas.RequestLogQuery{After: last, Limit: 2 * sent}); err != nil {
			t.Fatal(err)
		}
		return len(written) == sent
	})
	byID := make(map[string]faas.RequestLog)
	for _, row := range written {
		byID[row.RequestID] = row
	}
	for _, row := range streamed {
		line := byID[row.RequestID]
		if diff := cmp.Diff(line, row, cmpopts.IgnoreFields(faas.RequestLog{}, "ID", "Duration")); diff != "" {
			t.Fatalf("the line and the entry of a request differ (-line +entry):\n%s", diff)
		}
		if between := line.Duration - row.Duration; between < -time.Millisecond || between > time.Millisecond {
			t.Errorf("the line says %v, the entry %v", line.Duration, row.Duration)
		}
	}
	if got := testutil.ToFloat64(receiver.received); got != sent {
		t.Errorf("%v entries were counted", got)
	}
}

// entryOf is an execute of a session.
func entryOf(id string, session faas.SessionID) *datav3.HTTPAccessLogEntry {
	return &datav3.HTTPAccessLogEntry{
		CommonProperties: &datav3.AccessLogCommon{
			StartTime: timestamppb.New(time.Unix(1763834873, 1500)), TimeToLastDownstreamTxByte: durationpb.New(1500 * time.Microsecond),
			RouteName: "execute-plain-nodejs", DownstreamRemoteAddress: &corev3.Address{Address: &corev3.Address_SocketAddress{
				SocketAddress: &corev3.SocketAddress{Address: "10.0.0.1"},
			}},
			ResponseFlags: &datav3.ResponseFlags{UpstreamRequestTimeout: true, DurationTimeout: true},
		},
		Request: &datav3.HTTPRequestProperties{
			RequestMethod: corev3.RequestMethod_POST, Path: "/api/v1/execute/" + string(session) + "?a=b", RequestId: id, RequestBodyBytes: 7,
			RequestHeaders: map[string]string{"x-user-id": "ada", "x-envoke-namespace": "team-a", "language-title": "nodejs-f"},
		},
		Response: &datav3.HTTPResponseProperties{ResponseCode: wrapperspb.UInt32(504), ResponseBodyBytes: 9, ResponseCodeDetails: "response_timeout"},
	}
}

func messageOf(entries ...*datav3.HTTPAccessLogEntry) *accesslogv3.StreamAccessLogsMessage {
	return &accesslogv3.StreamAccessLogsMessage{LogEntries: &accesslogv3.StreamAccessLogsMessage_HttpLogs{
		HttpLogs: &accesslogv3.StreamAccessLogsMessage_HTTPAccessLogEntries{LogEntry: entries},
	}}
}

func TestRowOfAnEntry(t *testing.T) {
	id := faas.NewSessionKey().NewID(faas.NodeJS, true)
	got, ok := rowOf(entryOf("one", id))
	want := faas.RequestLog{
		RequestID: "one", Operation: faas.Execute, SessionID: id, LanguageTitle: "nodejs-f", Method: "POST", Path: "/api/v1/execute/" + string(id),
		StatusCode: 504, Duration: 1500 * time.Microsecond, StartedAt: time.Unix(1763834873, 1000).UTC(), ClientIP: "10.0.0.1", Namespace: "team-a", UserID: "ada",
		BytesIn: 7, BytesOut: 9, ErrorDetails: "response_timeout UT,DT",
	}
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("%v (-want +got)\n%s", ok, diff)
	}
	if _, ok := rowOf(&datav3.HTTPAccessLogEntry{}); ok {
		t.Error("an entry of no request is a row")
	}
}

// doubtful is a store whose appends are stored, but do not always say so.
type doubtful struct {
	Store
	refuse, forget atomic.Bool
}

func (d *doubtful) AppendRequestLogs(ctx context.Context, file string, offset int64, rows []faas.RequestLog) error {
	if d.refuse.Load() {
		return errors.New("away")
	}
	err := d.Store.AppendRequestLogs(ctx, file, offset, rows)
	if err == nil && d.forget.CompareAndSwap(true, false) {
		return errors.New("cut off")
	}
	return err
}

// TestEntriesWaitAndCountOnce while the store is away, and where its answer is lost; what has no
// room is counted.
func TestEntriesWaitAndCountOnce(t *testing.T) {
	r := newRig(t)
	store := &doubtful{Store: r.store}
	store.refuse.Store(true)
	r.options.Store = store
	receiver := r.process().NewReceiver()
	const most = 3000
	receiver.most = most
	testrig.Serve(t, receiver.Serve)
	for i := range most/1000 + 3 {
		var entries []*datav3.HTTPAccessLogEntry
		for j := range 1000 {
			entries = append(entries, entryOf(fmt.Sprint(i, "-", j), ""))
		}
		receiver.take(messageOf(entries...))
	}
	dropped := testutil.ToFloat64(receiver.dropped)
	if dropped < 2000 || dropped > 3000 { // a batch may have left the queue
		t.Errorf("%v were dropped", dropped)
	}
	store.forget.Store(true)
	store.refuse.Store(false)
	want := most + 3000 - int(dropped)
	rows := func() int {
		got, err := r.store.LatestRequestLogs(t.Context(), faas.RequestLogQuery{Limit: 3 * most})
		if err != nil {
			t.Fatal(err)
		}
		return len(got)
	}
	testrig.Eventually(t, "all rows", func() bool { return testutil.ToFloat64(receiver.metrics.rows) >= float64(want) })
	if got := rows(); got != want || store.forget.Load() {
		t.Errorf("%d rows of %d entries", got, want)
	}
}

// TestManyEnvoysSend at once, over gRPC, and all that is taken is stored at the end.
func TestManyEnvoysSend(t *testing.T) {
	r := newRig(t)
	receiver := r.process().NewReceiver()
	server := grpc.NewServer()
	receiver.Register(server)
	listener := testrig.Listen(t, filepath.Join(testrig.Dir(t), "a.sock"))
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	client := accesslogv3.NewAccessLogServiceClient(testrig.Connect(t, "unix:"+listener.Addr().String()))
	var sending sync.WaitGroup
	const envoys, messages = 4, 20
	for envoy := range envoys {
		sending.Go(func() {
			stream, err := client.StreamAccessLogs(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			for i := range messages {
				if err := stream.Send(messageOf(entryOf(fmt.Sprint(envoy*messages+i), ""))); err != nil {
					t.Error(err)
				}
			}
			if _, err := stream.CloseAndRecv(); err != nil {
				t.Error(err)
			}
		})
	}
	sending.Wait()
	server.Stop()
	serving.Wait()
	ended, end := context.WithCancel(t.Context())
	end()
	if err := receiver.Serve(ended); err != nil {
		t.Fatal(err)
	}
	r.wantRows(envoys * messages)
	if offset, err := r.store.LogOffset(t.Context(), receiver.name); offset != 0 || err != nil {
		t.Errorf("its position is left in the store: %d, %v", offset, err)
	}
}
