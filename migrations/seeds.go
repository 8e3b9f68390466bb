package migrations

import (
	"context"
	_ "embed" // the seeds' files
	"encoding/base64"
	"encoding/json"
	"fmt"

	"envoke/internal/faas"
)

var (
	//go:embed seeds/nodejs-calculator.js
	calculatorSource string
	//go:embed seeds/nodejs-calculator.schema.json
	calculatorSchema []byte
	//go:embed seeds/nodejs-calculator.examples.json
	calculatorExamples []byte

	//go:embed seeds/python-text_processor.py
	textProcessorSource string
	//go:embed seeds/python-text_processor.schema.json
	textProcessorSchema []byte
	//go:embed seeds/python-text_processor.examples.json
	textProcessorExamples []byte
	//go:embed seeds/rust-data_validator.wasm
	validatorModule []byte // `make seeds` builds it
	//go:embed seeds/rust-data_validator.schema.json
	validatorSchema []byte
	//go:embed seeds/rust-data_validator.examples.json
	validatorExamples []byte
)

// Seeds are the functions that every installation has from the start.
func Seeds() []faas.Function {
	return []faas.Function{{
		Name:        faas.Name{Language: faas.NodeJS, Title: "calculator"},
		Description: "Adds, subtracts, multiplies or divides two numbers.",
		Script:      faas.NewScript(faas.NodeJS, calculatorSource, nil),
		Schema:      calculatorSchema,
		Examples:    calculatorExamples,
		Tags:        []string{"example", "math"},
	}, {
		Name:        faas.Name{Language: faas.Python, Title: "text_processor"},
		Description: "Changes a text, or counts what is in it.",
		Script:      faas.NewScript(faas.Python, textProcessorSource, nil),
		Schema:      textProcessorSchema,
		Examples:    textProcessorExamples,
		Tags:        []string{"example", "text"},
	}, {
		Name:        faas.Name{Language: faas.Rust, Title: "data_validator"},
		Description: "Checks the fields of an object against rules.",
		Script: faas.NewScript(faas.Rust, base64.StdEncoding.EncodeToString(validatorModule),
			json.RawMessage(`{"target":"wasm32-wasip1"}`)),
		Schema:   validatorSchema,
		Examples: validatorExamples,
		Tags:     []string{"example", "validation"},
	}}
}

// Store is what Seed needs of a store.
type Store interface {
	EverRegistered(context.Context, faas.Name) (bool, error)
	CreateFunction(context.Context, faas.Actor, faas.Function) (faas.Function, error)
}

// Seed registers each seed whose name was never used, so that an operator's own
// version of it stays, and one that was deleted stays away. Several processes may do so at once.
func Seed(ctx context.Context, store Store) error {
	for _, seed := range Seeds() {
		known, err := store.EverRegistered(ctx, seed.Name)
		if err == nil && !known {
			_, err = store.CreateFunction(ctx, faas.Itself(), seed)
		}
		if err != nil && faas.AsError(err).Code == faas.Conflict {
			continue // another process that starts now was quicker
		}
		if err != nil {
			return fmt.Errorf("seed %s: %w", seed.Name, err)
		}
	}
	return nil
}
