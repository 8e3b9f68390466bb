package host

import (
	"errors"

	"envoke/internal/faas"
	"envoke/internal/schema"
)

// checkParams tells whether params keep to the schema of their function, which most
// have not.
func checkParams(params *schema.Schema, value []byte) error {
	if params == nil {
		return nil
	}
	if len(value) == 0 {
		value = nullJSON
	}
	err := params.Validate(value)
	var fault *schema.Fault
	if !errors.As(err, &fault) {
		return err
	}
	details := map[string]any{"path": fault.Path, "reason": fault.Reason}
	if fault.Keyword != "" {
		details["keyword"] = fault.Keyword
	}
	return &faas.Error{
		Code: faas.InvalidParams, Details: details,
		Message: "params" + fault.Path + " against the function's schema: " + fault.Reason,
	}
}
