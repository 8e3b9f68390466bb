//go:build race

package rawio

import "sync/atomic"

// order tells the race detector what package syscall tells it: whoever receives comes after
// who sent.
var order atomic.Int64

func sent()     { order.Add(1) }
func received() { order.Load() }
