package sqlite

import (
	"database/sql"
	"encoding/json"
	"time"
)

// micros is a time as it is stored. Stored times are kept to the microsecond, as
// Postgres keeps them.
func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

// fromNullMicros makes the zero time of NULL.
func fromNullMicros(us sql.NullInt64) time.Time {
	if !us.Valid {
		return time.Time{}
	}
	return fromMicros(us.Int64)
}

// nullMicros stores the zero time as NULL.
func nullMicros(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return micros(t)
}

func fromMillis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// document is JSON as it is stored: text, or NULL for nil.
func document(raw json.RawMessage) any {
	if raw == nil {
		return nil
	}
	return string(raw)
}
