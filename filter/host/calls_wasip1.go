package host

// Part of what Envoy lets a module call. A string is two numbers there, its address and
// its size. An answer goes into memory for which Envoy calls allocate meanwhile; it tells
// the address and the size of that too, which we know.

//go:noescape
//go:wasmimport env proxy_log
func proxyLog(level Level, message string) status

//go:noescape
//go:wasmimport env proxy_get_current_time_nanoseconds
func proxyGetCurrentTimeNanoseconds(nanoseconds *uint64) status

//go:noescape
//go:wasmimport env proxy_get_header_map_value
func proxyGetHeaderMapValue(m headerMap, name string, address, size *uint32) status

//go:noescape
//go:wasmimport env proxy_get_header_map_pairs
func proxyGetHeaderMapPairs(m headerMap, address, size *uint32) status

//go:noescape
//go:wasmimport env proxy_add_header_map_value
func proxyAddHeaderMapValue(m headerMap, name, value string) status

//go:noescape
//go:wasmimport env proxy_replace_header_map_value
func proxyReplaceHeaderMapValue(m headerMap, name, value string) status

//go:noescape
//go:wasmimport env proxy_remove_header_map_value
func proxyRemoveHeaderMapValue(m headerMap, name string) status

//go:noescape
//go:wasmimport env proxy_get_buffer_bytes
func proxyGetBufferBytes(b buffer, start, most uint32, address, size *uint32) status

//go:noescape
//go:wasmimport env proxy_send_local_response
func proxySendLocalResponse(httpStatus uint32, details, body, headers string, grpcStatus int32) status

//go:noescape
//go:wasmimport env proxy_get_shared_data
func proxyGetSharedData(key string, address, size, version *uint32) status

//go:noescape
//go:wasmimport env proxy_set_shared_data
func proxySetSharedData(key, value string, version uint32) status

//go:noescape
//go:wasmimport env proxy_get_property
func proxyGetProperty(path string, address, size *uint32) status

//go:noescape
//go:wasmimport env proxy_set_property
func proxySetProperty(path, value string) status

//go:noescape
//go:wasmimport env proxy_define_metric
func proxyDefineMetric(kind uint32, name string, id *uint32) status

//go:noescape
//go:wasmimport env proxy_record_metric
func proxyRecordMetric(id Gauge, value uint64) status

//go:noescape
//go:wasmimport env proxy_increment_metric
func proxyIncrementMetric(id Counter, by int64) status
