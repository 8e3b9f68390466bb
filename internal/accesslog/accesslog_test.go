package accesslog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"envoke/internal/faas"
)

func TestHalfWrittenLinesWait(t *testing.T) {
	r := newRig(t)
	tail := r.start()
	line := r.envoy.line()
	for i := range line {
		r.envoy.write(line[i : i+1])
		if i%10 == 0 {
			r.look(tail)
			r.wantRows(0)
		}
	}
	r.look(tail)
	r.wantRows(1)
	r.look(tail)
	r.wantRows(1)
}

func TestBadLinesAreSkippedAndCounted(t *testing.T) {
	r := newRig(t)
	tail := r.start()
	r.envoy.writeLines(1)
	r.envoy.write("\n{}\nnull\n[1]\n{\"start\":\n\xff\x00\n")
	r.envoy.writeLines(1)
	r.envoy.write(strings.Repeat("x", 2*readBytes) + "\n") // three reads
	r.envoy.writeLines(1)
	r.look(tail)
	r.wantRows(3)
	if got := r.metric("envoke_accesslog_malformed_lines_total"); got != 6+3 {
		t.Errorf("%v malformed lines, want 9", got)
	}
	if got := r.metric("envoke_accesslog_lag_bytes"); got != 0 {
		t.Errorf("lag is %v", got)
	}
}

func TestBatches(t *testing.T) {
	r := newRig(t)
	tail := r.start()
	const lines = 3*maxRows + 7 // more than one buffer too
	r.envoy.writeLines(lines)
	r.look(tail)
	r.wantRows(lines)
	if got := r.metric("envoke_requests_total", "code=200", "operation=health"); got != lines {
		t.Errorf("%v requests counted, want %d", got, lines)
	}
	if got := r.metric("envoke_request_duration_seconds", "operation=health"); got != lines {
		t.Errorf("%v durations, want %d", got, lines)
	}
}

