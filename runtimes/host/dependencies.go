package host

import (
	"bytes"

	"github.com/go-json-experiment/json"

	"envoke/internal/strict"
)

// MaxDependencies bounds the JSON of the files that pin packages, in bytes.
const MaxDependencies = 2 << 20

// parseDependencies copies the files that pin packages: an object of texts, or nothing.
func (h *Host) parseDependencies(p *post, raw []byte) error {
	if !given(raw) {
		return nil
	}
	if p.script == nil {
		return strict.BadMember("dependencies", "are those of script_content, which is missing")
	}
	if h.NoDependencies != "" {
		return strict.BadMember("dependencies", "are not installed here: "+h.NoDependencies)
	}
	if len(raw) > MaxDependencies {
		return tooLarge("dependencies", MaxDependencies)
	}
	var files map[string]string
	if json.Unmarshal(raw, &files) != nil {
		return strict.BadMember("dependencies", "must be an object of the files that pin packages, each a text, by their names")
	}
	p.dependencies = bytes.Clone(raw)
	return nil
}
