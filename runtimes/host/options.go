package host

import (
	"fmt"
	"math"
	"strconv"
)

// checkCompileOptions checks what a caller asks of a compiler: a JSON object, or
// nothing. Members that mean nothing to the language are let through, since one
// caller's code may be in several. A limit of memory is not: who asks for more than
// the operator's limit (in MiB) must not believe that they have it.
//
// A smaller limit is not applied yet: a worker has its heap's bound from its start,
// before it has any code.
func checkCompileOptions(raw []byte, maxMemoryMB int) error {
	if len(raw) == 0 {
		return nil
	}
	var limit []byte
	if err := members(raw, member{"memory_limit_mb", &limit}); err != nil {
		return err
	}
	if len(limit) == 0 || isNull(limit) {
		return nil
	}
	mb, err := strconv.ParseFloat(string(limit), 64)
	if err != nil || mb < 1 || mb > float64(maxMemoryMB) || mb != math.Trunc(mb) {
		return invalid(fmt.Sprintf("compile_options.memory_limit_mb must be a whole number from 1 to %d, the operator's limit", maxMemoryMB))
	}
	return nil
}
