package hosttest

import (
	"context"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"envoke/filter/host"
)

// States of a call, as Envoy numbers them.
const (
	ok       uint32 = 0
	notFound uint32 = 1
	refused  uint32 = 2
)

// memory is that of the filter.
type memory struct{ api.Module }

func (m memory) read(at, size uint32) string {
	data, inside := m.Memory().Read(at, size)
	if !inside {
		panic("the filter passes memory that it does not have")
	}
	return string(data)
}

// answer asks the filter for memory, as Envoy does, and writes to it.
func (m memory) answer(value []byte, dataAt, sizeAt uint32) uint32 {
	if value == nil {
		return notFound
	}
	var data uint32
	if len(value) > 0 {
		allocated, err := m.ExportedFunction("proxy_on_memory_allocate").Call(context.Background(), uint64(len(value)))
		if err != nil {
			panic(err)
		}
		data = uint32(allocated[0])
	}
	m.Memory().Write(data, value)
	m.Memory().WriteUint32Le(dataAt, data)
	m.Memory().WriteUint32Le(sizeAt, uint32(len(value)))
	return ok
}

func done(well bool) uint32 {
	if !well {
		return refused
	}
	return ok
}

// message is the half whose headers have a number.
func message(headers uint32) host.Message { return host.Message(headers / 2) }

// calls are what Envoy offers, answered by package host as it is here: by the fake.
func calls() map[string]any {
	type (
		ctx = context.Context
		mod = api.Module
	)
	return map[string]any{
		"proxy_log": func(_ ctx, m mod, level, at, size uint32) uint32 {
			host.Log(host.Level(level), memory{m}.read(at, size))
			return ok
		},
		"proxy_get_current_time_nanoseconds": func(_ ctx, m mod, at uint32) uint32 {
			m.Memory().WriteUint64Le(at, uint64(host.Now().UnixNano()))
			return ok
		},
		"proxy_get_header_map_value": func(_ ctx, m mod, headers, at, size, dataAt, sizeAt uint32) uint32 {
			return memory{m}.answer(message(headers).Header(memory{m}.read(at, size)), dataAt, sizeAt)
		},
		"proxy_get_header_map_pairs": func(_ ctx, m mod, headers, dataAt, sizeAt uint32) uint32 {
			return memory{m}.answer(message(headers).Headers(), dataAt, sizeAt)
		},
		"proxy_add_header_map_value": func(_ ctx, m mod, headers, at, size, valueAt, valueSize uint32) uint32 {
			return done(message(headers).AddHeader(memory{m}.read(at, size), []byte(memory{m}.read(valueAt, valueSize))))
		},
		"proxy_replace_header_map_value": func(_ ctx, m mod, headers, at, size, valueAt, valueSize uint32) uint32 {
			return done(message(headers).SetHeader(memory{m}.read(at, size), []byte(memory{m}.read(valueAt, valueSize))))
		},
		"proxy_remove_header_map_value": func(_ ctx, m mod, headers, at, size uint32) uint32 {
			return done(message(headers).RemoveHeader(memory{m}.read(at, size)))
		},
		"proxy_get_buffer_bytes": func(_ ctx, m mod, buffer, start, most, dataAt, sizeAt uint32) uint32 {
			if buffer == 7 {
				return memory{m}.answer(host.Config(), dataAt, sizeAt)
			}
			return memory{m}.answer(host.Message(buffer).BodyFrom(int(start), int(most)), dataAt, sizeAt)
		},
		"proxy_send_local_response": func(_ ctx, m mod, status, detailsAt, detailsSize, at, size, headersAt, headersSize, _ uint32) uint32 {
			headers := host.Pairs(memory{m}.read(headersAt, headersSize))
			return done(host.Respond(int(status), memory{m}.read(detailsAt, detailsSize), headers, []byte(memory{m}.read(at, size))))
		},
		"proxy_get_shared_data": func(_ ctx, m mod, at, size, dataAt, sizeAt, versionAt uint32) uint32 {
			value, version := host.SharedData([]byte(memory{m}.read(at, size)))
			m.Memory().WriteUint32Le(versionAt, version)
			return memory{m}.answer(value, dataAt, sizeAt)
		},
		"proxy_set_shared_data": func(_ ctx, m mod, at, size, valueAt, valueSize, version uint32) uint32 {
			return done(host.SetSharedData([]byte(memory{m}.read(at, size)), []byte(memory{m}.read(valueAt, valueSize)), version))
		},
		"proxy_get_property": func(_ ctx, m mod, at, size, dataAt, sizeAt uint32) uint32 {
			return memory{m}.answer(host.Property(strings.Split(memory{m}.read(at, size), "\x00")...), dataAt, sizeAt)
		},
		"proxy_set_property": func(_ ctx, m mod, at, size, valueAt, valueSize uint32) uint32 {
			return done(host.SetProperty(memory{m}.read(at, size), []byte(memory{m}.read(valueAt, valueSize))))
		},
		"proxy_define_metric": func(_ ctx, m mod, _, at, size, idAt uint32) uint32 {
			m.Memory().WriteUint32Le(idAt, uint32(host.NewCounter(memory{m}.read(at, size))))
			return ok
		},
		"proxy_record_metric": func(_ ctx, _ mod, id uint32, value uint64) uint32 {
			host.Gauge(id).Set(value)
			return ok
		},
		"proxy_increment_metric": func(_ ctx, _ mod, id uint32, by int64) uint32 {
			host.Counter(id).Add(by)
			return ok
		},
	}
}
