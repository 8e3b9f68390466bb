package accesslog

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"envoke/internal/faas"
)

// SampleLines are lines as Envoy writes them of executes of the sessions, in turns, for whoever
// measures how fast a log is stored: write them to a file of SampleName, and CatchUp.
func SampleLines(n int, sessions []faas.SessionID) []byte {
	var text []byte
	start := time.Now()
	for i := range n {
		at, id := start.Add(time.Duration(i)*time.Microsecond), sessions[i%len(sessions)]
		text = fmt.Appendf(text, `{"bytes_in":30,"bytes_out":180,"client_ip":"127.0.0.1","details":"via_upstream","duration_us":%d,"flags":"-","language_title":null,`+
			`"method":"POST","path":"/api/v1/execute/%s","request_id":"0a1b2c3d-0000-4000-8000-%012x","route":"execute-plain-nodejs","session":null,`+
			`"start":"%d.%06d","status":200,"user_id":null}`+"\n", 500+i%1000, id, i, at.Unix(), at.Nanosecond()/1000)
	}
	return text
}

// SampleName is the name of the n-th file of the log at path.
func SampleName(path string, n int) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf("%s.%d", filepath.Base(path), n))
}

// CatchUp stores the log as far as it is written. Serve must not be running.
func (t *Tail) CatchUp(ctx context.Context) error { return t.look(ctx) }

// Close ends what CatchUp has begun; Serve does so itself.
func (t *Tail) Close() { t.close() }
