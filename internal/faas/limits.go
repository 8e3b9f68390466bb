package faas

import "time"

// Limits are those of one function beside its time and its memory. What is zero is not
// limited but by the operator.
type Limits struct {
	CPU         time.Duration // that one call may take
	Output      int           // bytes of one result, or of all parts of a stream
	Concurrency int           // calls under way at once, on one host
	Rate        int           // calls a minute of all callers, on one host
}

// Or fills what is not limited from others.
func (l Limits) Or(others Limits) Limits {
	if l.CPU == 0 {
		l.CPU = others.CPU
	}
	if l.Output == 0 {
		l.Output = others.Output
	}
	if l.Concurrency == 0 {
		l.Concurrency = others.Concurrency
	}
	if l.Rate == 0 {
		l.Rate = others.Rate
	}
	return l
}
