package pool

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"envoke/runtimes/frame"
)

// Limits of what is printed, as runtimes/PROTOCOL.md has them.
const (
	MaxLine      = 8 << 10  // bytes
	MaxLogged    = 1 << 20  // bytes of one call
	maxBetween   = 16 << 10 // bytes per second of what belongs to none
	maxTail      = 8 << 10  // bytes of descriptors 1 and 2 that are kept for the reason of an end
	drainTimeout = 100 * time.Millisecond
)

var logLevels = [...]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}

// logFrame passes on what a call logged. Of a call that is over, or none, only the
// worker is known. An entry without text says nothing.
func (w *worker) logFrame(f frame.Frame, unattributed *budget) error {
	if len(f.Payload) == 0 || int(f.Payload[0]) >= len(logLevels) {
		return fmt.Errorf("%w: a log frame without a level", errProtocol)
	}
	level, text := logLevels[f.Payload[0]], f.Payload[1:]
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	if len(text) > MaxLine {
		w.pool.metrics.logDropped.Add(float64(len(text) - MaxLine))
		text = text[:MaxLine]
	}
	w.mu.Lock()
	c := w.calls[f.Call]
	var requestID string
	var ok bool
	if c != nil {
		requestID = c.requestID
		c.logged += len(text)
		ok = c.logged <= MaxLogged
	} else {
		ok = unattributed.take(len(text))
	}
	w.mu.Unlock()
	if !ok {
		w.pool.metrics.logDropped.Add(float64(len(text)))
		return nil
	}
	w.logLine(requestID, level, text)
	return nil
}

func (w *worker) logLine(requestID string, level slog.Level, text []byte) {
	k := w.belongsTo()
	w.pool.opt.Log(LogLine{
		RequestID: requestID, Digest: k.digest, Owner: k.owner,
		Level: level, Text: strings.ToValidUTF8(string(text), "\uFFFD"),
	})
}

// belongsTo is the zero key of a generic worker.
func (w *worker) belongsTo() key {
	if k := w.belongs.Load(); k != nil {
		return *k
	}
	return key{}
}

// budget bounds the bytes of each second.
type budget struct {
	until time.Time
	used  int
}

func (b *budget) take(n int) bool {
	if now := time.Now(); now.After(b.until) {
		b.until, b.used = now.Add(time.Second), 0
	}
	b.used += n
	return b.used <= maxBetween
}

// logReader reads descriptors 1 and 2 of a worker, which share a pipe: what is printed
// there went around the language's own logging, or comes from the interpreter.
type logReader struct {
	worker *worker
	pipe   *os.File
	done   chan struct{}
	tail   []byte // the end of it; to be read after done
}

func (l *logReader) run() {
	defer close(l.done)
	var allowed budget
	r := bufio.NewReaderSize(l.pipe, MaxLine)
	cut := false // inside a line whose beginning was passed on
	for {
		line, err := r.ReadSlice('\n')
		l.keep(line)
		text := strings.TrimRight(string(line), "\r\n")
		switch {
		case strings.TrimSpace(text) == "":
		case cut || !allowed.take(len(text)):
			l.worker.pool.metrics.logDropped.Add(float64(len(text)))
		default:
			l.worker.logLine("", slog.LevelWarn, []byte(text))
		}
		cut = errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !cut {
			return
		}
	}
}

func (l *logReader) keep(line []byte) {
	l.tail = append(l.tail, line...)
	if over := len(l.tail) - maxTail; over > 0 {
		l.tail = l.tail[:copy(l.tail, l.tail[over:])]
	}
}

// finish waits for the rest of the output of a process that has ended. Something that
// it started may hold the pipe open: that is not waited for.
func (l *logReader) finish() {
	_ = l.pipe.SetReadDeadline(time.Now().Add(drainTimeout))
	<-l.done
	_ = l.pipe.Close()
}
