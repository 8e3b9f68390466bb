package postgres

import (
	"encoding/json"
	"math"
	"strings"
	"time"
)

// stored is a time as the store gives it back: to the microsecond, in UTC.
func stored(t time.Time) time.Time { return t.Truncate(time.Microsecond).UTC() }

// orNever makes the zero time of NULL.
func orNever(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// nullTime stores the zero time as NULL.
func nullTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

func fromMillis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// exactMillis is a duration in milliseconds from which fromExactMillis makes the same
// microseconds again: a float64 has room for those of a century.
func exactMillis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func fromExactMillis(ms float64) time.Duration {
	return time.Duration(math.Round(ms*1000)) * time.Microsecond
}

// document is JSON as it is stored: text, or NULL for nil.
func document(raw json.RawMessage) any {
	if raw == nil {
		return nil
	}
	return string(raw)
}

// orNull stores the empty string as NULL.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// storable is a text without what PostgreSQL refuses in one: bytes that are not UTF-8, and
// NUL. Request logs have what callers sent, and one line must not hold up all.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
