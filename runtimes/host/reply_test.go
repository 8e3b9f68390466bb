package host

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/faas"
	"envoke/runtimes/pool"
)

func TestAppendResult(t *testing.T) {
	session := &faas.Session{ID: "0b1", Name: faas.Name{Language: faas.NodeJS, Title: "a.b_c-1"}}
	tests := []struct {
		name   string
		result pool.Result
		want   string
	}{
		{
			"as the worker wrote it",
			pool.Result{JSON: []byte(`{ "n":12345678901234567890}`), Duration: 1500 * time.Microsecond, MemoryBytes: 42},
			`{"result":{ "n":12345678901234567890},"request_id":"0b1","language_title":"nodejs-a.b_c-1","execution_time_ms":1.500,"memory_usage_bytes":42,"cached":false}`,
		},
		{
			"memory is not known",
			pool.Result{JSON: []byte(`null`), Duration: time.Nanosecond, MemoryBytes: -1},
			`{"result":null,"request_id":"0b1","language_title":"nodejs-a.b_c-1","execution_time_ms":0.000,"memory_usage_bytes":null,"cached":false}`,
		},
		{
			"long",
			pool.Result{JSON: []byte(`""`), Duration: time.Hour},
			`{"result":"","request_id":"0b1","language_title":"nodejs-a.b_c-1","execution_time_ms":3600000.000,"memory_usage_bytes":0,"cached":false}`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := string(appendResult([]byte("before "), session, test.result))
			if diff := cmp.Diff("before "+test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
