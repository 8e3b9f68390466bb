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
	FindFunction(context.Context, faas.Name) (faas.Function, error)
	PutFunction(context.Context, faas.Function) error
}

// Seed registers each seed whose name is still free, so that an operator's own
// version of it stays.
func Seed(ctx context.Context, store Store) error {
	for _, seed := range Seeds() {
		_, err := store.FindFunction(ctx, seed.Name)
		if faas.IsNotFound(err) {
			err = store.PutFunction(ctx, seed)
		}
		if err != nil {
			return fmt.Errorf("seed %s: %w", seed.Name, err)
		}
	}
	return nil
}
