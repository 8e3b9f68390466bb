package bench

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
	"github.com/valyala/fasthttp"
)

// addModule is the function as a WASI command, built from the folder add.
//
//go:embed add.wasm
var addModule []byte

// ServeWazero is the least that a function in WebAssembly costs: a server that compiles
// the module once and gives each request a fresh instance of it, with wazero as its
// documentation says and without any limit. It serves on a Unix socket until the
// context ends.
func ServeWazero(ctx context.Context, socket string) error {
	runtime := wazero.NewRuntime(ctx)
	defer func() { _ = runtime.Close(context.WithoutCancel(ctx)) }()
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, runtime); err != nil {
		return fmt.Errorf("serve wazero: %w", err)
	}
	compiled, err := runtime.CompileModule(ctx, addModule)
	if err != nil {
		return fmt.Errorf("serve wazero: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", socket, err)
	}
	bare := bareWazero{runtime: runtime, compiled: compiled}
	server := &fasthttp.Server{Handler: bare.answer, NoDefaultDate: true}
	stopped := make(chan error, 1)
	defer context.AfterFunc(ctx, func() { stopped <- server.Shutdown() })()
	if err := server.Serve(listener); err != nil {
		return fmt.Errorf("serve wazero: %w", err)
	}
	return <-stopped
}

// bareWazero answers with instances of one module.
type bareWazero struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
}

func (b bareWazero) answer(c *fasthttp.RequestCtx) {
	var question struct {
		Params json.RawMessage `json:"params"`
	}
	err := json.Unmarshal(c.PostBody(), &question)
	if err != nil {
		refuse(c, http.StatusBadRequest, err)
		return
	}
	result, err := b.call(c, question.Params)
	if err != nil {
		refuse(c, http.StatusInternalServerError, err)
		return
	}
	c.SetContentType("application/json")
	c.SetBody(fmt.Appendf(nil, `{"result":%s,"request_id":"00000000-0000-8310-8000-000000000000",`+
		`"language_title":"rust-bench","execution_time_ms":0.051,"memory_usage_bytes":1114112,"cached":false}`, result))
}

func refuse(c *fasthttp.RequestCtx, status int, err error) {
	c.SetStatusCode(status)
	c.SetBodyString(err.Error())
}

// call returns what the module wrote to stdout.
func (b bareWazero) call(ctx context.Context, params []byte) ([]byte, error) {
	var stdout bytes.Buffer
	instance, err := b.runtime.InstantiateModule(ctx, b.compiled, wazero.NewModuleConfig().
		WithName("").WithStdin(bytes.NewReader(params)).WithStdout(&stdout)) // no name: many at once
	if exit := (*sys.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 0 {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	if instance != nil {
		_ = instance.Close(ctx)
	}
	return stdout.Bytes(), nil
}
