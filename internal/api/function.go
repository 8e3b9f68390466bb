package api

import (
	"encoding/json"
	"net/http"
	"time"

	"envoke/internal/faas"
)

// function is an item of a listing. A session's own script has no version.
type function struct {
	Language      faas.Language     `json:"language"`
	Title         string            `json:"title"`
	LanguageTitle string            `json:"language_title"`
	Description   string            `json:"description"`
	Type          faas.FunctionType `json:"type"`
	UserID        *string           `json:"user_id"`
	Version       *int              `json:"version"`
	Tags          []string          `json:"tags"`
	CreatedAt     time.Time         `json:"created_at"`
	LastUpdatedAt time.Time         `json:"last_updated_at"`
}

// fullFunction is what only the function's own path shows.
type fullFunction struct {
	function
	Schema         json.RawMessage `json:"schema"`
	Examples       json.RawMessage `json:"examples"`
	CompileOptions json.RawMessage `json:"compile_options"`
	ScriptContent  string          `json:"script_content"`
	TimeoutMS      *int64          `json:"timeout_ms"`
	MemoryLimitMB  *int            `json:"memory_limit_mb"`
	CPULimitMS     *int64          `json:"cpu_limit_ms"`
	OutputLimit    *int            `json:"output_limit_bytes"`
	MaxConcurrency *int            `json:"max_concurrency"`
	RatePerMinute  *int            `json:"rate_per_minute"`
	CacheTTL       *int64          `json:"cache_ttl_seconds"`
	Network        string          `json:"network"`
	Dependencies   json.RawMessage `json:"dependencies"`

	Environment shownEnvironment `json:"environment"`
}

type listing struct {
	Functions []function `json:"functions"`
	Total     int        `json:"total"`
	Page      int        `json:"page"`
	PerPage   int        `json:"per_page"`
}

func newFunction(f faas.Function) function {
	return function{
		Language:      f.Name.Language,
		Title:         f.Name.Title,
		LanguageTitle: f.Name.String(),
		Description:   f.Description,
		Type:          f.Type(),
		UserID:        orNull(f.UserID),
		Version:       orNull(f.Version),
		Tags:          append([]string{}, f.Tags...), // [] for none
		CreatedAt:     f.CreatedAt.UTC(),
		LastUpdatedAt: f.UpdatedAt.UTC(),
	}
}

func (a *api) listFunctions(r *http.Request) (int, any, error) {
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return 0, nil, err
	}
	if err := a.narrow(r, &query); err != nil {
		return 0, nil, err
	}
	functions, total, err := a.Store.ListFunctions(r.Context(), query)
	if err != nil {
		return 0, nil, err
	}
	page := listing{Functions: make([]function, len(functions)), Total: total, Page: query.Page, PerPage: query.PerPage}
	for i, f := range functions {
		page.Functions[i] = newFunction(f)
	}
	return http.StatusOK, page, nil
}

// showFunction shows the version that the name, name@version or name:alias means.
func (a *api) showFunction(r *http.Request) (int, any, error) {
	ref, err := a.refOf(r)
	if err != nil {
		return 0, nil, err
	}
	f, err := a.Store.FindFunction(r.Context(), ref)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, fullFunction{
		function:       newFunction(f),
		Schema:         f.Schema,
		Examples:       f.Examples,
		CompileOptions: f.Script.CompileOptions,
		ScriptContent:  f.Script.Source,
		TimeoutMS:      orNull(f.Timeout.Milliseconds()),
		MemoryLimitMB:  orNull(f.MemoryMB),
		CPULimitMS:     orNull(f.Limits.CPU.Milliseconds()),
		OutputLimit:    orNull(f.Limits.Output),
		MaxConcurrency: orNull(f.Limits.Concurrency),
		RatePerMinute:  orNull(f.Limits.Rate),
		CacheTTL:       orNull(int64(f.CacheTTL / time.Second)),
		Network:        f.Network.String(),
		Dependencies:   f.Script.Dependencies,
		Environment:    showEnvironment(f.Variables()),
	}, nil
}
