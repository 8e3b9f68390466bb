package logs

import (
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

func newFailure(f *faas.Failure) Failure {
	message := strings.ToValidUTF8(f.Message[:min(len(f.Message), maxMessage)], "")
	return Failure{RequestID: f.RequestID, Code: f.Code, Message: message, Component: f.Component}
}

// Fail keeps why a request failed. As many failures are kept as lines.
func (o *Output) Fail(f faas.Failure) {
	if f.RequestID == "" {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failures.add(newFailure(&f))
}
