package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"envoke/internal/client"
)

// TestAllChanges: what is changed while pages are read is no reason to show a change twice.
func TestAllChanges(t *testing.T) {
	newest, asked := int64(250), 0
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) bool {
		page := client.ChangePage{Total: int(newest), Page: 1, PerPage: mostAll}
		asked++
		first := newest - int64(mostAll*(asked-1))
		for number := first; number > max(0, first-mostAll); number-- {
			page.Entries = append(page.Entries, client.Change{Number: number, Target: fmt.Sprint(number)})
		}
		newest += 3 // changes were made meanwhile
		return json.NewEncoder(w).Encode(page) == nil
	})
	got := run(t, server.URL, "", "audit", "--all", "--since", "24h", "-o", "json")
	var all client.ChangePage
	if err := json.Unmarshal([]byte(got.stdout), &all); err != nil || got.err != nil {
		t.Fatal(err, got.err)
	}
	var want []int64
	for number := int64(250); number > 0; number-- {
		want = append(want, number)
	}
	var numbers []int64
	for _, e := range all.Entries {
		numbers = append(numbers, e.Number)
	}
	if !slices.Equal(numbers, want) {
		t.Errorf("it shows %v", numbers)
	}
	_, since, _ := strings.Cut(server.requests[0], "since=")
	since, _, _ = strings.Cut(since, " ")
	at, err := time.Parse(time.RFC3339Nano, strings.ReplaceAll(since, "%3A", ":"))
	if ago := time.Since(at); err != nil || ago < 24*time.Hour || ago > 25*time.Hour {
		t.Errorf("it asks for changes since %s: %v", since, err)
	}
}
