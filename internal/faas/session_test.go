package faas

import (
	"testing"
	"time"
)

func TestSessionStatusAt(t *testing.T) {
	expiry := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		name   string
		status SessionStatus
		now    time.Time
		want   SessionStatus
		live   bool
	}{
		{"before its expiry", Active, expiry.Add(-time.Nanosecond), Active, true},
		{"at its expiry", Active, expiry, Expired, false},
		{"after its expiry", Active, expiry.Add(time.Hour), Expired, false},
		{"completed stays so", Completed, expiry.Add(time.Hour), Completed, false},
		{"failed stays so", Failed, expiry.Add(time.Hour), Failed, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := Session{Status: test.status, ExpiresAt: expiry}
			if got := s.StatusAt(test.now); got != test.want {
				t.Errorf("StatusAt = %s, want %s", got, test.want)
			}
			if got := s.Live(test.now); got != test.live {
				t.Errorf("Live = %t, want %t", got, test.live)
			}
		})
	}
}

func TestRequestLogExecuted(t *testing.T) {
	tests := []struct {
		name string
		row  RequestLog
		want bool
	}{
		{"an execute", RequestLog{SessionID: "s", Operation: Execute, StatusCode: 200}, true},
		{"a one-shot", RequestLog{SessionID: "s", Operation: OneShot, StatusCode: 200}, true},
		{"the function threw", RequestLog{SessionID: "s", Operation: Execute, StatusCode: 500}, true},
		{"ran out of time", RequestLog{SessionID: "s", Operation: Execute, StatusCode: 504}, true},
		{"ran out of memory", RequestLog{SessionID: "s", Operation: Execute, StatusCode: 507}, true},
		{"bad params never ran", RequestLog{SessionID: "s", Operation: Execute, StatusCode: 400}, false},
		{"refused, never ran", RequestLog{SessionID: "s", Operation: Execute, StatusCode: 429}, false},
		{"unknown session", RequestLog{SessionID: "s", Operation: Execute, StatusCode: 404}, false},
		{"without a session", RequestLog{Operation: Execute, StatusCode: 200}, false},
		{"an initialize", RequestLog{SessionID: "s", Operation: Initialize, StatusCode: 200}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.row.Executed(); got != test.want {
				t.Errorf("Executed() = %t, want %t", got, test.want)
			}
		})
	}
}
