// Package conformance is the suite that every language's worker passes, directly
// over its frames or through what stands around it. The cases are data, in
// testdata/: a program per language, what it is given and what must come of it.
package conformance

import (
	"bytes"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"envoke/internal/faas"
	"envoke/runtimes/frame"
)

//go:embed testdata/*.yaml testdata/*.wasm
var testdata embed.FS

const defaultMaxResult = 1 << 20

// RustSource stands for the language of Rust whose modules are built here, beside that of
// ready modules.
const RustSource faas.Language = "rust source"

// A Worker runs one program in its life. Every call has a deadline of the
// worker's own, after which it fails the test.
type Worker interface {
	Check(t *testing.T, code frame.Code) Outcome
	Load(t *testing.T, code frame.Code) Outcome
	// Invoke takes so many parts of a stream, and cancels it then; 0: all of them.
	Invoke(t *testing.T, event json.RawMessage, take int) Outcome
}

// An Outcome is what came of a question: a form, a result or a failure, or none
// of them if the worker exited.
type Outcome struct {
	Form    *frame.Form
	Result  json.RawMessage
	Left    json.RawMessage // in its context, where the event has retain
	Stream  *Stream
	Failure *frame.Failure
	Error   *faas.Error // what an engine made of the failure
	Exited  bool
	Logs    []Entry // in order
}

// An Entry is what a program logged at once.
type Entry struct {
	Level string `json:"level"` // debug, info, warn or error
	Text  string `json:"text"`
}

// A Stream is a result that came in parts: of JSON, or bytes as a string of base64.
type Stream struct {
	Head  json.RawMessage   `json:"head"` // default: null
	Parts []json.RawMessage `json:"parts"`
}

// Limits are what a function may take of a call. Engines hold it to them, bare workers do
// not: they leave such a case out.
type Limits struct {
	TimeoutMS int `json:"timeout_ms"`
	CPUMS     int `json:"cpu_ms"`
	MemoryMB  int `json:"memory_mb"`
}

// Excess is how an error tells of a limit.
type Excess struct {
	Code  faas.Code `json:"code"`
	Limit string    `json:"limit"` // of its details
}

// Case is one entry of a file in testdata. Everything that is left out is not
// looked at, but a case without failure or exit wants a result.
type Case struct {
	Name  string          `json:"name"`
	Event json.RawMessage `json:"event"` // default: {"params":{},"context":{}}
	// MaxResult bounds the result, in bytes of JSON. Default: 1 MiB.
	MaxResult int `json:"max_result"`

	Want    json.RawMessage `json:"want"`
	Left    json.RawMessage `json:"left"`   // in its context, of an event with retain
	Stream  *Stream         `json:"stream"` // in place of a result
	Take    int             `json:"take"`   // so many parts of it; 0: all
	Failure *frame.Failure  `json:"failure"`
	Excess  *Excess         `json:"excess"`
	Exits   bool            `json:"exits"` // the worker dies of the call
	Logs    []Entry         `json:"logs"`  // of the load and of the first call

	Limits   *Limits           `json:"limits"`
	Packages map[string]string `json:"packages"` // files of those that the function depends on, by their paths
	// Environment is what the worker is given in its own.
	Environment map[string]string `json:"environment"`

	// Programs are members of their own in the file, called as their language;
	// wasm is Rust's ready modules.
	Programs map[faas.Language]Program `json:"-"`
}

// Program is a case in one language.
type Program struct {
	Filename string         `json:"filename"` // default: function
	Source   string         `json:"source"`
	Module   string         `json:"module"` // instead of a source: NAME of testdata/NAME.wasm
	Form     string         `json:"form"`
	Failure  *frame.Failure `json:"failure"` // instead of the case's
}

