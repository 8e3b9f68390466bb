package bench

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
)

// function adds two numbers, in one language of ours, as the servers beside it do.
type function struct {
	host    string // of the runtime, as its socket is called
	title   string // as the Language-Title header says it
	source  []byte
	options string // compile_options, or nothing
	// vary gives the source as code that nobody has seen before, for each mark anew.
	vary func(source []byte, mark string) []byte

	alone, plain, extProc, cold, empty string // keys of its cases; extProc and empty may be none
}

func functions() []function {
	return []function{
		{
			host: "nodejs", title: "nodejs-bench", vary: withComment("//"),
			source: []byte("module.exports = (event) => event.params.a + event.params.b;"),
			alone:  "e", plain: "f", extProc: "g", cold: "h", empty: "i",
		},
		{
			host: "python", title: "python-bench", vary: withComment("#"),
			source: []byte("def handle(params):\n    return params['a'] + params['b']\n"),
			alone:  "pe", plain: "pf", cold: "ph", empty: "pi",
		},
		{
			host: "rust", title: "rust-bench", vary: withSection, source: addModule,
			options: `{"target":"wasm32-wasip1"}`,
			alone:   "we", plain: "wf", cold: "wh",
		},
	}
}

// isOurs tells whether a case needs Envoke.
func isOurs(key string) bool {
	if key == buildKey || slices.Contains(cachedKeys(), key) || slices.Contains(callerKeys(), key) || slices.Contains(routedKeys(), key) {
		return true
	}
	for _, f := range functions() {
		if key == f.alone || key == f.plain || key == f.extProc || key == f.cold || key == f.empty {
			return true
		}
	}
	return false
}

// members are the function as members of a request's body, without braces.
func (f function) members(source []byte) string {
	text := string(source)
	if f.options != "" {
		text = base64.StdEncoding.EncodeToString(source)
	}
	quoted, _ := json.Marshal(text) // a string: it cannot fail
	if f.options == "" {
		return fmt.Sprintf(`"script_content":%s`, quoted)
	}
	return fmt.Sprintf(`"script_content":%s,"compile_options":%s`, quoted, f.options)
}

// unseen are the members of the function as code that nobody has seen before.
func (f function) unseen(mark string) string { return f.members(f.vary(f.source, mark)) }

// withComment ends code with the mark as a comment.
func withComment(start string) func([]byte, string) []byte {
	return func(source []byte, mark string) []byte {
		return fmt.Appendf(nil, "%s %s %s\n", source, start, mark)
	}
}

// coldModule is the size of modules that are started cold, in bytes.
const coldModule = 100_000

// withSection ends a module with a custom section that holds the mark, and is as long
// as the module then has coldModule bytes.
func withSection(module []byte, mark string) []byte {
	const name = "\x04mark"
	content := append([]byte(name), mark...)
	content = append(content, bytes.Repeat([]byte{0}, max(0, coldModule-len(module)-len(content)-4))...)
	section := binary.AppendUvarint([]byte{0}, uint64(len(content)))
	return append(append(bytes.Clone(module), section...), content...)
}
