package api

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"envoke/internal/faas"
	"envoke/internal/schema"
	"envoke/internal/strict"
)

// Bounds of what a function is registered with, in bytes where nothing else is said.
const (
	maxDescription = 4096
	maxTags        = 32
	maxTag         = 64
	maxExamples    = 64 << 10
	maxTimeoutMS   = 24 * 3600 * 1000 // what RUNTIME_TIMEOUT_SECONDS may be at most
	maxCacheTTL    = 24 * 3600        // seconds: no older result is given
	maxMemoryMB    = 64 << 10         // what WORKER_MEMORY_MB may be at most
	allButCode     = 2<<20 + 256<<10  // of a body, dependencies, schema and examples included
	escaped        = len(`\u0000`)    // what one byte of code may take in JSON
)

// definition is the body that registers a function, or a new version of one.
type definition struct {
	Language       *faas.Language `json:"language"`
	Title          *string        `json:"title"`
	Description    string         `json:"description"`
	ScriptContent  *string        `json:"script_content"`
	Schema         jsontext.Value `json:"schema"`
	Examples       jsontext.Value `json:"examples"`
	Tags           []string       `json:"tags"`
	CompileOptions jsontext.Value `json:"compile_options"`
	TimeoutMS      *int           `json:"timeout_ms"`
	MemoryLimitMB  *int           `json:"memory_limit_mb"`
	CPULimitMS     *int           `json:"cpu_limit_ms"`
	OutputLimit    *int           `json:"output_limit_bytes"`
	MaxConcurrency *int           `json:"max_concurrency"`
	RatePerMinute  *int           `json:"rate_per_minute"`
	CacheTTL       *int           `json:"cache_ttl_seconds"`
	Network        jsontext.Value `json:"network"`
	Dependencies   jsontext.Value `json:"dependencies"`
	Environment    jsontext.Value `json:"environment"`
}

// maxDefinition bounds the body of a definition: code that is escaped as wasteful as
// JSON allows, or a module in base64.
func (a *api) maxDefinition() int64 {
	return int64(max(a.MaxScript*escaped, base64.StdEncoding.EncodedLen(a.MaxModule)) + allButCode)
}

// function is the function of that name that the definition describes. Its code and
// compile options are checked by who reads those of an initialize: the runtime host.
func (d *definition) function(name faas.Name) (faas.Function, error) {
	if err := cmp.Or(d.checkTexts(), d.checkNumbers(), d.checkDocuments()); err != nil {
		return faas.Function{}, err
	}
	if d.ScriptContent == nil {
		return faas.Function{}, strict.BadMember("script_content", "is missing: send the function's code there")
	}
	network, err := d.network()
	if err != nil {
		return faas.Function{}, err
	}
	environment, err := parseEnvironment(d.Environment)
	if err != nil {
		return faas.Function{}, err
	}
	return faas.Function{
		Name:        name,
		Description: d.Description,
		Script:      faas.NewScript(name.Language, *d.ScriptContent, orNil(d.CompileOptions)).With(orNil(d.Dependencies)),
		Schema:      orNil(d.Schema),
		Examples:    orNil(d.Examples),
		Tags:        d.Tags,
		Timeout:     time.Duration(orZero(d.TimeoutMS)) * time.Millisecond,
		CacheTTL:    time.Duration(orZero(d.CacheTTL)) * time.Second,
		MemoryMB:    d.memoryMB(),
		Network:     network,
		Environment: environment,
		Limits: faas.Limits{
			CPU:    time.Duration(orZero(d.CPULimitMS)) * time.Millisecond,
			Output: orZero(d.OutputLimit), Concurrency: orZero(d.MaxConcurrency), Rate: orZero(d.RatePerMinute),
		},
	}, nil
}

// network is the function's; where nothing is said of it, that of its compile options,
// which the runtime host checks.
func (d *definition) network() (faas.Network, error) {
	raw := orNil(d.Network)
	if raw == nil {
		var options struct {
			Network string `json:"network"`
		}
		_ = json.Unmarshal(orNil(d.CompileOptions), &options)
		network, _ := faas.ParseNetwork(options.Network)
		return network, nil
	}
	switch string(raw) {
	case "true": // as it was before it had names
		return faas.Egress, nil
	case "false":
		return faas.NoNetwork, nil
	}
	var text string
	_ = json.Unmarshal(raw, &text)
	network, ok := faas.ParseNetwork(text)
	if !ok {
		return network, strict.BadMember("network", "must be none or egress")
	}
	return network, nil
}

// memoryMB is the function's limit of memory; where it has none, that of its compile
// options, which the runtime host checks.
func (d *definition) memoryMB() int {
	if d.MemoryLimitMB != nil {
		return *d.MemoryLimitMB
	}
	var options struct {
		MemoryLimitMB float64 `json:"memory_limit_mb"`
	}
	_ = json.Unmarshal(orNil(d.CompileOptions), &options)
	return int(options.MemoryLimitMB)
}

func orZero(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

// orNil is nil for what is absent or null.
func orNil(v jsontext.Value) json.RawMessage {
	if v == nil || v.Kind() == 'n' {
		return nil
	}
	return json.RawMessage(v)
}

func (d *definition) checkTexts() error {
	if len(d.Description) > maxDescription || strings.ContainsRune(d.Description, 0) {
		return strict.BadMember("description", fmt.Sprintf("must be text of at most %d bytes", maxDescription))
	}
	if len(d.Tags) > maxTags {
		return strict.BadMember("tags", fmt.Sprintf("may hold %d tags at most", maxTags))
	}
	for i, tag := range d.Tags {
		if tag == "" || len(tag) > maxTag || strings.ContainsRune(tag, 0) {
			return strict.BadMember(fmt.Sprint("tags.", i), fmt.Sprintf("must be text of 1 to %d bytes", maxTag))
		}
		if slices.Contains(d.Tags[:i], tag) {
			return strict.BadMember(fmt.Sprint("tags.", i), "is there twice")
		}
	}
	return nil
}

func (d *definition) checkNumbers() error {
	return cmp.Or(
		between("timeout_ms", d.TimeoutMS, 1, maxTimeoutMS),
		between("memory_limit_mb", d.MemoryLimitMB, 1, maxMemoryMB),
		between("cpu_limit_ms", d.CPULimitMS, 1, maxTimeoutMS),
		between("output_limit_bytes", d.OutputLimit, 1, math.MaxInt32),
		between("max_concurrency", d.MaxConcurrency, 1, math.MaxInt32),
		between("rate_per_minute", d.RatePerMinute, 0, math.MaxInt32),
		between("cache_ttl_seconds", d.CacheTTL, 0, maxCacheTTL),
	)
}

func between(member string, n *int, least, most int) error {
	if n != nil && (*n < least || *n > most) {
		return strict.BadMember(member, fmt.Sprintf("must be a whole number from %d to %d", least, most))
	}
	return nil
}

func (d *definition) checkDocuments() error {
	if examples := orNil(d.Examples); examples != nil && (examples[0] != '[' || len(examples) > maxExamples) {
		return strict.BadMember("examples", fmt.Sprintf("must be a list of at most %d bytes", maxExamples))
	}
	raw := orNil(d.Schema)
	if raw == nil {
		return nil
	}
	var fault *schema.Fault
	switch err := schema.Check(raw); {
	case errors.As(err, &fault):
		return &faas.Error{
			Code: faas.InvalidRequest, Message: "schema is no JSON Schema: " + fault.Error(),
			Details: map[string]any{"member": "schema", "path": fault.Path},
		}
	default:
		return err
	}
}