// UnmarshalJSON implements json.Unmarshaler. It takes no member that it does not know.
func (c *Case) UnmarshalJSON(text []byte) error {
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	programs := map[faas.Language]Program{}
	for _, language := range append(faas.Languages(), RustSource) {
		name := string(language)
		switch language {
		case faas.Rust:
			name = "wasm"
		case RustSource:
			name = string(faas.Rust)
		}
		program, ok := members[name]
		if !ok {
			continue
		}
		var p Program
		if err := unmarshalStrict(program, &p); err != nil {
			return fmt.Errorf("%s: %w", language, err)
		}
		programs[language] = p
		delete(members, name)
	}
	rest, err := json.Marshal(members)
	if err != nil {
		return err
	}
	type plain Case // without this method
	err = unmarshalStrict(rest, (*plain)(c))
	c.Programs = programs
	return err
}

func unmarshalStrict(text []byte, value any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(value)
}

// Run runs the cases that have a program in the language, each in a bare worker of its
// own.
func Run(t *testing.T, language faas.Language, start func(t *testing.T) Worker) {
	run(t, language, func(t *testing.T, c Case) Worker {
		if c.Limits != nil {
			t.Skip("a bare worker has no limits")
		}
		return start(t)
	})
}

func run(t *testing.T, language faas.Language, start func(*testing.T, Case) Worker) {
	for _, file := range files(t) {
		t.Run(strings.TrimSuffix(path.Base(file), ".yaml"), func(t *testing.T) {
			for _, c := range read(t, file, language) {
				t.Run(c.Name, func(t *testing.T) {
					t.Parallel()
					c.run(t, c.Programs[language], start(t, c))
				})
			}
		})
	}
}

