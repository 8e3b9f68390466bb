package bench

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRead: what is read at once and what the library reads are one stream of replies.
func TestRead(t *testing.T) {
	type reply struct {
		Status    int
		Body, Age string
	}
	const simple = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nage: 1\r\ncontent-length: 2\r\n\r\nab"
	for name, test := range map[string]struct {
		stream string
		want   []reply
	}{
		"one":            {simple, []reply{{200, "ab", "1"}}},
		"two together":   {simple + simple, []reply{{200, "ab", "1"}, {200, "ab", "1"}}},
		"no body":        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + simple, []reply{{200, "", ""}, {200, "ab", "1"}}},
		"chunks":         {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n" + simple, []reply{{200, "ab", ""}, {200, "ab", "1"}}},
		"another status": {"HTTP/1.1 429 Too Many\r\ncontent-length: 1\r\n\r\nx" + simple, []reply{{429, "x", ""}, {200, "ab", "1"}}},
		"created":        {"HTTP/1.1 201 Created\r\nAGE:  7\r\ncontent-length: 1\r\n\r\nx", []reply{{201, "x", "7"}}},
		"long":           {"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + strings.Repeat("x", 100_000) + simple, []reply{{200, strings.Repeat("x", 100_000), ""}, {200, "ab", "1"}}},
		"a name within":  {"HTTP/1.1 200 OK\r\nx-age: 9\r\nx: age: 9\r\ncontent-length: 0\r\n\r\n", []reply{{200, "", ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &client{reader: bufio.NewReader(strings.NewReader(test.stream))}
			for i, want := range test.want {
				status, body, err := c.read()
				if err != nil {
					t.Fatalf("reply %d: %v", i, err)
				}
				if diff := cmp.Diff(want, reply{status, string(body), string(c.header("Age"))}); diff != "" {
					t.Errorf("reply %d (-want +got):\n%s", i, diff)
				}
			}
			if rest, _ := io.ReadAll(c.reader); len(rest) > 0 {
				t.Errorf("%q is left", rest)
			}
		})
	}
}

// TestReadCutOff: a reply that ends too early is an error.
func TestReadCutOff(t *testing.T) {
	for _, stream := range []string{"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab"} {
		c := &client{reader: bufio.NewReader(strings.NewReader(stream))}
		if status, body, err := c.read(); err == nil {
			t.Errorf("%q: %d %q", stream, status, body)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	stream := "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\nserver-timing: cache;desc=\"filter\"\r\nage: 0\r\n" +
		"x-request-id: 0a1b2c3d-0000-4110-8000-000000000000\r\ndate: Mon, 30 Nov 2026 22:00:00 GMT\r\nserver: envoke\r\n\r\n{\"sum\":100000002}"
	source := strings.NewReader(stream)
	c := &client{reader: bufio.NewReader(source)}
	for b.Loop() {
		source.Reset(stream)
		if status, _, err := c.read(); err != nil || status != http.StatusOK {
			b.Fatal(status, err)
		}
	}
}
