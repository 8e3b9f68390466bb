package controlpb

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"envoke/internal/faas"
)

// Bounds of what one RecordRequest holds, as who takes it checks them.
const (
	MaxRecords       = 1000
	MaxRecordID      = 4 << 10   // bytes of an id or a name: Envoy lets headers of such a size pass
	MaxRecordPayload = 512 << 10 // bytes of each text or document
)

// NewRecords makes the message of a host's records.
func NewRecords(host string, r faas.Records) *RecordRequest {
	m := &RecordRequest{Host: host}
	for i := range r.Failures {
		f := &r.Failures[i]
		m.Failures = append(m.Failures, &Failure{
			RequestId: wireText(f.RequestID), SessionId: wireText(string(f.SessionID)), LanguageTitle: wireText(f.LanguageTitle), Language: string(f.Language),
			Component: string(f.Component), Code: string(f.Code), Message: wireText(f.Message), StackTrace: wireText(f.StackTrace),
			Details: f.Details, AtUnixUs: f.At.UnixMicro(),
		})
	}
	for i := range r.Exchanges {
		e := &r.Exchanges[i]
		m.Exchanges = append(m.Exchanges, &Exchange{
			RequestId: wireText(e.RequestID), StartedUnixUs: e.StartedAt.UnixMicro(), Headers: e.Headers,
			Request: wireText(e.Request), Response: wireText(e.Response), Metrics: e.Metrics,
		})
	}
	for i := range r.Samples {
		s := &r.Samples[i]
		m.Samples = append(m.Samples, &Sample{AtUnixUs: s.At.UnixMicro(), Language: string(s.Language), Metric: wireText(s.Metric), Value: s.Value})
	}
	return m
}

// Records are those that the message holds, or an INVALID_REQUEST where they are beyond the
// bounds.
func (x *RecordRequest) Records() (r faas.Records, err error) {
	if n := len(x.GetFailures()) + len(x.GetExchanges()) + len(x.GetSamples()); n > MaxRecords {
		return r, invalidRecord(fmt.Sprintf("%d records at once", n))
	}
	for _, f := range x.GetFailures() {
		if err := checkRecord([]string{f.GetRequestId(), f.GetSessionId(), f.GetLanguageTitle(), f.GetLanguage(), f.GetComponent(), f.GetCode()},
			[]string{f.GetMessage(), f.GetStackTrace()}, f.GetDetails()); err != nil {
			return r, err
		}
		r.Failures = append(r.Failures, faas.Failure{
			RequestID: f.GetRequestId(), SessionID: faas.SessionID(f.GetSessionId()), LanguageTitle: f.GetLanguageTitle(), Language: faas.Language(f.GetLanguage()),
			Component: faas.Component(f.GetComponent()), Code: faas.Code(f.GetCode()), Message: f.GetMessage(), StackTrace: f.GetStackTrace(),
			Details: object(f.GetDetails()), At: time.UnixMicro(f.GetAtUnixUs()).UTC(),
		})
	}
	for _, e := range x.GetExchanges() {
		if err := checkRecord([]string{e.GetRequestId()}, []string{e.GetRequest(), e.GetResponse()}, e.GetHeaders(), e.GetMetrics()); err != nil {
			return r, err
		}
		r.Exchanges = append(r.Exchanges, faas.Exchange{
			RequestID: e.GetRequestId(), StartedAt: time.UnixMicro(e.GetStartedUnixUs()).UTC(), Headers: object(e.GetHeaders()),
			Request: e.GetRequest(), Response: e.GetResponse(), Metrics: object(e.GetMetrics()),
		})
	}
	for _, s := range x.GetSamples() {
		if err := checkRecord([]string{s.GetLanguage(), s.GetMetric()}, nil); err != nil {
			return r, err
		}
		r.Samples = append(r.Samples, faas.Sample{
			At: time.UnixMicro(s.GetAtUnixUs()).UTC(), Language: faas.Language(s.GetLanguage()), Host: x.GetHost(), Metric: s.GetMetric(), Value: s.GetValue(),
		})
	}
	return r, nil
}

func object(raw []byte) json.RawMessage {
	if len(raw) == 0 {
		return nil
	}
	return raw
}

func checkRecord(ids, texts []string, documents ...[]byte) error {
	for _, id := range ids {
		if len(id) > MaxRecordID {
			return invalidRecord("an id is too long")
		}
	}
	for _, text := range texts {
		if len(text) > MaxRecordPayload {
			return invalidRecord("a text is too long")
		}
	}
	for _, document := range documents {
		if len(document) > MaxRecordPayload || len(document) > 0 && (document[0] != '{' || !json.Valid(document)) {
			return invalidRecord("a document is no JSON object, or too long")
		}
	}
	return nil
}

func invalidRecord(what string) error {
	return &faas.Error{Code: faas.InvalidRequest, Message: "records of requests: " + what}
}

// wireText is a text as protobuf takes it: in UTF-8.
func wireText(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }
