package pool

// Idle is how many generic workers are kept ready.
func (p *Pool) Idle() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opt.Idle
}

// SetIdle changes how many generic workers are kept ready, 0 or more: those that are
// missing are started, and those too many ended.
func (p *Pool) SetIdle(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opt.Idle = n
	for len(p.ready) > n && len(p.claims) == 0 {
		w := p.ready[0] // whose memory is the coldest
		p.remove(w)
		w.kill(killIdle)
	}
	p.balance()
}