func files(t *testing.T) []string {
	t.Helper()
	files, err := fs.Glob(testdata, "testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// read is a file's cases that have a program in the language.
func read(t *testing.T, file string, language faas.Language) []Case {
	t.Helper()
	text, err := testdata.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var cases []Case
	if err := yaml.UnmarshalStrict(text, &cases); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return slices.DeleteFunc(cases, func(c Case) bool {
		_, ok := c.Programs[language]
		return !ok
	})
}

// maxResult is the case's bound, or the default.
func (c Case) maxResult() int {
	if c.MaxResult == 0 {
		return defaultMaxResult
	}
	return c.MaxResult
}

// Module is the WebAssembly module testdata/NAME.wasm in base64. `make seeds` builds it
// from the folder of that name.
func Module(t testing.TB, name string) string {
	t.Helper()
	wasm, err := testdata.ReadFile("testdata/" + name + ".wasm")
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(wasm)
}

func (c Case) run(t *testing.T, p Program, w Worker) {
	if p.Failure != nil {
		c.Failure = p.Failure
	}
	code := frame.Code{Filename: p.Filename, Source: p.Source, MaxResult: c.maxResult()}
	if p.Module != "" {
		code.Source = Module(t, p.Module)
	}
	if code.Filename == "" {
		code.Filename = "function"
	}
	code.Environment = c.Environment
	if c.Packages != nil {
		code.Packages = writePackages(t, c.Packages)
	}
	logs, loaded := c.load(t, w, code, p.Form)
	if !loaded {
		return
	}
	event := c.Event
	if event == nil {
		event = json.RawMessage(`{"params":{},"context":{}}`)
	}
	first := w.Invoke(t, event, c.Take)
	c.checkOutcome(t, first)
	c.checkLogs(t, append(logs, first.Logs...))
	if !c.Exits {
		c.checkOutcome(t, w.Invoke(t, event, c.Take)) // whatever the first call did, the next one works
	}
}

// load checks the code and loads it. Code that is no program fails the same way
// in both.
func (c Case) load(t *testing.T, w Worker, code frame.Code, form string) (logs []Entry, loaded bool) {
	checked, got := w.Check(t, code), w.Load(t, code)
	if c.Failure != nil && c.Failure.Kind == frame.LoadFailure {
		c.checkOutcome(t, got)
		c.checkLogs(t, got.Logs)
		if checked.Failure != nil {
			c.checkOutcome(t, checked)
		}
		return nil, false
	}
	if got.Form == nil || checked.Form == nil {
		t.Fatalf("check: %s; load: %s", checked, got)
	}
	if diff := cmp.Diff(checked.Form, got.Form); diff != "" {
		t.Errorf("check and load differ (-check +load):\n%s", diff)
	}
	if form != "" && form != got.Form.Form {
		t.Errorf("form is %q, want %q", got.Form.Form, form)
	}
	if len(checked.Logs) > 0 {
		t.Errorf("check ran the code: it logged %v", checked.Logs)
	}
	return got.Logs, true
}

func (c Case) checkOutcome(t *testing.T, got Outcome) {
	t.Helper()
	switch {
	case c.Exits:
		if !got.Exited {
			t.Errorf("got %s, want the worker to exit", got)
		}
	case c.Excess != nil:
		if diff := cmp.Diff(c.Excess, got.excess()); diff != "" {
			t.Errorf("limit (-want +got): %s\n%s", got, diff)
		}
	case c.Stream != nil:
		if diff := cmp.Diff(c.Stream.decode(t), got.Stream.decode(t)); diff != "" {
			t.Errorf("stream (-want +got): %s\n%s", got, diff)
		}
	case c.Failure != nil:
		if got.Failure == nil {
			t.Fatalf("got %s, want a failure", got)
		}
		if diff := cmp.Diff(*c.Failure, only(*c.Failure, *got.Failure)); diff != "" {
			t.Errorf("failure (-want +got):\n%s", diff)
		}
	default:
		if got.Result == nil {
			t.Fatalf("got %s, want a result", got)
		}
		if diff := cmp.Diff(decode(t, c.Want), decode(t, got.Result)); diff != "" {
			t.Errorf("result (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(decode(t, c.Left), decode(t, got.Left)); diff != "" {
			t.Errorf("context (-want +got):\n%s", diff)
		}
	}
}

func (o Outcome) excess() *Excess {
	if o.Error == nil {
		return nil
	}
	limit, _ := o.Error.Details["limit"].(string)
	return &Excess{Code: o.Error.Code, Limit: limit}
}

// decode is the head and the parts, nil of no stream.
func (s *Stream) decode(t *testing.T) []any {
	if s == nil {
		return nil
	}
	decoded := []any{decode(t, s.Head)}
	for _, part := range s.Parts {
		decoded = append(decoded, decode(t, part))
	}
	return decoded
}

// only blanks the fields of got that want says nothing about.
func only(want, got frame.Failure) frame.Failure {
	if want.Type == "" {
		got.Type = ""
	}
	if want.Message == "" {
		got.Message = ""
	}
	if want.Line == 0 {
		got.Line = 0
	}
	if want.Column == 0 {
		got.Column = 0
	}
	if want.Stack == "" {
		got.Stack = ""
	}
	return got
}

func (c Case) checkLogs(t *testing.T, got []Entry) {
	t.Helper()
	if c.Logs == nil {
		return
	}
	if diff := cmp.Diff(c.Logs, got); diff != "" {
		t.Errorf("logs (-want +got):\n%s", diff)
	}
}

func decode(t *testing.T, text json.RawMessage) any {
	t.Helper()
	if len(text) == 0 {
		return nil
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatalf("%.200q is no JSON: %v", text, err)
	}
	return value
}

func (o Outcome) String() string {
	switch {
	case o.Error != nil:
		return fmt.Sprintf("error %v %v", o.Error, o.Error.Details)
	case o.Failure != nil:
		return fmt.Sprintf("failure %+v", *o.Failure)
	case o.Form != nil:
		return fmt.Sprintf("form %+v", *o.Form)
	case o.Exited:
		return "exit"
	case o.Stream != nil:
		return fmt.Sprintf("stream %s", o.Stream)
	}
	return fmt.Sprintf("result %.200s", o.Result)
}
