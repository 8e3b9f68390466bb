package bench

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Kinds of changes.
const (
	newVersion = "new version"
	rollback   = "rollback"
	deletion   = "delete"
)

// changeKinds are those that each function goes through, in turns. A deleted one is registered
// again before its next. Of eleven five are versions, three each are rollbacks and deletes; a
// rollback follows a version.
func changeKinds() []string {
	return []string{
		newVersion, rollback, deletion, newVersion, rollback, deletion,
		newVersion, rollback, deletion, newVersion, newVersion,
	}
}

// Ways by which functions are asked, each through both Envoys.
const (
	// byHosts passes ext_proc by: hosts know themselves what a name stands for.
	byHosts = "runtime hosts"
	// byExtProcs may be answered from ext_proc's memory or Redis, and is too large for the
	// filter to keep.
	byExtProcs = "ext_proc"
	// byFilters may be answered by the filter.
	byFilters = "the filter"
)

// keptByNoFilter is longer than requests whose results the filter keeps, 8 KiB.
const keptByNoFilter = 9 << 10

// changing is a function that is changed again and again.
type changing struct {
	language, title string
	queries         []string // each leads to another of its hosts

	steps    int   // changes so far
	value    int64 // what it returns now; 0: it is deleted
	version  int
	previous struct { // of which a rollback makes the current one
		value   int64
		version int
	}
	watched sync.WaitGroup // by who waits for the filter's last old answer
}

// nextKind is that of the next change.
func (c *changing) nextKind() string { return changeKinds()[c.steps%len(changeKinds())] }

// definition is the function as one that returns the value.
func (c *changing) definition(value int64) []byte {
	d := map[string]any{"language": c.language, "title": c.title}
	switch c.language {
	case "python":
		d["script_content"] = fmt.Sprintf("result = %d", value)
	case "rust":
		d["script_content"] = base64.StdEncoding.EncodeToString(constantModule(value))
		d["compile_options"] = map[string]string{"target": "wasm32-wasip1"}
	default:
		d["script_content"] = fmt.Sprintf("return %d", value)
	}
	raw, _ := json.Marshal(d) // of strings: it cannot fail
	return raw
}

// changeRequest is a call by which a function is changed, and what its status must be.
type changeRequest struct {
	method, path string
	body         []byte
	status       int
}

// request changes the function; no kind registers it.
func (c *changing) request(kind string, value int64) changeRequest {
	path := "/api/v1/functions/" + c.language + "-" + c.title
	switch kind {
	case newVersion:
		return changeRequest{http.MethodPut, path, c.definition(value), http.StatusOK}
	case rollback:
		return changeRequest{http.MethodPost, path + "/rollback", fmt.Appendf(nil, `{"version":%d}`, c.previous.version), http.StatusOK}
	case deletion:
		return changeRequest{http.MethodDelete, path, nil, http.StatusNoContent}
	}
	return changeRequest{http.MethodPost, "/api/v1/functions", c.definition(value), http.StatusCreated}
}

// changed notes what a change has made of the function.
func (c *changing) changed(kind string, value int64, reply []byte) error {
	switch kind {
	case rollback:
		c.value, c.version, c.previous.value, c.previous.version = c.previous.value, c.previous.version, c.value, c.version
		return nil
	case deletion:
		c.value, c.version = 0, 0
		return nil
	}
	var made struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(reply, &made); err != nil || made.Version == 0 {
		return fmt.Errorf("no version in %.300s", reply)
	}
	c.previous.value, c.previous.version = c.value, c.version
	c.value, c.version = value, made.Version
	return nil
}

// newCall lays out a request.
func newCall(method, path string, body []byte) []byte {
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		method, path, len(body), body)
}

// ask is the request by a way, with a query that decides which host has it.
func (c *changing) ask(way, query string) []byte {
	endpoint := Endpoint{Path: "/runtime/" + c.language + "/" + c.title + query}
	body := `{"params":{}}`
	if way != byHosts {
		endpoint.Header = http.Header{"X-Cache-Control": {"max-age=60"}}
	}
	if way == byExtProcs {
		body = `{"params":{"pad":"` + strings.Repeat("x", keptByNoFilter) + `"}}`
	}
	return newRequest(endpoint, []byte(body))
}

// answer is what somebody was told: what the function returned, 0 where there is none of that
// name.
type answer struct {
	value int64
	by    string // who answered from a cache: byFilters, byExtProcs, or nobody
	at    time.Time
}

// askFor asks, and judges the reply.
func askFor(c *client, request []byte) (a answer, err error) {
	if err := c.send(request); err != nil {
		return a, err
	}
	status, body, err := c.read()
	if err != nil {
		return a, err
	}
	a.at = time.Now()
	if _, after, ok := bytes.Cut(c.header("Server-Timing"), []byte(`cache;desc="`)); ok {
		by, _, _ := bytes.Cut(after, []byte(`"`))
		a.by = map[string]string{"filter": byFilters, "ext_proc": byExtProcs}[string(by)]
	}
	if status == http.StatusNotFound {
		return a, nil
	}
	var reply struct {
		Result int64 `json:"result"`
	}
	if err := json.Unmarshal(body, &reply); err != nil || status != http.StatusOK || reply.Result == 0 {
		return a, fmt.Errorf("status %d: %.300s", status, body)
	}
	a.value = reply.Result
	return a, nil
}
