package rpc

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"envoke/internal/logs"
	"envoke/internal/testrig"
	"envoke/runtimes/pool"
	"envoke/runtimes/runtimepb"
)

// A call's lines are found by its own id, and by that of its session.
func TestLogsOfCalls(t *testing.T) {
	r := newRig(t, 10*time.Second)
	id := r.session(t, "console.log('one', params); console.error('two')", "")
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "trace-1")
	if _, err := r.Execute(ctx, &runtimepb.ExecuteRequest{RequestId: id, Params: "7"}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Execute(t.Context(), &runtimepb.ExecuteRequest{RequestId: id, Params: "8"}); err != nil {
		t.Fatal(err)
	}
	for of, want := range map[string]string{
		"trace-1": "trace-1 INFO one 7|trace-1 ERROR two",
		id:        "trace-1 INFO one 7|trace-1 ERROR two|ID INFO one 8|ID ERROR two",
		"other":   "",
	} {
		lines, total := r.lines(t, &runtimepb.GetLogsRequest{RequestId: of})
		var got []string
		for _, line := range lines {
			got = append(got, strings.ReplaceAll(line.RequestID, id, "ID")+" "+line.Level+" "+line.Text)
			if time.Since(line.Time) > time.Minute {
				t.Errorf("it was printed at %v", line.Time)
			}
		}
		if diff := cmp.Diff(want, strings.Join(got, "|")); diff != "" || total != len(lines) {
			t.Errorf("%s: %d in all (-want +got)\n%s", of, total, diff)
		}
	}
}

