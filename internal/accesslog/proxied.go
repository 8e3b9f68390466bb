package accesslog

import (
	"slices"

	"envoke/internal/faas"
)

// stored are the rows that a store gets: all but those of requests to upstreams, which only
// count.
func stored(rows []faas.RequestLog) []faas.RequestLog {
	proxied := func(row faas.RequestLog) bool { return row.Operation == faas.Proxied }
	if !slices.ContainsFunc(rows, proxied) {
		return rows
	}
	return slices.DeleteFunc(slices.Clone(rows), proxied)
}
