package logs

import (
	"context"
	"encoding/json"
	"net/http"

	"envoke/internal/faas"
)

// Exchange is what a request and its answer held.
type Exchange struct {
	Headers  json.RawMessage `json:"request_headers,omitempty"`
	Request  string          `json:"request_payload,omitempty"`
	Response string          `json:"response_payload,omitempty"`
	Metrics  json.RawMessage `json:"runtime_metrics,omitempty"`
}

// addStored adds what is stored of the entries: why they failed, where this process does not
// know, and what they held, where one request is asked for. A store that does not answer takes
// nothing from the rows that it gave.
func (o *Options) addStored(ctx context.Context, requestID string, entries []Entry) {
	at := make(map[string][]*Entry)
	var ids []string
	for i := range entries {
		e := &entries[i]
		if e.Error == nil && e.StatusCode >= http.StatusBadRequest && e.RequestID != "" {
			if len(at[e.RequestID]) == 0 {
				ids = append(ids, e.RequestID)
			}
			at[e.RequestID] = append(at[e.RequestID], e)
		}
	}
	if len(ids) > 0 {
		failures, err := o.Failures(ctx, ids)
		if err != nil {
			o.Logger.WarnContext(ctx, "read why requests failed", "error", err)
		}
		addFailures(at, failures)
	}
	if requestID == "" || len(entries) == 0 {
		return
	}
	exchanges, err := o.Exchanges(ctx, requestID)
	if err != nil {
		o.Logger.WarnContext(ctx, "read what requests held", "error", err)
	}
	addExchanges(entries, exchanges)
}

// addFailures gives each entry the first failure that came after it began: callers use ids
// twice.
func addFailures(at map[string][]*Entry, failures []faas.Failure) {
	for i := range failures {
		for _, e := range at[failures[i].RequestID] {
			if e.Error == nil && !failures[i].At.Before(e.Time) {
				failure := newFailure(&failures[i])
				e.Error = &failure
				break
			}
		}
	}
}

func addExchanges(entries []Entry, exchanges []faas.Exchange) {
	for i := range exchanges {
		x := &exchanges[i]
		for j := range entries {
			if entries[j].Time.Equal(x.StartedAt) {
				entries[j].Exchange = &Exchange{Headers: x.Headers, Request: x.Request, Response: x.Response, Metrics: x.Metrics}
			}
		}
	}
}
