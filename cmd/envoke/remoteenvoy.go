package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"envoke/internal/accesslog"
	"envoke/internal/faas"
	"envoke/internal/mtls"
)

// remoteAccessLog is where an Envoy writes its log that is on another machine than control,
// in its working folder, which is that machine's data folder.
const remoteAccessLog = "log/access.log"

// startRemoteEnvoy runs what an Envoy needs on a machine where no control is: somebody who
// stores its log.
func startRemoteEnvoy(e *environment, l *lifecycle) error {
	unlock, err := lockFolder(e.config.DataDir)
	if err != nil {
		return err
	}
	// It says what is wrong with the certificate, which Envoy would do at length.
	if _, err := e.openIdentity(mtls.Envoy); err != nil {
		return errors.Join(err, unlock())
	}
	var rows accesslog.Store = noStore{}
	if e.config.onPostgres() {
		late := &lateStore{open: func(ctx context.Context) (store, error) { return openStore(ctx, e.config) }}
		l.start("store", func(ctx context.Context) error {
			<-ctx.Done()
			return late.close()
		})
		rows = late
	} else {
		e.logger.Warn("the rows of requests are not stored: DATABASE_URL names no PostgreSQL")
	}
	log := newTail(rows, e, nil)
	if err := log.Rotate(); err != nil {
		return errors.Join(err, unlock())
	}
	l.start("access log", func(ctx context.Context) error { return errors.Join(log.Serve(ctx), unlock()) })
	return nil
}

// lateStore is a store that need not be there yet: Envoy serves without, and its log waits.
type lateStore struct {
	open func(context.Context) (store, error)

	mu     sync.Mutex
	opened store
	asked  time.Time
	err    error
}

// openAgain is how long a store is left alone that could not be opened.
const openAgain = time.Second

func (s *lateStore) get(ctx context.Context) (store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened == nil && time.Since(s.asked) > openAgain {
		s.opened, s.err = s.open(ctx)
		s.asked = time.Now()
	}
	return s.opened, s.err
}

func (s *lateStore) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened == nil {
		return nil
	}
	return s.opened.Close()
}

// LogOffset implements accesslog.Store.
func (s *lateStore) LogOffset(ctx context.Context, file string) (int64, error) {
	to, err := s.get(ctx)
	if err != nil {
		return 0, err
	}
	return to.LogOffset(ctx, file)
}

// AppendRequestLogs implements accesslog.Store.
func (s *lateStore) AppendRequestLogs(ctx context.Context, file string, offset int64, rows []faas.RequestLog) error {
	to, err := s.get(ctx)
	if err != nil {
		return err
	}
	return to.AppendRequestLogs(ctx, file, offset, rows)
}

// CountRequests implements accesslog.Store.
func (s *lateStore) CountRequests(ctx context.Context, file string, offset int64, rows []faas.RequestLog) error {
	to, err := s.get(ctx)
	if err != nil {
		return err
	}
	return to.CountRequests(ctx, file, offset, rows)
}

// ForgetLogFile implements accesslog.Store.
func (s *lateStore) ForgetLogFile(ctx context.Context, file string) error {
	to, err := s.get(ctx)
	if err != nil {
		return err
	}
	return to.ForgetLogFile(ctx, file)
}

// SweepRequestLogs implements accesslog.Store.
func (s *lateStore) SweepRequestLogs(ctx context.Context, before time.Time, limit int) (int, error) {
	to, err := s.get(ctx)
	if err != nil {
		return 0, err
	}
	return to.SweepRequestLogs(ctx, before, limit)
}

// noStore stores nothing: the log is read all the same, so that its files are begun anew and
// deleted before they fill the disk.
type noStore struct{}

// LogOffset implements accesslog.Store.
func (noStore) LogOffset(context.Context, string) (int64, error) { return 0, nil }

// AppendRequestLogs implements accesslog.Store.
func (noStore) AppendRequestLogs(context.Context, string, int64, []faas.RequestLog) error { return nil }

// CountRequests implements accesslog.Store.
func (noStore) CountRequests(context.Context, string, int64, []faas.RequestLog) error { return nil }

// ForgetLogFile implements accesslog.Store.
func (noStore) ForgetLogFile(context.Context, string) error { return nil }

// SweepRequestLogs implements accesslog.Store.
func (noStore) SweepRequestLogs(context.Context, time.Time, int) (int, error) { return 0, nil }
