package logs

import (
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFind(t *testing.T) {
	now := time.Now()
	var output Output
	for i, level := range []string{"DEBUG", "INFO", "WARN", "ERROR"} {
		output.Add(Line{RequestID: "a", Owner: "session:s", Time: now.Add(time.Duration(i) * time.Minute), Level: level, Text: fmt.Sprint(i)})
	}
	output.Add(Line{RequestID: "b", Owner: "function:u", Time: now, Level: "INFO", Text: "4"})
	for _, tt := range []struct {
		name  string
		query OutputQuery
		want  string // texts
		total int
	}{
		{"all", OutputQuery{Limit: 9}, "1 2 3 4", 4},
		{"debug too", OutputQuery{Level: slog.Level(math.MinInt), Limit: 9}, "0 1 2 3 4", 5},
		{"of an invocation", OutputQuery{ID: "b", Limit: 9}, "4", 1},
		{"of a session", OutputQuery{ID: "s", Limit: 9}, "1 2 3", 3},
		{"not of an owner's name", OutputQuery{ID: "session:s", Limit: 9}, "", 0},
		{"since", OutputQuery{Since: now.Add(2 * time.Minute), Limit: 9}, "2 3", 2},
		{"a page", OutputQuery{Offset: 1, Limit: 2}, "2 3", 4},
		{"beyond", OutputQuery{Offset: 4, Limit: 2}, "", 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			page, total := output.Find(tt.query)
			var got []string
			for _, line := range page {
				got = append(got, line.Text)
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" || total != tt.total {
				t.Errorf("%d in all (-want +got)\n%s", total, diff)
			}
		})
	}
}