func TestRotation(t *testing.T) {
	r := newRig(t)
	r.options.MaxSize = 1000
	asked := 0
	r.options.Reopen = func(context.Context) error { asked++; return nil }
	tail := r.start()
	r.envoy.writeLines(20)
	for range 3 {
		r.look(tail)
	}
	if asked != 1 {
		t.Fatalf("Envoy was asked %d times to open the log again, want once", asked)
	}
	r.envoy.writeLines(5) // it has not done so yet
	r.look(tail)
	r.wantFiles(1)
	r.wantRows(25)

	r.envoy.writeLines(1)
	if err := r.envoy.reopen(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.envoy.writeLines(1)
	r.look(tail)
	r.wantFiles(1)
	r.wantRows(27)
}

func TestWhatWasNoHTTPIsARowToo(t *testing.T) {
	r := newRig(t)
	tail := r.start()
	r.envoy.write(`{"start":"1763834873.000001","request_id":"0","method":null,"path":null,"status":400,"details":"http1.codec_error"}` + "\n")
	r.look(tail)
	r.wantRows(1)
}

func TestReopenIsTriedAgain(t *testing.T) {
	r := newRig(t)
	r.options.MaxSize = 150
	broken := errors.New("no admin")
	fail := true
	r.options.Reopen = func(ctx context.Context) error {
		if fail {
			return broken
		}
		return r.envoy.reopen(ctx)
	}
	tail := r.start()
	r.envoy.writeLines(2)
	for range 3 {
		if err := tail.look(t.Context()); !errors.Is(err, broken) {
			t.Fatalf("error is %v", err)
		}
	}
	fail = false
	r.look(tail)
	r.envoy.writeLines(1)
	r.look(tail)
	r.wantFiles(1)
	r.wantRows(3)
}

// TestTooMuchWaits: while the store is away files are full as ever, and the oldest go where there
// are too many.
func TestTooMuchWaits(t *testing.T) {
	r := newRig(t)
	r.options.MaxSize, r.options.MaxWaiting = 1000, 3000
	store := r.options.Store
	r.options.Store = goneStore{store}
	tail := r.start()
	for range 10 {
		r.envoy.writeLines(10) // some 1,300 bytes
		if err := tail.look(t.Context()); !errors.Is(err, errAway) {
			t.Fatalf("error is %v", err)
		}
	}
	r.wantFiles(3) // two full ones, and what Envoy has just begun
	dropped := r.metric("envoke_accesslog_dropped_bytes_total")
	tail.Store = store
	r.look(tail)
	left, err := r.store.LatestRequestLogs(t.Context(), faas.RequestLogQuery{Limit: 200})
	if err != nil || len(left) < 20 || len(left) > 30 || dropped < 70*100 {
		t.Errorf("%d rows are left, %v bytes were dropped", len(left), dropped)
	}
	r.envoy.writeLines(1)
	r.look(tail)
	if all, err := r.store.LatestRequestLogs(t.Context(), faas.RequestLogQuery{Limit: 200}); err != nil || len(all) != len(left)+1 {
		t.Errorf("%d rows after one more line, %v", len(all), err)
	}
}

// goneStore is away.
type goneStore struct{ Store }

func (goneStore) LogOffset(context.Context, string) (int64, error) { return 0, errAway }

// TestEarlierRuns: files that killed runs left are read, finished and deleted.
func TestEarlierRuns(t *testing.T) {
	r := newRig(t)
	if err := r.envoy.reopen(t.Context()); err != nil { // finds no link
		t.Fatal(err)
	}
	r.envoy.writeLines(3)
	for range 3 {
		r.start()
		r.envoy.writeLines(2)
		r.envoy.write(`{"start":"17638`) // killed here
	}
	tail := r.start()
	r.envoy.writeLines(1)
	r.wantFiles(5)
	r.look(tail)
	r.wantFiles(1)
	r.wantRows(3 + 3*2 + 1)
	if got := r.metric("envoke_accesslog_malformed_lines_total"); got != 3 {
		t.Errorf("%v malformed lines, want 3", got)
	}
}

func TestRotateTwiceMakesOneFile(t *testing.T) {
	r := newRig(t)
	r.start()
	first, _ := os.Readlink(r.envoy.path)
	for range 3 {
		if err := r.process().Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	next, err := os.Readlink(r.envoy.path)
	if err != nil || next == first {
		t.Errorf("the link names %q after %q (error %v)", next, first, err)
	}
	r.wantFiles(1)
}

func TestTruncatedFileIsReadFromItsStart(t *testing.T) {
	r := newRig(t)
	tail := r.start()
	r.envoy.writeLines(5)
	r.look(tail)
	if err := r.envoy.file.Truncate(0); err != nil {
		t.Fatal(err)
	}
	r.envoy.writeLines(1)
	r.look(tail)
	r.wantRows(6)
}

// A file deleted by hand loses no row: Envoy goes on writing it until it has begun
// the next.
func TestDeletedFile(t *testing.T) {
	for name, remove := range map[string]func(path string) error{
		"the file": func(path string) error {
			target, err := filepath.EvalSymlinks(path)
			return errors.Join(err, os.Remove(target))
		},
		"the folder": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.envoy.path = filepath.Join(t.TempDir(), "log", "access.log")
			if err := os.Mkdir(filepath.Dir(r.envoy.path), 0o700); err != nil {
				t.Fatal(err)
			}
			r.options.Path = r.envoy.path
			asked := 0
			r.options.Reopen = func(context.Context) error { asked++; return nil }
			tail := r.start()
			r.envoy.writeLines(2)
			r.look(tail)
			if err := remove(r.envoy.path); err != nil {
				t.Fatal(err)
			}
			for range 3 { // it has not done as it was asked yet
				r.envoy.writeLines(1)
				r.look(tail)
			}
			r.wantRows(5)
			if deleted := r.metric("envoke_accesslog_deleted_files_total"); asked != 1 || deleted != 1 {
				t.Errorf("asked %d times, %v files deleted, want one each", asked, deleted)
			}
			r.envoy.writeLines(1)
			if err := r.envoy.reopen(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.envoy.writeLines(3)
			r.look(tail)
			r.look(tail)
			r.wantRows(9)
			r.wantFiles(1)
			if len(tail.open) != 1 {
				t.Errorf("%d files are open, want the new one only", len(tail.open))
			}
		})
	}
}

func TestCountOnly(t *testing.T) {
	r := newRig(t)
	r.options.CountOnly = true
	session, script := newSession()
	if err := r.store.CreateSession(t.Context(), session, &script); err != nil {
		t.Fatal(err)
	}
	tail := r.start()
	for range 3 {
		r.envoy.write(fmt.Sprintf(`{"start":1763834873.5,"route":"execute-plain-nodejs","method":"POST","path":"/api/v1/execute/%s","status":200}`+"\n", session.ID))
	}
	r.look(tail)
	r.wantRows(0)
	got, err := r.store.FindSession(t.Context(), session.ID)
	if err != nil || got.ExecutionCount != 3 || !got.LastExecutedAt.Equal(time.Unix(1763834873, 5e8)) {
		t.Errorf("count %d, last %v (error %v)", got.ExecutionCount, got.LastExecutedAt, err)
	}
}

func newSession() (faas.Session, faas.Script) {
	script := faas.NewScript(faas.NodeJS, "return 1", nil)
	return faas.Session{
		ID: faas.NewSessionKey().NewID(faas.NodeJS, true), Name: faas.Name{Language: faas.NodeJS, Title: "t"},
		Digest: script.Digest, CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour), Status: faas.Active,
	}, script
}

