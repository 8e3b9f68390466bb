// Package faas is the vocabulary of Envoke: names, functions, sessions, session
// ids and errors. Every other package speaks in these types. It imports the
// standard library only and also builds for wasip1, so that the proxy-wasm
// filter can share it.
package faas
