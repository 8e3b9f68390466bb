package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"envoke/internal/faas"
)

func TestWrap(t *testing.T) {
	server := func(code string) error { return &pgconn.PgError{Code: code, Message: "m"} }
	for name, test := range map[string]struct {
		err  error
		want faas.Code
	}{
		"nothing":                {nil, ""},
		"too many connections":   {server("53300"), faas.Unavailable},
		"disk full":              {server("53100"), faas.Unavailable},
		"shutting down":          {server("57P01"), faas.Unavailable},
		"starting up":            {server("57P03"), faas.Unavailable},
		"cancelled by the admin": {server("57014"), faas.Unavailable},
		"broken connection":      {server("08006"), faas.Unavailable},
		"disk error":             {server("58030"), faas.Unavailable},
		"a standby":              {server("25006"), faas.Unavailable},
		"deadlock, every time":   {server("40P01"), faas.Unavailable},
		"locked for too long":    {server("55P03"), faas.Unavailable},
		"reset":                  {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, faas.Unavailable},
		"broken before":          {fmt.Errorf("begin: %w", pgconn.ErrConnClosed), faas.Unavailable},
		"end of file":            {io.ErrUnexpectedEOF, faas.Unavailable},
		"our deadline":           {context.DeadlineExceeded, faas.Unavailable},
		"the caller gave up":     {context.Canceled, faas.InternalError},
		"a fault of ours":        {server("42601"), faas.InternalError},
		"NUL in a text":          {server("22021"), faas.InvalidRequest},
		"what we said ourselves": {faas.ErrNoSession, faas.NotFound},
		"something else":         {errors.New("x"), faas.InternalError},
	} {
		err := wrap("do it", test.err)
		if (err == nil) != (test.want == "") || err != nil && faas.AsError(err).Code != test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

func TestExactMillis(t *testing.T) {
	for _, us := range []int64{0, 1, 999, 1234567, 3_600_000_001, 3_155_760_000_000_001} {
		d := time.Duration(us) * time.Microsecond
		if got := fromExactMillis(exactMillis(d)); got != d {
			t.Errorf("%d µs came back as %v", us, got)
		}
	}
}
