package bench

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/tetratelabs/wazero"
)

func TestUnseenCodeIsValidAndDiffers(t *testing.T) {
	for _, f := range functions() {
		first, second := f.unseen("0-1"), f.unseen("0-2")
		if first == second || first == f.members(f.source) {
			t.Errorf("%s: the code is not new", f.title)
		}
		var body struct {
			Script string `json:"script_content"`
		}
		if err := json.Unmarshal([]byte("{"+first+"}"), &body); err != nil || body.Script == "" {
			t.Errorf("%s: error %v", f.title, err)
		}
	}
}

func TestWithSection(t *testing.T) {
	f := functions()[2]
	module := withSection(addModule, "0-1")
	if len(module) != coldModule {
		t.Errorf("the module has %d bytes", len(module))
	}
	ctx := t.Context()
	runtime := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer func() { _ = runtime.Close(ctx) }()
	if _, err := runtime.CompileModule(ctx, module); err != nil {
		t.Error(err)
	}
	var body struct {
		Script []byte `json:"script_content"`
	}
	if err := json.Unmarshal([]byte("{"+f.unseen("0-1")+"}"), &body); err != nil || string(body.Script) != string(module) {
		t.Errorf("the module does not arrive as it is: error %v, %s", err, base64.StdEncoding.EncodeToString(body.Script)[:40])
	}
}
