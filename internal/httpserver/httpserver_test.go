package httpserver

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started is a server whose only request is under way.
type started struct {
	stop   context.CancelFunc
	served chan error
	finish chan struct{} // close it to let the request end
	status chan int      // of the request; 0 where it was cut off
}

func start(t *testing.T, grace time.Duration) started {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	s := started{stop, make(chan error, 1), make(chan struct{}), make(chan int, 1)}
	arrived := make(chan struct{})
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-s.finish
	})
	go func() { s.served <- Serve(ctx, &http.Server{Handler: handler}, listener, grace) }()
	go func() { s.status <- get("http://" + listener.Addr().String()) }()
	<-arrived
	return s
}

func get(url string) int {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	reply, err := client.Get(url)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, reply.Body)
	_ = reply.Body.Close()
	return reply.StatusCode
}

func TestWhatIsUnderWayFinishes(t *testing.T) {
	s := start(t, time.Minute)
	s.stop()
	close(s.finish)
	if status := <-s.status; status != http.StatusOK {
		t.Fatalf("the request under way got %d", status)
	}
	if err := <-s.served; err != nil {
		t.Fatal(err)
	}
}

func TestWhatOutlivesTheGraceIsCutOff(t *testing.T) {
	s := start(t, time.Millisecond)
	s.stop()
	if status := <-s.status; status != 0 {
		t.Fatalf("the request got %d", status)
	}
	close(s.finish)
	if err := <-s.served; err == nil {
		t.Fatal("Serve did not say that it cut a request off")
	}
}
