package main

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"envoke/internal/testrig"
	"envoke/runtimes/runtimepb"
)

// TestOutputAcrossProcesses: where the parts are processes of their own, a function's
// output is with its host, in its log and by GetLogs, and the requests are with control.
// docs/cli.md says so.
func TestOutputAcrossProcesses(t *testing.T) {
	const request, text = "across-processes-1", "said by a function"
	p := startParts(t)
	id := p.initialize(t, "console.log('"+text+"'); return 1")
	p.must(t, 200, http.MethodPost, "/api/v1/execute/"+id, "{}", "X-Request-ID", request)

	host := p.hosts["nodejs"]
	testrig.Eventually(t, "the output in the host's log", func() bool {
		return regexp.MustCompile(`function output" request_id=` + request + ` .*` + text).MatchString(host.stderr.String())
	})
	lines, err := runtimepb.NewRuntimeServiceClient(p.private(t)).GetLogs(t.Context(), &runtimepb.GetLogsRequest{RequestId: request})
	if err != nil || lines.GetTotalCount() != 1 || !strings.Contains(lines.GetLogs(), text) {
		t.Errorf("GetLogs: %v, %v", lines, err)
	}

	logsOf := func(part *process) said {
		url := regexp.MustCompile(`\(operators: (\S+)\)`).FindStringSubmatch(part.stdout.String())
		return p.cli(t, "", "logs", "--operators", url[1], "--request-id", request)
	}
	var rows said
	testrig.Eventually(t, "the request at control", func() bool {
		rows = logsOf(p.control)
		return strings.Contains(rows.stdout, request)
	})
	if strings.Contains(rows.stdout, text) || strings.Contains(p.control.stderr.String(), text) {
		t.Errorf("control has the output, which the documents deny:\n%s", rows.stdout)
	}
	if got := logsOf(host); got.code == 0 || !strings.Contains(got.stderr, "has no logs") {
		t.Errorf("the host's operators' port: %+v", got)
	}
}
