// Package xds tells Envoy what to serve. A State, a plain value, becomes by the pure
// Build a Snapshot of Envoy resources; a Controller checks and publishes it; its
// delta ADS server hands it to every Envoy that connects.
//
// Functions and sessions are no part of State. ext_proc names the cluster of a
// request in a header, and the ids of plain sessions route themselves: what Envoy
// holds does not grow with what is deployed.
package xds
