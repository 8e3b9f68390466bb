package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	"envoke/internal/controlpb"
	"envoke/internal/faas"
	"envoke/internal/record"
	"envoke/runtimes/host"
)

// maxMaskKeys bounds how many names of secrets an operator may add.
const maxMaskKeys = 1000

// How Envoy tells of requests.
const (
	logFile   = "file"
	logStream = "stream"
)

func (c *Config) bindLogs(f *pflag.FlagSet) {
	f.StringVar(&c.AccessLog, "access-log", logFile, "how Envoy tells of requests: file (in the data folder, each request once), or stream (by gRPC, for Envoys on other machines; what is sent while control is away is lost)")
	f.IntVar(&c.LogRetentionHours, "log-retention-hours", 168, "how long request rows, and those of errors, are kept")
	f.IntVar(&c.LogWaitingMB, "log-waiting-mb", 4096, "most that waits on disk for a store that is away, in MiB; of more, the oldest file is deleted unread")
	f.BoolVar(&c.LogPayloads, "log-payloads", false, "store what functions were given and answered, and callers' headers, beside the request rows")
	f.IntVar(&c.LogPayloadBytes, "log-payload-bytes", 16<<10, "most that is stored of each params, result and headers, in bytes")
	f.StringVar(&c.LogMaskKeys, "log-mask-keys", "", "headers and members of JSON, with commas between, whose values are not stored, beside Authorization, cookies, passwords, tokens and such")
}

func (c *Config) accessLogPath() string { return filepath.Join(c.DataDir, "log", "access.log") }

func (c *Config) checkRecords() (faults []error) {
	if c.AccessLog != logFile && c.AccessLog != logStream {
		faults = append(faults, fmt.Errorf("ACCESS_LOG is %q: it must be %s or %s", c.AccessLog, logFile, logStream))
	}
	if n := strings.Count(c.LogMaskKeys, ","); n >= maxMaskKeys {
		faults = append(faults, fmt.Errorf("LOG_MASK_KEYS has %d names: it may have %d", n+1, maxMaskKeys))
	}
	return faults
}

// newRecords makes the queue of what a part of this process tells of requests.
func (e *environment) newRecords(part string, send func(context.Context, faas.Records) error) *record.Queue {
	return record.New(record.Options{Name: part, Send: send, Logger: e.logger, Registerer: e.metrics})
}

// toControl sends what a host tells.
func toControl(conn *grpc.ClientConn, host string) func(context.Context, faas.Records) error {
	client := controlpb.NewControlClient(conn)
	return func(ctx context.Context, r faas.Records) error {
		_, err := client.Record(ctx, controlpb.NewRecords(host, r))
		return controlpb.FromStatus(err)
	}
}

// toStore is where records go; nobody keeps them where no rows are stored.
func toStore(c *Config, s store) func(context.Context, faas.Records) error {
	if !c.DBLoggingEnabled {
		return func(context.Context, faas.Records) error { return nil }
	}
	return s.AppendRecords
}

// failed keeps for operators why requests failed that a part of this process answers, here
// and in the store.
func (e *environment) failed(q *record.Queue) func(faas.Failure) {
	return func(f faas.Failure) {
		f = f.Masked()
		e.output.Fail(f)
		q.Failed(f)
	}
}

// exchanges are what hosts tell of payloads; nil: nothing.
func (e *environment) exchanges(q *record.Queue) *host.Exchanges {
	if !e.config.LogPayloads {
		return nil
	}
	return &host.Exchanges{
		Tell: q.Exchanged,
		Mask: record.NewMask(strings.Split(e.config.LogMaskKeys, ","), e.config.LogPayloadBytes),
	}
}
