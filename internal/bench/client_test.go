package bench

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNewRequest(t *testing.T) {
	endpoint := Endpoint{Path: "/x", Header: http.Header{"Language-Title": {"nodejs-a"}}}
	want := "POST /x HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n" +
		"Language-Title: nodejs-a\r\nContent-Length: 2\r\n\r\n{}"
	if diff := cmp.Diff(want, string(newRequest(endpoint, []byte("{}")))); diff != "" {
		t.Error(diff)
	}
}

func TestQuestionByGet(t *testing.T) {
	q := newQuestion(Endpoint{Path: "/f", Get: true}, firstOperand, "")
	q.next()
	want := "GET /f?a=100000001&b=2 HTTP/1.1\r\nHost: bench\r\n\r\n"
	if diff := cmp.Diff(want, string(q.request)); diff != "" {
		t.Error(diff)
	}
	if err := q.check([]byte(`{"result":100000003}`), nil); err != nil {
		t.Error(err)
	}
}

func TestQuestionChecksTheAnswer(t *testing.T) {
	for _, test := range []struct {
		name, fixed, body string
		wrong             bool
	}{
		{name: "alone", body: `{"result":100000002}`},
		{name: "among other fields", body: `{"cached":false,"result":100000002,"request_id":"x"}`},
		{name: "fixed", fixed: `{"result":3}`, body: `{"result":3}`},
		{name: "another fixed", fixed: `{"result":3}`, body: `{"result":3 }`, wrong: true},
		{name: "empty", body: ``, wrong: true},
		{name: "another sum", body: `{"result":100000003}`, wrong: true},
		{name: "a longer number", body: `{"result":1000000021}`, wrong: true},
		{name: "a fraction", body: `{"result":100000002.5}`, wrong: true},
		{name: "cut off", body: `{"result":100000002`, wrong: true},
		{name: "an error", body: `{"error":{"code":"TIMEOUT"}}`, wrong: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := newQuestion(Endpoint{Fixed: test.fixed}, firstOperand, "")
			if err := q.check([]byte(test.body), nil); (err != nil) != test.wrong {
				t.Errorf("error %v, wrong answer %t", err, test.wrong)
			}
		})
	}
}

func TestQuestionsDifferInOneOperand(t *testing.T) {
	q := newQuestion(Endpoint{Path: "/x"}, lastOperand-1, `,"script_content":"c"`)
	body := func() string {
		q.next()
		_, body, _ := strings.Cut(string(q.request), "\r\n\r\n")
		return body
	}
	want := []string{
		`{"params":{"a":999999000,"b":2},"script_content":"c"}`,
		`{"params":{"a":100000000,"b":2},"script_content":"c"}`,
		`{"params":{"a":100000001,"b":2},"script_content":"c"}`,
	}
	if diff := cmp.Diff(want, []string{body(), body(), body()}); diff != "" {
		t.Error(diff)
	}
}
