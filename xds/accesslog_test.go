package xds

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"envoke/internal/envoytest"
	"envoke/internal/faas"
	"envoke/internal/testrig"
)

// maxLogLine is what a line may have whatever a client sends: each byte of its text
// may take six as an escape.
const maxLogLine = 6*(1024+3*256) + 1024

// TestAccessLog sees one line of the agreed keys per request.
func TestAccessLog(t *testing.T) {
	s := newStack(t, nil)
	id := string(faas.NewSessionKey().NewID(faas.NodeJS, true))
	s.do("POST", executePath+"/"+id+"?secret=1", `{"params":1}`, "X-Request-ID", "one")
	s.do("POST", initializePath, "{}", "Language-Title", "session "+id)
	envoytest.Raw(t, s.Addr, "not HTTP\r\n\r\n")
	s.do("GET", "/nowhere", "")

	lines := s.logLines(4)
	want := []string{
		"bytes_in", "bytes_out", "client_ip", "details", "duration_us", "flags", "function", "language_title", "method",
		"namespace", "path", "request_id", "route", "session", "start", "status", "user_id",
	}
	for _, line := range lines {
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(line))); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
		start, err := strconv.ParseFloat(line["start"].(string), 64)
		if age := time.Since(time.UnixMicro(int64(start * 1e6))); err != nil || age < 0 || age > time.Minute {
			t.Errorf("start %v: %v", line["start"], err)
		}
		if line["request_id"] == nil || line["status"].(float64) < 200 || line["duration_us"].(float64) <= 0 {
			t.Errorf("line %v", line)
		}
	}
	first := map[string]any{}
	for _, key := range []string{"request_id", "route", "method", "namespace", "path", "status", "client_ip", "bytes_in", "user_id"} {
		first[key] = lines[0][key]
	}
	if diff := cmp.Diff(map[string]any{
		"request_id": "one", "route": "execute-plain-nodejs", "method": "POST", "namespace": nil, "path": executePath + "/" + id,
		"status": 200.0, "client_ip": "127.0.0.1", "bytes_in": 12.0, "user_id": nil,
	}, first); diff != "" {
		t.Errorf("plain execute (-want +got):\n%s", diff)
	}
	if lines[1]["session"] != id || lines[1]["route"] != "initialize" {
		t.Errorf("initialize: %v", lines[1])
	}
	if lines[2]["status"] != 400.0 || lines[3]["details"] != "route_not_found" {
		t.Errorf("failures: %v, %v", lines[2], lines[3])
	}
}

// TestAccessLogHostile sends what could break a line.
func TestAccessLogHostile(t *testing.T) {
	s := newStack(t, nil)
	hostile := []string{`"},{"status":"1`, `\`, "\xff\xfe\x80", "\t", "é\u2028", strings.Repeat("\x80", 10<<10)}
	for _, text := range hostile {
		path := executePath + "/" + strings.Map(printable, text)
		reply := envoytest.Raw(t, s.Addr, "POST "+path+" HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"+
			"X-Request-ID: "+text+"\r\nLanguage-Title: "+text+"\r\n\r\n")
		if reply.Status != http.StatusOK && reply.Status != http.StatusBadRequest {
			t.Errorf("%.40q: %d %s", text, reply.Status, reply.Body)
		}
	}
	s.logLines(len(hostile))
}

func printable(r rune) rune {
	if r <= ' ' || r == '\\' || r > '~' {
		return 'x'
	}
	return r
}

// logLines waits for n lines, which must all be JSON and short.
func (s *stack) logLines(n int) (lines []map[string]any) {
	s.t.Helper()
	var raw []byte
	testrig.Eventually(s.t, "the access log has its lines", func() bool {
		raw, _ = os.ReadFile(s.state.AccessLog)
		return strings.Count(string(raw), "\n") >= n
	})
	for text := range strings.Lines(string(raw)) {
		line := map[string]any{}
		if err := json.Unmarshal([]byte(text), &line); err != nil || len(text) > maxLogLine {
			s.t.Errorf("line of %d bytes: %v: %.300q", len(text), err, text)
		}
		lines = append(lines, line)
	}
	if len(lines) != n {
		s.t.Fatalf("%d lines, want %d", len(lines), n)
	}
	return lines
}