// TestServe writes in odd pieces while the tail follows, rotates and loses its
// store now and then; what is written after Serve was told to end still counts.
func TestServe(t *testing.T) {
	r := newRig(t)
	r.options.MaxSize = 50_000
	reopen := make(chan struct{}, 1)
	r.options.Reopen = func(ctx context.Context) error {
		select {
		case reopen <- struct{}{}:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	away := &awayStore{Store: r.store}
	r.options.Store = away
	tail := r.start()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- tail.Serve(ctx) }()

	const lines = 5000
	var (
		pending string
		seen    int64 // calls of the store
	)
	for i := range lines {
		pending += r.envoy.line()
		cut := len(pending) - i%97
		r.envoy.write(pending[:cut])
		pending = pending[cut:]
		if i%250 == 249 { // the tail keeps pace
			away.wait(seen + 1)
			seen = away.calls.Load()
		}
		select {
		case <-reopen: // Envoy changes files between lines only
			r.envoy.write(pending)
			pending = ""
			if err := r.envoy.reopen(ctx); err != nil {
				t.Fatal(err)
			}
		default:
		}
	}
	stop()
	r.envoy.write(pending)
	r.envoy.stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.options.Store, r.options.Reopen = r.store, nil
	tail = r.process() // what Envoy wrote too late is for the next Serve
	r.look(tail)
	r.wantRows(lines)
}

// awayStore is away at every third call, and once more after it has committed.
type awayStore struct {
	Store
	calls atomic.Int64
}

// wait returns when the store has been asked that often.
func (s *awayStore) wait(calls int64) {
	for s.calls.Load() < calls {
		runtime.Gosched()
	}
}

var errAway = &faas.Error{Code: faas.Unavailable, Message: "away"}

func (s *awayStore) AppendRequestLogs(ctx context.Context, file string, offset int64, rows []faas.RequestLog) error {
	n := s.calls.Add(1)
	if n%3 == 1 {
		return errAway
	}
	err := s.Store.AppendRequestLogs(ctx, file, offset, rows)
	if n%3 == 2 {
		return errAway
	}
	return err
}
