package logs

import (
	"fmt"
	"strings"

	"envoke/internal/faas"
)

// maxMessage bounds what is kept of a failure's message, in bytes.
const maxMessage = 1 << 10

// Failure is why a request failed, as its caller was told.
type Failure struct {
	RequestID string         `json:"-"`
	Code      faas.Code      `json:"code"`
	Message   string         `json:"message"`
	Component faas.Component `json:"component"`
}

func (f Failure) bytes() int { return len(f.Message) }

// Fail keeps why a request failed. The component is the layer that says so, unless the
// error names another. As many failures are kept as lines.
func (o *Output) Fail(requestID string, component faas.Component, e *faas.Error) {
	if requestID == "" {
		return
	}
	if named, ok := e.Details["component"]; ok {
		component = faas.Component(fmt.Sprint(named))
	}
	message := strings.ToValidUTF8(e.Message[:min(len(e.Message), maxMessage)], "")
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failures.add(Failure{RequestID: requestID, Code: e.Code, Message: message, Component: component})
}
