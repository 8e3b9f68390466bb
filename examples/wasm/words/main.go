// Command words is a function in Go: params are read from stdin, the result is written
// to stdout, and what goes to stderr is logged.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

type result struct {
	Sorted []string `json:"sorted"`
	Joined string   `json:"joined"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var params struct {
		Words []string `json:"words"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&params); err != nil {
		return fmt.Errorf("read params: %w", err)
	}
	slices.Sort(params.Words)
	return json.NewEncoder(os.Stdout).Encode(result{params.Words, strings.Join(params.Words, " ")})
}
