package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"envoke/internal/testrig"
)

// TestParallelExecutes runs 2,000 executes of 80 sessions, or 5,000 of 200: every answer is
// right, every count exact, and there is a row for each request.
func TestParallelExecutes(t *testing.T) {
	const executesEach, callers = 25, 32
	sessions := fewOrMany(80, 200)
	executes := sessions * executesEach
	i := serve(t)
	ids := make([]string, sessions)
	for n := range ids {
		ids[n] = i.initialize(t, fmt.Sprintf("return {session: %d, twice: event.params.n * 2}", n))
	}
	var group errgroup.Group
	group.SetLimit(callers)
	for n := range executes {
		group.Go(func() error {
			session := n % sessions
			r, err := send(http.MethodPost, i.base+"/api/v1/execute/"+ids[session], fmt.Sprintf(`{"params":{"n":%d}}`, n))
			if err != nil {
				return err
			}
			var got struct {
				Result struct{ Session, Twice int }
			}
			if err := json.Unmarshal(r.body, &got); err != nil || r.status != http.StatusOK {
				return fmt.Errorf("%d: %s", r.status, r.body)
			}
			if got.Result.Session != session || got.Result.Twice != 2*n {
				return fmt.Errorf("execute %d of session %d got %s", n, session, r.body)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	testrig.Eventually(t, "a row for each request", func() bool { return i.rows(t, "execute") >= executes })
	if inits, runs := i.rows(t, "initialize"), i.rows(t, "execute"); inits != sessions || runs != executes {
		t.Errorf("%d rows of initialize and %d of execute", inits, runs)
	}
	for n, id := range ids {
		r := i.send(t, http.MethodGet, "/api/v1/sessions/"+id, "")
		var session struct {
			Count int `json:"execution_count"`
		}
		if err := json.Unmarshal(r.body, &session); err != nil || session.Count != executesEach {
			t.Fatalf("session %d: %s", n, r.body)
		}
	}
}

// rows counts an operation's request logs as an operator would: in the database.
func (i *installation) rows(t *testing.T, operation string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(i.dataDir, "envoke.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT count(*) FROM request_logs WHERE operation = ?", operation).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestConfigDoesNotGrowWithSessions compares Envoy's config dump with ten sessions
// and with ten thousand, each with a script of its own.
func TestConfigDoesNotGrowWithSessions(t *testing.T) {
	i := serve(t)
	i.initializeMany(t, 0, 10)
	few := i.configDump(t)
	i.initializeMany(t, 10, manySessions())
	many := i.configDump(t)
	if len(many) > len(few) {
		t.Errorf("the config dump has %d bytes with 10 sessions, %d with %d", len(few), len(many), manySessions())
	}
	if many != few {
		t.Error("the config changed")
	}
	t.Logf("the config dump has %d bytes", len(many))
}

func manySessions() int { return fewOrMany(1000, 10_000) }

// fewOrMany is many for make test-long.
func fewOrMany(few, many int) int {
	if os.Getenv("ENVOKE_TEST_LONG") != "" {
		return many
	}
	return few
}

func (i *installation) initializeMany(t *testing.T, from, to int) {
	t.Helper()
	var group errgroup.Group
	group.SetLimit(16)
	for n := from; n < to; n++ {
		group.Go(func() error {
			for try := 1; ; try++ { // a busy machine may say 503
				r, err := send(http.MethodPost, i.base+"/api/v1/initialize",
					fmt.Sprintf(`{"script_content":"return %d"}`, n), "Language-Title", fmt.Sprintf("nodejs-many-%d", n))
				switch {
				case err != nil || r.status == http.StatusOK:
					return err
				case r.status != http.StatusServiceUnavailable || try == 5:
					return fmt.Errorf("%d: %s", r.status, r.body)
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

var updated = regexp.MustCompile(`"last_updated": "[^"]*"`)

// configDump is the lines of Envoy's configuration without the times at which it
// came. They are sorted: Envoy lists resources in no order.
func (i *installation) configDump(t *testing.T) string {
	t.Helper()
	dump := updated.ReplaceAllString(i.adminOf(t, "/config_dump?include_eds"), "")
	lines := strings.Split(strings.ReplaceAll(dump, ",\n", "\n"), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestAnEndlessLoopHurtsNobodyElse measures what a caller sees: the loop is 504 soon
// after its deadline, another session answers meanwhile, and the next call works.
func TestAnEndlessLoopHurtsNobodyElse(t *testing.T) {
	const deadline = 2 * time.Second // a new worker starts within it on a busy machine too
	i := shared(t)
	loop := i.initializeWith(t, map[string]any{
		"script_content": "if (event.params.loop) for (;;); return 'fine'",
		"context":        map[string]any{"timeout_ms": deadline.Milliseconds()},
	})
	other := i.initialize(t, "return 'other'")
	if got := i.execute(t, other, "{}").result(t); got != `"other"` {
		t.Fatal(got)
	}
	ctx, stop := context.WithCancel(t.Context())
	neighbours := make(chan error, 1)
	go func() { neighbours <- i.keepCalling(ctx, other) }()
	started := time.Now()
	r := i.execute(t, loop, `{"loop":true}`)
	took := time.Since(started)
	r.isError(t, http.StatusGatewayTimeout, "TIMEOUT", "function")
	if took < deadline || took > 3*deadline {
		t.Errorf("a deadline of %v was answered after %v", deadline, took)
	}
	t.Logf("a deadline of %v was answered after %v", deadline, took)
	if got := i.execute(t, loop, "{}").result(t); got != `"fine"` {
		t.Errorf("the next call got %s", got)
	}
	stop()
	if err := <-neighbours; err != nil {
		t.Errorf("a neighbour noticed: %v", err)
	}
}

func (i *installation) keepCalling(ctx context.Context, id string) error {
	for ctx.Err() == nil {
		r, err := send(http.MethodPost, i.base+"/api/v1/execute/"+id, `{"params":{}}`)
		if err != nil {
			return err
		}
		if r.status != http.StatusOK {
			return fmt.Errorf("%d: %s", r.status, r.body)
		}
	}
	return nil
}
