// Package envoy is the Envoy binary as Envoke runs it: the one pinned version and
// how to fetch it, the bootstrap, and the child process. What Envoy serves comes
// over xDS and is none of this package's business.
package envoy
