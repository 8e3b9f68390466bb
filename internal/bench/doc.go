// Package bench measures what a request through Envoke costs, beside what it
// replaces, in one run on one machine.
//
// It starts everything that it compares: a bare Envoy with the same edge limits
// but nothing of ours, the least that a function in each language costs (node:http,
// uvicorn, wazero), a Go reverse proxy in the place of a controller, other function
// platforms (functions-framework, workerd), and Envoke itself. Every case answers the
// same small POST with the same JSON; status and body of every reply are verified, and
// a wrong answer fails the run. What is not installed is named in the report.
//
// Machines are noisy and the load generator shares the machine with what it
// measures, so absolute figures mean little. Cases therefore take turns in many
// short rounds, a ratio is taken within each round, and the median of the rounds
// is reported with its least and its greatest value.
package bench
