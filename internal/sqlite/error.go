package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"envoke/internal/faas"
)

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
	return err
}

func away(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PROTOCOL:
		return true
	}
	// Our own deadline passed while another write was under way.
	return errors.Is(err, context.DeadlineExceeded)
}

// code is SQLite's primary result code, or 0 for an error that is not SQLite's.
func code(err error) int { return extendedCode(err) & 0xff }

func extendedCode(err error) int {
	var e *driver.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

// notFound turns the lack of a row into a NOT_FOUND.
func notFound(err error, missing *faas.Error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return missing
	}
	return err
}
