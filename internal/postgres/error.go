package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"envoke/internal/faas"
)

// PostgreSQL's error codes that mean something here (its appendix A).
const (
	foreignKeyViolation   = "23503"
	uniqueViolation       = "23505"
	checkViolation        = "23514"
	notInRepertoire       = "22021"
	untranslatable        = "22P05"
	readOnlyTransaction   = "25006"
	invalidAuthorization  = "28000"
	invalidPassword       = "28P01"
	noSuchDatabase        = "3D000"
	serializationFailure  = "40001"
	deadlockDetected      = "40P01"
	insufficientPrivilege = "42501"
	lockNotAvailable      = "55P03"
)

// classesAway are those of a server that is away, full, or not ready: connection, resources,
// an operator's intervention (a shutdown, a cancelled query), the system it runs on.
var classesAway = []string{"08", "53", "57", "58"}

// wrap names the operation that failed. Errors listed in except are none. A store
// that is away, full or locked for too long is UNAVAILABLE to callers; what is
// already a *faas.Error stays one.
func wrap(operation string, err error, except ...error) error {
	if err == nil {
		return nil
	}
	for _, none := range except {
		if errors.Is(err, none) {
			return nil
		}
	}
	err = fmt.Errorf("%s: %w", operation, err)
	if away(err) {
		return &faas.Error{Code: faas.Unavailable, Message: "the store is not available; try again", Err: err}
	}
	switch codeOf(err) {
	case notInRepertoire, untranslatable:
		return &faas.Error{Code: faas.InvalidRequest, Message: "a text has a character that the store cannot hold", Err: err}
	}
	return err
}

func away(err error) bool {
	switch code := codeOf(err); code {
	case "":
		return cutOff(err)
	case readOnlyTransaction, serializationFailure, deadlockDetected, lockNotAvailable:
		return true // a standby, or others for too long
	default:
		for _, class := range classesAway {
			if strings.HasPrefix(code, class) {
				return true
			}
		}
		// Whatever keeps a server from letting us in, it is not what a caller asked.
		return errors.As(err, new(*pgconn.ConnectError))
	}
}

// cutOff tells whether there was no answer: no connection, one that broke, or our own deadline.
func cutOff(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, pgconn.ErrConnClosed) || errors.As(err, new(*pgconn.ConnectError)) || errors.As(err, new(*net.OpError)) ||
		pgconn.Timeout(err) || pgconn.SafeToRetry(err)
}

// codeOf is PostgreSQL's code, or empty for an error that is not the server's.
func codeOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// notFound turns the lack of a row into a NOT_FOUND.
func notFound(err error, missing *faas.Error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return missing
	}
	return err
}

// openError says, in one line, which database could not be opened and what to do about the
// usual reasons.
func openError(config *pgx.ConnConfig, err error) error {
	where := place(&config.Config)
	switch codeOf(err) {
	case invalidPassword:
		return fmt.Errorf("open %s: the password is wrong, or there is no such user", where)
	case invalidAuthorization:
		return fmt.Errorf("open %s: the server does not let this user in: %s", where, serversWords(err))
	case noSuchDatabase:
		return fmt.Errorf("open %s: there is no such database: create it first", where)
	case insufficientPrivilege:
		return fmt.Errorf("open %s: %s: run `envoke migrate up` as the owner of the database first", where, serversWords(err))
	}
	if words := serversWords(err); words != "" {
		return fmt.Errorf("open %s: %s", where, words)
	}
	return fmt.Errorf("open %s: %w", where, lastLine(err))
}

// serversWords is what the server said, without what the libraries add.
func serversWords(err error) string {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("%s (%s)", e.Message, e.Code))
}

// lastLine makes one line of the errors of several attempts.
func lastLine(err error) error {
	if err == nil || !strings.Contains(err.Error(), "\n") {
		return err
	}
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}