func (r *rig) lines(t *testing.T, request *runtimepb.GetLogsRequest) ([]printed, int) {
	t.Helper()
	reply, err := r.GetLogs(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	var lines []printed
	if err := json.Unmarshal([]byte(reply.GetLogs()), &lines); err != nil || lines == nil {
		t.Fatalf("%v: %s", err, reply.GetLogs())
	}
	return lines, int(reply.GetTotalCount())
}

func TestLogsAreSelected(t *testing.T) {
	r := newCutOffRig(t, time.Second)
	now := time.Now()
	for i := range 150 {
		r.output.Add(logs.Line{RequestID: "a", Time: now.Add(-time.Duration(150-i) * time.Minute), Level: "INFO", Text: fmt.Sprint(i)})
	}
	r.output.Add(logs.Line{RequestID: "b", Time: now, Level: "WARN", Text: "150"})
	for _, tt := range []struct {
		name        string
		request     *runtimepb.GetLogsRequest
		first, last string
		total       int
	}{
		{"all", &runtimepb.GetLogsRequest{}, "0", "99", 151},
		{"another page", &runtimepb.GetLogsRequest{Offset: new(int32(100))}, "100", "150", 151},
		{"more", &runtimepb.GetLogsRequest{Limit: new(int32(1000))}, "0", "150", 151},
		{"one", &runtimepb.GetLogsRequest{RequestId: "a", Limit: new(int32(1)), Offset: new(int32(3))}, "3", "3", 150},
		{"an hour", &runtimepb.GetLogsRequest{TimeRange: new("1h")}, "91", "150", 60},
		{"a day", &runtimepb.GetLogsRequest{TimeRange: new("24h")}, "0", "99", 151},
		{"a level", &runtimepb.GetLogsRequest{LogLevel: new("warn")}, "150", "150", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lines, total := r.lines(t, tt.request)
			if len(lines) == 0 || lines[0].Text != tt.first || lines[len(lines)-1].Text != tt.last || total != tt.total {
				t.Errorf("%d lines of %d: %v", len(lines), total, lines)
			}
		})
	}
	for want, request := range map[string]*runtimepb.GetLogsRequest{
		"limit must be 1 to 1000":                       {Limit: new(int32(0))},
		"limit must be 1 to 1000 ":                      {Limit: new(int32(1001))},
		"offset must not be negative":                   {Offset: new(int32(-1))},
		"time_range must be 1h, 24h or 7d":              {TimeRange: new("1y")},
		"log_level must be debug, info, warn or error":  {LogLevel: new("loud")},
		"log_level must be debug, info, warn or error ": {LogLevel: new("")},
	} {
		_, err := r.GetLogs(t.Context(), request)
		if got := failureOf(t, err); got.Code != codes.InvalidArgument || got.Message != strings.TrimSpace(want) {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

// A page of long lines ends before a client's default limit of a message.
func TestLogPagesHaveALimit(t *testing.T) {
	r := newCutOffRig(t, time.Second)
	for range 400 {
		r.output.Add(logs.Line{RequestID: "a", Time: time.Now(), Level: "INFO", Text: strings.Repeat("x", 8<<10)})
	}
	lines, total := r.lines(t, &runtimepb.GetLogsRequest{Limit: new(int32(1000))})
	if len(lines) != 256 || total != 400 {
		t.Errorf("%d lines of %d, want 256 of 400", len(lines), total)
	}
}

func (r *rig) numbers(t *testing.T) (n numbers) {
	t.Helper()
	reply, err := r.GetMetrics(t.Context(), &runtimepb.GetMetricsRequest{})
	if err == nil {
		err = json.Unmarshal([]byte(reply.GetMetrics()), &n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (r *rig) counters(t *testing.T) map[string]float64 { return r.numbers(t).Counters }

func TestMetrics(t *testing.T) {
	r := newRig(t, 10*time.Second)
	before := r.counters(t)
	id := r.session(t, echo, "")
	for range 3 {
		if _, err := r.Execute(t.Context(), &runtimepb.ExecuteRequest{RequestId: id}); err != nil {
			t.Fatal(err)
		}
	}
	got := r.numbers(t)
	if got.Language != "nodejs" || got.Version != "test" || got.Workers.Loaded < 1 || !strings.HasPrefix(got.Workers.Version, "v") {
		t.Errorf("got %+v", got)
	}
	for name, want := range map[string]float64{
		`envoke_rpc_calls_total{code="OK",method="Execute"}`:         3,
		`envoke_rpc_calls_total{code="OK",method="Initialize"}`:      1,
		`envoke_host_stage_duration_seconds_count{stage="run"}`:      3,
		`envoke_bundle_lookups_total{kind="session",outcome="held"}`: 3,
		`envoke_pool_kills_total{reason="deadline"}`:                 0,
		`envoke_pool_claims_total`:                                   1,
	} {
		if grown := got.Counters[name] - before[name]; grown < want || name != "envoke_pool_claims_total" && grown != want {
			t.Errorf("%s grew by %v, want %v", name, grown, want)
		}
	}
	if took := got.Counters[`envoke_host_stage_duration_seconds_sum{stage="run"}`]; took <= 0 {
		t.Errorf("three runs took %v s", took)
	}
}

func TestUpdateConfig(t *testing.T) {
	r := newCutOffRig(t, time.Second)
	const start = `{"idle_workers":1,"log_level":"info"}`
	for _, tt := range []struct{ name, config, wantError, want string }{
		{"nothing", "", "", start},
		{"an empty object", " {} ", "", start},
		{"all", `{"idle_workers":3,"log_level":"DEBUG"}`, "", `{"idle_workers":3,"log_level":"debug"}`},
		{"one", `{"idle_workers":0}`, "", `{"idle_workers":0,"log_level":"debug"}`},
		{"one bad of two", `{"idle_workers":2,"log_level":"loud"}`, "log_level must be debug, info, warn or error", `{"idle_workers":0,"log_level":"debug"}`},
		{"too many", `{"idle_workers":5}`, "idle_workers must be a whole number from 0 to 4", `{"idle_workers":0,"log_level":"debug"}`},
		{"too few", `{"idle_workers":-1}`, "idle_workers must be a whole number from 0 to 4", `{"idle_workers":0,"log_level":"debug"}`},
		{"a fraction", `{"idle_workers":1.5}`, "idle_workers must be a whole number from 0 to 4", `{"idle_workers":0,"log_level":"debug"}`},
		{"null", `{"log_level":null}`, "log_level must be debug, info, warn or error", `{"idle_workers":0,"log_level":"debug"}`},
		{"what cannot be changed", `{"max_script_size":1}`, `"max_script_size" cannot be changed; there is idle_workers, log_level`, `{"idle_workers":0,"log_level":"debug"}`},
		{"no object", `[]`, `config must be a JSON object such as {"log_level":"debug"}`, `{"idle_workers":0,"log_level":"debug"}`},
		{"null for an object", `null`, `config must be a JSON object such as {"log_level":"debug"}`, `{"idle_workers":0,"log_level":"debug"}`},
		{"a name twice", `{"log_level":"info","log_level":"warn"}`, `config must be a JSON object such as {"log_level":"debug"}`, `{"idle_workers":0,"log_level":"debug"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := r.UpdateConfig(t.Context(), &runtimepb.UpdateConfigRequest{RequestId: "r", Config: tt.config})
			if err != nil || got.GetSuccess() != (tt.wantError == "") || got.GetError() != tt.wantError || got.GetCurrentConfig() != tt.want {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
	if r.level.Level() != slog.LevelDebug {
		t.Errorf("the level is %v", r.level.Level())
	}
}

// A change of idle_workers starts and ends processes.
func TestIdleWorkers(t *testing.T) {
	r := newCutOffRig(t, time.Second)
	for _, n := range []int{3, 1, 0, 2} {
		got, err := r.UpdateConfig(t.Context(), &runtimepb.UpdateConfigRequest{Config: fmt.Sprintf(`{"idle_workers":%d}`, n)})
		if err != nil || !got.GetSuccess() {
			t.Fatalf("%v, %v", got, err)
		}
		want := pool.Stats{Ready: n}
		testrig.Eventually(t, fmt.Sprintf("%d workers to be ready", n), func() bool {
			stats := r.pool.Stats()
			stats.Version = ""
			return stats == want
		})
	}
}
