//go:build !wasip1

package host

// The calls of calls_wasip1.go, answered by the fake.

// States of a call, beside ok.
const (
	notFound    status = 1
	badArgument status = 2
	casMismatch status = 8
)

// give does what Envoy does with an answer.
func give(value string, found bool) status {
	if !found {
		return notFound
	}
	if value != "" {
		allocate(uint32(len(value)))
		copy(given, value)
	}
	return ok
}

func proxyLog(_ Level, message string) status {
	fake.Log = append(fake.Log, message)
	return ok
}

func proxyGetCurrentTimeNanoseconds(nanoseconds *uint64) status {
	*nanoseconds = uint64(fake.Time.UnixNano())
	return ok
}

func proxyGetHeaderMapValue(m headerMap, name string, _, _ *uint32) status {
	value, found := fake.message(m).header(name)
	return give(value, found)
}

func proxyGetHeaderMapPairs(m headerMap, _, _ *uint32) status {
	return give(string(fake.message(m).pairs()), true)
}

func proxyAddHeaderMapValue(m headerMap, name, value string) status {
	fake.message(m).add(name, value)
	return ok
}

func proxyReplaceHeaderMapValue(m headerMap, name, value string) status {
	fake.message(m).remove(name)
	fake.message(m).add(name, value)
	return ok
}

func proxyRemoveHeaderMapValue(m headerMap, name string) status {
	fake.message(m).remove(name)
	return ok
}

func proxyGetBufferBytes(b buffer, start, most uint32, _, _ *uint32) status { //nolint:revive // Envoy's arguments
	value := fake.buffer(b)
	value = value[min(int(start), len(value)):]
	return give(string(value[:min(int(most), len(value))]), true)
}

func proxySendLocalResponse(httpStatus uint32, details, body, headers string, _ int32) status { //nolint:revive // Envoy's arguments
	fake.Local = &LocalResponse{Status: int(httpStatus), Details: details, Body: body}
	for c := Pairs(headers).Cursor(); c.Next(); {
		fake.Local.Headers = append(fake.Local.Headers, [2]string{string(c.Name), string(c.Value)})
	}
	return ok
}

func proxyGetSharedData(key string, _, _, version *uint32) status {
	shared, found := fake.Shared[key]
	*version = shared.Version
	return give(shared.Value, found)
}

func proxySetSharedData(key, value string, version uint32) status {
	now := fake.Shared[key].Version
	if version != 0 && now != 0 && version != now {
		return casMismatch
	}
	set(&fake.Shared, key, Shared{value, now + 1})
	return ok
}

func proxyGetProperty(path string, _, _ *uint32) status {
	value, found := fake.Properties[path]
	return give(value, found)
}

func proxySetProperty(path, value string) status {
	set(&fake.Properties, path, value)
	return ok
}

func proxyDefineMetric(_ uint32, name string, id *uint32) status {
	*id = uint32(len(fake.counters))
	fake.counters = append(fake.counters, name)
	return ok
}

func proxyRecordMetric(id Gauge, value uint64) status {
	if int(id) >= len(fake.counters) {
		return badArgument
	}
	set(&fake.Counters, fake.counters[id], int64(value))
	return ok
}

func proxyIncrementMetric(id Counter, by int64) status {
	if int(id) >= len(fake.counters) {
		return badArgument
	}
	set(&fake.Counters, fake.counters[id], fake.Counters[fake.counters[id]]+by)
	return ok
}
