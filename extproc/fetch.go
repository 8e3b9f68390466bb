package extproc

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"envoke/internal/faas"
	"envoke/internal/resultcache"
)

// fetch is the way of one request whose result may be cached: an answer from the
// cache, or the function's own, which is kept for the next.
type fetch struct {
	exchange *exchange
	caching  caching
	inFilter bool // the filter is in front and keeps results too

	flight *resultcache.Flight // ours to end; nil: others', or none
	entry  *resultcache.Entry  // the response, as far as it came
}

// requestHeaders asks the cache where the headers are the whole key, and otherwise
// for the body. Without a cache the request would pass as p says.
func (f *fetch) requestHeaders(ctx context.Context, p pass, whole bool) *extprocv3.ProcessingResponse {
	r := f.exchange.request
	call, known := r.filterDigest()
	f.inFilter = known
	switch {
	case known:
	case r.callKey != "":
		return f.bypass(p)
	case whole:
		call = r.callDigest(nil)
	case !f.caching.envelope, // plain HTTP has no body that counts
		r.contentLength < 0, r.contentLength > faas.MaxCachedBody:
		return f.bypass(p)
	default:
		return watch(p, bufferedBody)
	}
	if answer := f.ask(ctx, call); answer != nil {
		return answer
	}
	return watch(p, noBody)
}

// requestBody asks the cache with the body.
func (f *fetch) requestBody(ctx context.Context, m *extprocv3.HttpBody) *extprocv3.ProcessingResponse {
	if !m.GetEndOfStream() {
		f.exchange.server.metrics.cache.bypassed.Inc()
		return bodyPasses
	}
	if answer := f.ask(ctx, f.exchange.request.callDigest(m.GetBody())); answer != nil {
		return answer
	}
	return bodyPasses
}

func (f *fetch) bypass(p pass) *extprocv3.ProcessingResponse {
	f.exchange.server.metrics.cache.bypassed.Inc()
	f.exchange.fetch = nil
	return p.answer()
}

// ask returns the answer from the cache, or nil: the function is to be run.
func (f *fetch) ask(ctx context.Context, call faas.CallDigest) *extprocv3.ProcessingResponse {
	s, key := f.exchange.server, f.caching.key(call)
	for {
		entry, flight, first := s.cache.Ask(key, f.caching.limits)
		switch {
		case entry != nil:
			s.metrics.cache.hits.Inc()
			return f.hit(entry)
		case first:
			return f.lead(ctx, flight)
		}
		entry, outcome := f.wait(ctx, flight)
		switch {
		case outcome == resultcache.Landed:
			s.metrics.cache.waited.Inc()
			return f.hit(entry)
		case outcome == resultcache.Alone || ctx.Err() != nil:
			s.metrics.cache.misses.Inc()
			return nil
		}
	}
}

// lead makes the flight ours, unless replicas share what it is to bring.
func (f *fetch) lead(ctx context.Context, flight *resultcache.Flight) *extprocv3.ProcessingResponse {
	f.flight = flight
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	if entry := flight.FindShared(ctx, f.caching.limits); entry != nil {
		f.exchange.server.metrics.cache.hits.Inc()
		return f.hit(entry)
	}
	f.exchange.server.metrics.cache.misses.Inc()
	return nil
}

