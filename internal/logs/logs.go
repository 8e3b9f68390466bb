package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"envoke/internal/faas"
)

const (
	defaultLimit = 50
	maxLimit     = 1000
	searchTime   = 5 * time.Second
)

// Entry is a request that Envoy answered, as one line of JSON.
type Entry struct {
	ID            int64          `json:"id"` // ascending; what to read on after
	Time          time.Time      `json:"time"`
	RequestID     string         `json:"request_id"`
	Operation     faas.Operation `json:"operation"`
	SessionID     faas.SessionID `json:"session_id,omitempty"`
	LanguageTitle string         `json:"language_title,omitempty"`
	Method        string         `json:"method"`
	Path          string         `json:"path"`
	StatusCode    int            `json:"status_code"`
	DurationMS    float64        `json:"duration_ms"`
	ClientIP      string         `json:"client_ip,omitempty"`
	Namespace     faas.Namespace `json:"namespace,omitempty"` // empty: the default one
	UserID        string         `json:"user_id,omitempty"`
	BytesIn       int64          `json:"bytes_in"`
	BytesOut      int64          `json:"bytes_out"`
	Cached        bool           `json:"cached"`
	ErrorDetails  string         `json:"error_details,omitempty"` // Envoy's own words
	Error         *Failure       `json:"error,omitempty"`         // what the caller was told, where it is still known
	Output        []Line         `json:"output,omitempty"`        // what the function printed, likewise
	Exchange      *Exchange      `json:"exchange,omitempty"`      // what the request held, where one id is asked for and that is stored
}

func newEntry(r *faas.RequestLog) Entry {
	return Entry{
		ID: r.ID, Time: r.StartedAt.UTC(), RequestID: r.RequestID, Operation: r.Operation,
		SessionID: r.SessionID, LanguageTitle: r.LanguageTitle,
		Method: r.Method, Path: r.Path, StatusCode: r.StatusCode,
		DurationMS: float64(r.Duration) / float64(time.Millisecond),
		ClientIP:   r.ClientIP, Namespace: r.Namespace, UserID: r.UserID, BytesIn: r.BytesIn, BytesOut: r.BytesOut,
		Cached: r.Cached, ErrorDetails: r.ErrorDetails,
	}
}

// Options are what a handler shows. All are required.
type Options struct {
	// Find are the rows that a query selects, newest first.
	Find func(context.Context, faas.RequestLogQuery) ([]faas.RequestLog, error)
	// Failures tell why requests failed, as far as it is stored, the oldest first.
	Failures func(ctx context.Context, requestIDs []string) ([]faas.Failure, error)
	// Exchanges are what requests of an id held, as far as it is stored.
	Exchanges func(ctx context.Context, requestID string) ([]faas.Exchange, error)
	Output    *Output
	Logger    *slog.Logger
}

// Handler answers GET /logs with a line of JSON for each request, oldest first. The
// parameters request_id, session, name, status and after select; limit is how many,
// 50 by default and 1000 at most.
func Handler(o Options) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := parse(r.URL.RawQuery)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), searchTime)
		defer cancel()
		rows, err := o.Find(ctx, query)
		if err != nil {
			o.Logger.Error("read the request log", slog.Any("error", err))
			http.Error(w, "the request log cannot be read now; the log says why", http.StatusServiceUnavailable)
			return
		}
		entries := make([]Entry, 0, len(rows))
		for _, row := range slices.Backward(rows) {
			entries = append(entries, newEntry(&row))
		}
		o.Output.addTo(entries)
		o.addStored(ctx, query.RequestID, entries)
		w.Header().Set("Content-Type", "application/x-ndjson")
		encoder := json.NewEncoder(w)
		for i := range entries {
			if encoder.Encode(&entries[i]) != nil {
				return // who asked has gone
			}
		}
	})
}

// Query is the query string that Handler reads q from.
func Query(q faas.RequestLogQuery) string {
	values := url.Values{}
	for name, value := range map[string]string{
		"request_id": q.RequestID, "session": string(q.SessionID), "name": q.LanguageTitle,
	} {
		if value != "" {
			values.Set(name, value)
		}
	}
	for name, value := range map[string]int64{"status": int64(q.StatusCode), "after": q.After, "limit": int64(q.Limit)} {
		if value != 0 {
			values.Set(name, strconv.FormatInt(value, 10))
		}
	}
	return values.Encode()
}

func parse(raw string) (faas.RequestLogQuery, error) {
	q := faas.RequestLogQuery{Limit: defaultLimit}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, fmt.Errorf("the query is not well formed: %w", err)
	}
	for name, given := range values {
		value, err := given[0], error(nil)
		switch name {
		case "request_id":
			q.RequestID = value
		case "session":
			q.SessionID = faas.SessionID(value)
		case "name":
			q.LanguageTitle = value
		case "status":
			q.StatusCode, err = number(value, 100, 599)
		case "limit":
			q.Limit, err = number(value, 1, maxLimit)
		case "after":
			if q.After, err = strconv.ParseInt(value, 10, 64); err != nil || q.After < 0 {
				err = fmt.Errorf("%q is no id of an entry", value)
			}
		default:
			err = errors.New("there is no such parameter; there are request_id, session, name, status, after and limit")
		}
		if err != nil {
			return q, fmt.Errorf("%s: %w", name, err)
		}
	}
	return q, nil
}

func number(text string, least, most int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q is no whole number from %d to %d", text, least, most)
	}
	return n, nil
}
