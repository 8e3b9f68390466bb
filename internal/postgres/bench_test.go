package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"envoke/internal/faas"
	"envoke/internal/testrig"
)

// BenchmarkAppendRequestLogs appends batches as the tail of Envoy's log does: all
// rows are executes of existing sessions.
func BenchmarkAppendRequestLogs(b *testing.B) {
	for _, sessions := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint("sessions=", sessions), func(b *testing.B) {
			store := open(b, testrig.Postgres(b))
			defer store.Close()
			const batch = 1000
			rows := make([]faas.RequestLog, batch)
			ids := make([]faas.SessionID, sessions)
			for i := range ids {
				session, script := newSession(fmt.Sprint(i))
				ids[i] = session.ID
				if err := store.CreateSession(b.Context(), session, &script); err != nil {
					b.Fatal(err)
				}
			}
			for i := range rows {
				id := ids[i%sessions]
				rows[i] = faas.RequestLog{
					RequestID: "0a1b2c3d-0000-4000-8000-000000000000", Operation: faas.Execute, SessionID: id,
					Method: "POST", Path: "/api/v1/execute/" + string(id), StatusCode: 200, StartedAt: time.Now(),
					Duration: time.Millisecond, ClientIP: "127.0.0.1", BytesIn: 30, BytesOut: 180,
				}
			}
			b.ResetTimer()
			for n := 0; n < b.N; n += batch {
				if err := store.AppendRequestLogs(b.Context(), "access.log.1", int64(n), rows); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func BenchmarkCreateSession(b *testing.B) {
	store := open(b, testrig.Postgres(b))
	defer store.Close()
	for i := range b.N {
		session, script := newSession(fmt.Sprint("return ", i))
		if err := store.CreateSession(b.Context(), session, &script); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFindSession is a round trip on the Unix socket.
func BenchmarkFindSession(b *testing.B) {
	store := open(b, testrig.Postgres(b))
	defer store.Close()
	session, script := newSession("return 1")
	if err := store.CreateSession(b.Context(), session, &script); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := store.FindSession(b.Context(), session.ID); err != nil {
			b.Fatal(err)
		}
	}
}