// wait waits for the call of another request as long as a call may take, for which
// Envoy must be asked. What does not come in time is no result for us.
func (f *fetch) wait(ctx context.Context, flight *resultcache.Flight) (*resultcache.Entry, resultcache.Outcome) {
	longest := f.exchange.server.longest
	if err := f.exchange.stream.Send(moreTime(longest + time.Second)); err != nil {
		return nil, resultcache.Alone
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	entry, outcome, err := flight.Wait(ctx)
	if err != nil {
		return nil, resultcache.Alone
	}
	return entry, outcome
}

// hit answers with an entry. The filter is told how long it may answer with it itself.
// Without one, all answers within a second of the entry's age are the same, and are made
// once: two thirds of what a hit allocates.
func (f *fetch) hit(entry *resultcache.Entry) *extprocv3.ProcessingResponse {
	now := time.Now()
	age := entry.Age(now)
	if f.inFilter {
		return replayOf(entry, age, appended(f.keep(now.Sub(entry.Made))))
	}
	made := entry.Reply.Load()
	if made == nil || made.Age != age {
		made = &resultcache.Reply{Age: age, Message: replayOf(entry, age)}
		entry.Reply.Store(made)
	}
	f.exchange.made = made
	return made.Message.(*extprocv3.ProcessingResponse)
}

// keep tells the filter for how many more milliseconds an answer of that age may be
// given to callers who ask the same, and how many it is old: an Age has seconds only.
func (f *fetch) keep(age time.Duration) header {
	value := make([]byte, 0, len("86400000,86400000"))
	value = strconv.AppendInt(value, max((f.caching.limits.MaxAge-age).Milliseconds(), 0), 10)
	value = strconv.AppendInt(append(value, ','), max(age.Milliseconds(), 0), 10)
	return header{keepHeader, string(value)}
}

// responseHeaders keeps a response that its host says may be kept; its body is then
// wanted too, where it is not too large.
func (f *fetch) responseHeaders(ctx context.Context, m *extprocv3.HttpHeaders) *extprocv3.ProcessingResponse {
	if f.flight == nil {
		return responsePasses()
	}
	entry, length := readResponse(m.GetHeaders())
	switch {
	case entry != nil && m.GetEndOfStream():
		f.land(ctx, entry)
		return f.responseKept(noBody)
	case entry == nil || length < 0 || length > faas.MaxCachedResult:
		f.leave(true)
		return responsePasses()
	}
	f.entry = entry
	return f.responseKept(bufferedBody)
}

func (f *fetch) responseKept(body bodyMode) *extprocv3.ProcessingResponse {
	if f.inFilter {
		return watchResponse(body, f.keep(0))
	}
	return watchResponse(body)
}

// responseBody keeps the response.
func (f *fetch) responseBody(ctx context.Context, m *extprocv3.HttpBody) *extprocv3.ProcessingResponse {
	switch {
	case f.entry == nil:
	case !m.GetEndOfStream():
		f.leave(true)
	default:
		f.entry.Body = m.GetBody()
		f.land(ctx, f.entry)
	}
	return responseBodyPasses
}

// land gives the response to all who wait, if it can be told to be a cached one.
func (f *fetch) land(ctx context.Context, entry *resultcache.Entry) {
	f.entry = nil
	entry.Made, entry.Life = time.Now(), f.caching.limits.MaxAge+f.caching.limits.Stale
	if f.caching.envelope {
		body, ok := bytes.CutSuffix(entry.Body, []byte(`"cached":false}`))
		if !ok {
			f.leave(true)
			return
		}
		entry.Body = append(bytes.Clone(body), `"cached":true}`...)
	}
	f.flight.Land(ctx, entry)
	f.flight = nil
}

// leave ends our flight without a result. Alone: there was one, and it is not for others.
func (f *fetch) leave(alone bool) {
	f.entry = nil
	if f.flight != nil {
		f.flight.Leave(alone)
		f.flight = nil
	}
}

// readResponse reads what a host says of a response that others may have, and how long
// its body is, -1 where it is not announced; nil: nobody else may have it.
func readResponse(headers *corev3.HeaderMap) (entry *resultcache.Entry, length int64) {
	entry, length = &resultcache.Entry{}, -1
	cacheable := ""
	for _, h := range headers.GetHeaders() {
		switch h.GetKey() {
		case ":status":
			entry.Status, _ = strconv.Atoi(valueOf(h))
		case "content-length":
			length = lengthOf(h)
		case cacheableHeader:
			cacheable = valueOf(h)
		}
	}
	var pairs [][2]string
	if json.Unmarshal([]byte(cacheable), &pairs) != nil || entry.Status < 200 || entry.Status > 399 {
		return nil, length
	}
	for _, pair := range pairs {
		entry.Headers = append(entry.Headers, resultcache.Header{Name: pair[0], Value: pair[1]})
	}
	return entry, length
}
