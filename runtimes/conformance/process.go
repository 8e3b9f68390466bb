package conformance

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"envoke/runtimes/frame"
	"envoke/runtimes/pool"
)

const (
	askTimeout = 20 * time.Second
	frameLimit = 64 << 20
)

// A Process is a worker's bare process, with a socketpair and nothing around it.
type Process struct {
	Command *exec.Cmd
	Conn    net.Conn // the host's end
	reader  *bufio.Reader
	call    uint32
	take    int // parts of a stream before it is cancelled; 0: all
}

// Start starts a worker, waits until it is ready and kills it when the test ends.
// Its standard error goes to the test's.
func Start(t testing.TB, argv, env []string) *Process {
	t.Helper()
	ours, theirs := socketpair(t)
	command := exec.Command(argv[0], argv[1:]...)
	command.Env = env
	command.Dir = t.TempDir()
	command.Stderr = os.Stderr
	command.ExtraFiles = []*os.File{theirs}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	p := &Process{Command: command, Conn: ours, reader: bufio.NewReaderSize(ours, 1<<16)}
	t.Cleanup(func() {
		_ = ours.Close()
		_ = command.Process.Kill() // it may have exited by itself
		_ = command.Wait()
	})
	if f := p.Receive(t); f.Type != frame.Ready {
		t.Fatalf("the first frame is %d, want Ready", f.Type)
	}
	return p
}

func socketpair(t testing.TB) (ours net.Conn, theirs *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fds[0]), "host")
	defer file.Close()
	if ours, err = net.FileConn(file); err != nil {
		t.Fatal(err)
	}
	return ours, os.NewFile(uintptr(fds[1]), "worker")
}

// Send writes one frame.
func (p *Process) Send(t testing.TB, f frame.Frame) {
	t.Helper()
	if err := p.Conn.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Conn.Write(frame.Append(nil, f)); err != nil {
		t.Fatal(err)
	}
}

// Receive reads one frame. The zero Frame means that the worker has exited.
func (p *Process) Receive(t testing.TB) frame.Frame {
	t.Helper()
	if err := p.Conn.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		t.Fatal(err)
	}
	f, err := frame.Read(p.reader, frameLimit)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return frame.Frame{}
	}
	if err != nil {
		t.Fatalf("the worker says nothing: %v", err)
	}
	return f
}

// Check implements Worker.
func (p *Process) Check(t *testing.T, code frame.Code) Outcome {
	t.Helper()
	return p.ask(t, frame.Check, marshal(t, code))
}

// Load implements Worker.
func (p *Process) Load(t *testing.T, code frame.Code) Outcome {
	t.Helper()
	return p.ask(t, frame.Load, marshal(t, code))
}

// Invoke implements Worker.
func (p *Process) Invoke(t *testing.T, event json.RawMessage, take int) Outcome {
	t.Helper()
	p.take = take
	return p.ask(t, frame.Invoke, event)
}

// ask sends a question and gathers what the worker says up to its answer.
func (p *Process) ask(t *testing.T, question frame.Type, payload []byte) Outcome {
	t.Helper()
	p.call++
	p.Send(t, frame.Frame{Type: question, Call: p.call, Payload: payload})
	var outcome Outcome
	for {
		f := p.Receive(t)
		if f.Type != frame.Log && f.Type != 0 && f.Call != p.call {
			t.Fatalf("frame %d answers call %d, want %d", f.Type, f.Call, p.call)
		}
		switch f.Type {
		case 0:
			outcome.Exited = true
			return outcome
		case frame.Log:
			outcome.Logs = append(outcome.Logs, entry(t, f))
			continue
		case frame.Loaded:
			outcome.Form = unmarshal[frame.Form](t, f.Payload)
		case frame.Failed:
			outcome.Failure = unmarshal[frame.Failure](t, f.Payload)
		case frame.Result:
			outcome.Result = f.Payload
		case frame.Stream:
			outcome.Stream = &Stream{Head: f.Payload}
			continue
		case frame.Context:
			outcome.Left = f.Payload
			continue
		case frame.Part:
			p.takePart(t, f, outcome.Stream)
			continue
		default:
			t.Fatalf("unexpected frame %d", f.Type)
		}
		return outcome
	}
}

// takePart has the worker go on, or cancels its stream. Parts that are on their way then
// are left out.
func (p *Process) takePart(t *testing.T, f frame.Frame, s *Stream) {
	t.Helper()
	if p.take > 0 && len(s.Parts) >= p.take {
		return
	}
	part := pool.Part{Kind: frame.PartKind(f.Payload[0]), Data: f.Payload[1:]}
	s.Parts = append(s.Parts, part.AppendJSON(nil))
	if len(s.Parts) == p.take {
		p.Send(t, frame.Frame{Type: frame.Cancel, Call: p.call})
		return
	}
	p.Send(t, frame.Frame{Type: frame.More, Call: p.call, Payload: strconv.AppendInt(nil, int64(len(part.Data)+frame.PartCost), 10)})
}

func entry(t testing.TB, f frame.Frame) Entry {
	t.Helper()
	levels := []string{"debug", "info", "warn", "error"}
	if len(f.Payload) == 0 || int(f.Payload[0]) >= len(levels) {
		t.Fatalf("log frame %q has no level", f.Payload)
	}
	return Entry{Level: levels[f.Payload[0]], Text: string(f.Payload[1:])}
}

func marshal(t testing.TB, value any) []byte {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func unmarshal[T any](t testing.TB, text []byte) *T {
	t.Helper()
	value := new(T)
	if err := json.Unmarshal(text, value); err != nil {
		t.Fatalf("%.200q: %v", text, err)
	}
	return value
}
