package testrig

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// part is what our entries of a Server-Timing header look like.
var part = regexp.MustCompile(`^([a-z]+);dur=([0-9]+\.[0-9]{3})$`)

// ServerTiming reads the last value of a Server-Timing header, which is ours: the names
// of its parts in their order, and the sum of their times.
func ServerTiming(t testing.TB, h http.Header) (names string, sum time.Duration) {
	t.Helper()
	values := h.Values("Server-Timing")
	if len(values) == 0 {
		t.Fatalf("there is no Server-Timing: %v", h)
	}
	var all []string
	for text := range strings.SplitSeq(values[len(values)-1], ", ") {
		match := part.FindStringSubmatch(text)
		if match == nil {
			t.Fatalf("Server-Timing has %q", text)
		}
		milliseconds, err := strconv.ParseFloat(match[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, match[1])
		sum += time.Duration(milliseconds * float64(time.Millisecond))
	}
	return strings.Join(all, " "), sum
}
