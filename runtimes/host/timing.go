package host

import (
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// startHeader tells when the request's first byte came to Envoy, in microseconds
	// since 1970. Envoy strips the header from what callers send.
	startHeader = "X-Envoke-Start"
	// timingHeader tells the caller where the time went (W3C Server Timing).
	timingHeader = "Server-Timing"
	// maxProxy is more than Envoy takes to bring a request here: a longer time, and one
	// less than nothing, are those of another machine's clock.
	maxProxy = time.Minute
)

// timing is where the time of one request goes. What is in none of its parts is the
// host's.
type timing struct {
	arrived time.Time
	last    time.Time // when the last stage ended; arrived: none has

	load            time.Duration // making a session
	queue, function time.Duration
	made, invoked   bool // load, and queue and function, mean something
}

// newTiming begins with a request that has just arrived.
func newTiming(arrived time.Time) timing { return timing{arrived: arrived, last: arrived} }

// timingOf is the timing of the request.
func timingOf(c *fasthttp.RequestCtx) *timing { return &c.Conn().(*conn).timing }

// lap ends a stage.
func (t *timing) lap(s stage) time.Duration {
	now := time.Now()
	took := now.Sub(t.last)
	t.last = now
	s.seconds.Observe(took.Seconds())
	return took
}

// loaded ends the making of a session.
func (t *timing) loaded(s stage) { t.load, t.made = t.lap(s), true }

// announce adds the header to the reply, unless there was nothing to time. A function
// may have one of its own.
func (t *timing) announce(c *fasthttp.RequestCtx) {
	if t.last.Equal(t.arrived) {
		return
	}
	b := c.Conn().(*conn).header[:0]
	if start := c.Request.Header.Peek(startHeader); len(start) > 0 {
		if proxy := t.proxy(start); proxy >= 0 {
			b = appendPart(b, "proxy", proxy)
		}
	}
	b = appendPart(b, "host", t.last.Sub(t.arrived)-t.load-t.queue-t.function)
	if t.made {
		b = appendPart(b, "load", t.load)
	}
	if t.invoked {
		b = appendPart(b, "queue", t.queue)
		b = appendPart(b, "function", t.function)
	}
	c.Response.Header.AddBytesV(timingHeader, b)
	c.Conn().(*conn).header = b
}

// proxy is what went by between Envoy's first byte of the request and its arrival here;
// negative: it is not known.
func (t *timing) proxy(start []byte) time.Duration {
	began, err := strconv.ParseInt(string(start), 10, 64)
	microseconds := t.arrived.UnixMicro() - began
	if err != nil || microseconds < 0 || microseconds > maxProxy.Microseconds() {
		return -1
	}
	return time.Duration(microseconds) * time.Microsecond
}

func appendPart(b []byte, name string, took time.Duration) []byte {
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	b = append(append(b, name...), ";dur="...)
	return appendMilliseconds(b, took)
}

// appendMilliseconds appends them with three decimals.
func appendMilliseconds(b []byte, d time.Duration) []byte {
	microseconds := d.Round(time.Microsecond).Microseconds()
	b = strconv.AppendInt(b, microseconds/1000, 10)
	point := len(b)
	b = strconv.AppendInt(b, 1000+microseconds%1000, 10)
	b[point] = '.' // in place of the 1
	return b
}
