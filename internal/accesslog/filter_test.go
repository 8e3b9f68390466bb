package accesslog

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// What the filter failed is counted, and told of once it is stored.
func TestFilterFailed(t *testing.T) {
	r := newRig(t)
	var told []int64
	r.options.FilterFailed = func(began time.Time) { told = append(told, began.Unix()) }
	tail := r.start()
	write := func(start int64, status int, details, flags string) {
		r.envoy.write(fmt.Sprintf(`{"start":"%d.000001","status":%d,"details":%q,"flags":%q}`+"\n", start, status, details, flags))
	}
	write(1, 200, "via_upstream", "-")
	write(2, 503, "no_healthy_upstream", "UH")
	write(3, 200, "envoke_filter", "-")
	r.look(tail)
	if told != nil {
		t.Errorf("told of %v, and nothing failed", told)
	}
	write(5, 503, "wasm_fail_stream", "-")
	write(4, 503, "wasm_fail_stream", "DC")
	write(6, 200, "via_upstream", "-")
	away := &awayStore{Store: r.store}
	tail.Store = away
	if err := tail.look(t.Context()); err == nil || told != nil {
		t.Errorf("told of %v while the store is away (error %v)", told, err)
	}
	tail.Store = r.store
	r.look(tail)
	r.look(tail)
	if want := []int64{5}; !slices.Equal(told, want) {
		t.Errorf("told of %v, want %v", told, want)
	}
	if got := r.metric("envoke_filter_failures_total"); got != 2 {
		t.Errorf("%v failures are counted, want 2", got)
	}
}
