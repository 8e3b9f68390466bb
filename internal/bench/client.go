package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/valyala/fasthttp"
)

// maxReply bounds the body of a reply, in bytes.
const maxReply = 1 << 20

// Endpoint is where the requests of a case go.
type Endpoint struct {
	Network string // "tcp" or "unix"
	Address string
	Path    string
	Header  http.Header // beside Host, Content-Type and Content-Length
	// Of is what takes part in answering, by the names under which it was started.
	Of []string
	// Get asks by GET, with the operands in the query, in place of a body.
	Get bool
	// Cached asks one question again and again, whose reply has to come from a cache: a
	// header Age says so (RFC 9111, section 5.1).
	Cached bool
	// Fixed is the whole body of every reply of an endpoint that cannot add.
	Fixed string
	// Body is that of each request, with %d for a number of its own, where it is none of
	// params to be added; Holds is then what each reply must have in it.
	Body, Holds string
	// Unseen gives the members of a body that bring code nobody has seen before, anew
	// for each mark. Only cold cases have it.
	Unseen func(mark string) string
}

// client is one keep-alive HTTP/1.1 connection. It holds the connection itself
// rather than a fasthttp.HostClient: that one retries and pools behind one's
// back, and costs more of the CPU that the measured processes need.
type client struct {
	conn     io.ReadWriteCloser
	fd       int // of a waiting client's socket
	reader   *bufio.Reader
	response fasthttp.Response // the last reply, but for a simple one
	head     []byte            // headers of that
	stop     func() bool
}

// dial connects. When the context ends, so does a read or a write under way.
func dial(ctx context.Context, endpoint Endpoint) (*client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, endpoint.Network, endpoint.Address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", endpoint.Address, err)
	}
	return newClient(ctx, conn, -1, func() { _ = conn.Close() }), nil
}

func newClient(ctx context.Context, conn io.ReadWriteCloser, fd int, interrupt func()) *client {
	return &client{conn: conn, fd: fd, reader: bufio.NewReader(conn), stop: context.AfterFunc(ctx, interrupt)}
}

func (c *client) close() {
	c.stop()
	_ = c.conn.Close()
}

// roundTrip sends a whole request and reads its reply, whose body is valid until
// the next call. A status other than 200 and 201 is an error.
func (c *client) roundTrip(request []byte) ([]byte, error) {
	if err := c.send(request); err != nil {
		return nil, err
	}
	return c.receive()
}

func (c *client) send(request []byte) error {
	if _, err := c.conn.Write(request); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	return nil
}

// receive reads a reply as roundTrip does.
func (c *client) receive() ([]byte, error) {
	status, body, err := c.read()
	if err == nil && status != http.StatusOK && status != http.StatusCreated {
		err = fmt.Errorf("the reply has status %d: %.300s", status, body)
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

// read reads a reply of any status.
func (c *client) read() (status int, body []byte, err error) {
	if body, ok := c.readSimple(); ok {
		return http.StatusOK, body, nil
	}
	c.head = nil
	if err := c.response.ReadLimitBody(c.reader, maxReply); err != nil {
		return 0, nil, fmt.Errorf("read reply: %w", err)
	}
	return c.response.StatusCode(), c.response.Body(), nil
}

// header is a header's value in the last reply; empty: it has none.
func (c *client) header(name string) []byte {
	if c.head == nil {
		return c.response.Header.Peek(name)
	}
	return headerIn(c.head, name)
}

// fromCache tells whether the last reply came from a cache.
func (c *client) fromCache() bool { return len(c.header("Age")) > 0 }

// newGet lays out a GET of the endpoint with a query.
func newGet(endpoint Endpoint, query string) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "GET %s?%s HTTP/1.1\r\nHost: bench\r\n", endpoint.Path, query)
	_ = endpoint.Header.Write(&out) // a bytes.Buffer takes everything
	out.WriteString("\r\n")
	return out.Bytes()
}

// newRequest lays out a POST of a JSON body, ready to be sent as it is.
func newRequest(endpoint Endpoint, body []byte) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n", endpoint.Path)
	_ = endpoint.Header.Write(&out) // a bytes.Buffer takes everything
	fmt.Fprintf(&out, "Content-Length: %d\r\n\r\n", len(body))
	out.Write(body)
	return out.Bytes()
}

// Operands have a fixed number of digits, so that one is put into a request in
// place and requests of all cases have one length.
const (
	firstOperand = 100_000_000
	lastOperand  = 999_999_000
	secondAddend = 2
)

// question is a request {"params":{"a":<operand>,"b":2}}, or ?a=<operand>&b=2, that is
// sent again and again. Each asks for another sum, so that a reply which belongs to
// another request is seen to be wrong; only of a cached endpoint all ask for the same.
type question struct {
	request []byte
	digits  []byte // the operand, within request
	operand int64
	same    bool
	fixed   []byte // the whole reply, if it is always the same
	holds   []byte // what a reply has in it, if it is no sum
	want    []byte // "result":<sum>, as the reply has to hold it
}

// newQuestion lays out a question whose first operand is the one after first. The
// extra text, which may be empty, follows the params in the body.
func newQuestion(endpoint Endpoint, first int64, extra string) *question {
	if endpoint.Cached {
		first = firstOperand // on every connection
	}
	q := &question{operand: first, same: endpoint.Cached, fixed: []byte(endpoint.Fixed), holds: []byte(endpoint.Holds)}
	switch {
	case endpoint.Get:
		q.request = newGet(endpoint, fmt.Sprintf("a=%d&b=%d", first, secondAddend))
	case endpoint.Body != "":
		q.request = newRequest(endpoint, fmt.Appendf(nil, endpoint.Body, first))
	default:
		q.request = newRequest(endpoint, fmt.Appendf(nil, `{"params":{"a":%d,"b":%d}%s}`, first, secondAddend, extra))
	}
	at := bytes.LastIndex(q.request, strconv.AppendInt(nil, first, 10))
	q.digits = q.request[at : at : at+len("100000000")]
	return q
}

// ask sends the next request and checks its reply.
func (q *question) ask(c *client) error {
	q.next()
	return q.check(c.roundTrip(q.request))
}

func (q *question) next() {
	if q.same {
		return
	}
	if q.operand++; q.operand > lastOperand {
		q.operand = firstOperand
	}
	strconv.AppendInt(q.digits, q.operand, 10)
}

// check judges what a round trip returned.
func (q *question) check(body []byte, err error) error {
	if err != nil {
		return err
	}
	if len(q.fixed) > 0 {
		if !bytes.Equal(body, q.fixed) {
			return fmt.Errorf("wrong answer: want %s, got %.300s", q.fixed, body)
		}
		return nil
	}
	if len(q.holds) > 0 {
		if !bytes.Contains(body, q.holds) {
			return fmt.Errorf("wrong answer: want one with %s, got %.300s", q.holds, body)
		}
		return nil
	}
	q.want = strconv.AppendInt(append(q.want[:0], `"result":`...), q.operand+secondAddend, 10)
	_, after, found := bytes.Cut(body, q.want)
	whole := bytes.HasPrefix(body, []byte("{")) && bytes.HasSuffix(body, []byte("}"))
	if !found || !whole || after[0] != ',' && after[0] != '}' {
		return fmt.Errorf("wrong answer: want an object with %s, got %.300s", q.want, body)
	}
	return nil
}
