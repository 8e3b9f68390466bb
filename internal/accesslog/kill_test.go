package accesslog

import (
	"context"
	"fmt"
	"testing"

	"envoke/internal/faas"
)

// killer panics in place of the death of the process, before or after the store
// or Envoy did what it was asked for. Between two such points the tail changes at
// most one name in its folder, so these are all the states that it can leave.
type killer struct {
	Store
	points int // passed so far
	at     int
}

type killed struct{}

func (k *killer) around(do func() error) error {
	k.point()
	err := do()
	k.point()
	return err
}

func (k *killer) point() {
	k.points++
	if k.points == k.at {
		panic(killed{})
	}
}

func (k *killer) LogOffset(ctx context.Context, file string) (offset int64, err error) {
	err = k.around(func() error { offset, err = k.Store.LogOffset(ctx, file); return err })
	return offset, err
}

func (k *killer) AppendRequestLogs(ctx context.Context, file string, offset int64, rows []faas.RequestLog) error {
	return k.around(func() error { return k.Store.AppendRequestLogs(ctx, file, offset, rows) })
}

func (k *killer) ForgetLogFile(ctx context.Context, file string) error {
	return k.around(func() error { return k.Store.ForgetLogFile(ctx, file) })
}

// TestKilledAnywhere kills control at every point of a run with two rotations, and
// then looks on with a new one: with an Envoy that lived on, or that died too.
func TestKilledAnywhere(t *testing.T) {
	for _, envoyDies := range []bool{false, true} {
		last := false
		for at := 1; !last; at++ {
			t.Run(fmt.Sprintf("at=%d,envoyDies=%v", at, envoyDies), func(t *testing.T) {
				last = !killedAt(t, at, envoyDies)
			})
		}
	}
}

func killedAt(t *testing.T, at int, envoyDies bool) (died bool) {
	r := newRig(t)
	r.options.MaxSize = 400
	k := &killer{Store: r.store, at: at}
	reopen := r.options.Reopen
	r.options.Store = k
	r.options.Reopen = func(ctx context.Context) error { return k.around(func() error { return reopen(ctx) }) }
	tail := r.start()
	for range 5 {
		r.envoy.writeLines(3)
		if died = !survives(func() { r.look(tail) }); died {
			break
		}
	}
	k.at = 0
	r.envoy.writeLines(1)
	if envoyDies {
		tail = r.start()
	} else {
		tail = r.process()
	}
	for range 4 {
		r.envoy.writeLines(1)
		r.look(tail)
	}
	r.look(tail)
	r.wantRows(r.envoy.next)
	r.wantFiles(1)
	return died
}

func survives(do func()) (alive bool) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(killed); !ok {
				panic(p)
			}
			alive = false
		}
	}()
	do()
	return true
}
