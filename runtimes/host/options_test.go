package host

import (
	"testing"

	"envoke/internal/faas"
)

func TestCheckCompileOptions(t *testing.T) {
	for _, good := range []string{
		``, `{}`, `{"optimization_level":"release","features":["a"],"target":"x","more":1}`,
		`{"memory_limit_mb":null}`, `{"memory_limit_mb":1}`, `{"memory_limit_mb": 128}`, `{"memory_limit_mb":64.0}`,
	} {
		if err := checkCompileOptions([]byte(good), 128); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	const want = "compile_options.memory_limit_mb must be a whole number from 1 to 128, the operator's limit"
	for _, bad := range []string{"0", "-1", "129", "1e3", "64.5", `"64"`, "true", "[64]", "99999999999999999999"} {
		err := checkCompileOptions([]byte(`{"memory_limit_mb":`+bad+`}`), 128)
		wantCode(t, err, faas.InvalidRequest)
		if got := faas.AsError(err).Message; got != want {
			t.Errorf("%s: %q", bad, got)
		}
	}
}
