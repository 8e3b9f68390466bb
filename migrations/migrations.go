// Package migrations holds what a store begins with: versioned SQL files, a folder
// per database and the same numbers in each, and the functions that every
// installation has from the start.
package migrations

import "embed"

// FS holds the goose migrations: sqlite/00001_begin.sql, postgres/00001_begin.sql and so on.
//
//go:embed sqlite/*.sql postgres/*.sql
var FS embed.FS
