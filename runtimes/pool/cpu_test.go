package pool

import (
	"testing"
	"time"

	"envoke/internal/faas"
)

// A call that computes for too long is ended; one that waits, and short ones in a row, are
// not.
func TestCPUOfOneCall(t *testing.T) {
	for _, runtime := range []Runtime{JavaScript(t), Python(t)} {
		t.Run(string(runtime.Language), func(t *testing.T) {
			p := serve(t, Options{Runtime: runtime, Idle: 1})
			source := `if (params === 'wait') await new Promise(done => setTimeout(done, 1500));
				else for (const end = Date.now() + params; Date.now() < end;);
				return 'done'`
			if runtime.Language == faas.Python {
				source = "import time\nif params == 'wait': time.sleep(1.5)\nelse:\n  end = time.time() + params / 1000\n  while time.time() < end: pass\nresult = 'done'"
			}
			work := Work{Script: faas.NewScript(runtime.Language, source, nil), Owner: "o", CPU: 700 * time.Millisecond}
			call := func(params string) (Result, error) {
				return p.Invoke(t.Context(), work, within(20*time.Second, Invocation{Params: []byte(params)}))
			}
			for _, params := range []string{`"wait"`, "200", "200", "200", "200", "200"} {
				if result, err := call(params); err != nil || string(result.JSON) != `"done"` {
					t.Errorf("%s: %s, %v", params, result.JSON, err)
				}
			}
			_, err := call("15000")
			if e := faas.AsError(err); e.Code != faas.ResourceExhausted || e.Details["limit"] != "cpu" || e.Details["allowed_ms"] != int64(700) {
				t.Errorf("%v %v", err, e.Details)
			}
			if _, err := call("1"); err != nil {
				t.Errorf("after it: %v", err)
			}
		})
	}
}
