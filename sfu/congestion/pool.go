package congestion

import (
	"context"
	"slices"
	"sync"
	"time"

	"linehall/internal/site"
	"linehall/media/line"
)

const (
	lookEvery = 100 * time.Millisecond
	padEvery  = 20 * time.Millisecond
)

// Ledger is what the pool reads and judges. *line.Ledger is one.
type Ledger interface {
	// Load is what a direction carries; false: there is no such line.
	Load(id site.ID, d line.Direction) (line.Load, bool)
	// Restrict takes the verdict.
	Restrict(id site.ID, d line.Direction, v line.Verdict)
}

// Pool holds the lines of all sites that somebody in a meeting is behind.
type Pool struct {
	ledger Ledger
	woken  chan struct{}

	mu    sync.Mutex // guards all below; the ledger is not called with it held
	lines map[key]*direction
}

type key struct {
	site      site.ID
	direction line.Direction
}

// direction is one direction of one line and who shows what it does.
type direction struct {
	key     key
	paths   []*path
	senders []*Sender
	control Control
	told    line.Verdict
	padded  time.Time
	owed    float64 // octets of padding
}

// NewPool makes a pool; nothing runs before Run.
func NewPool(l Ledger) *Pool {
	return &Pool{ledger: l, woken: make(chan struct{}, 1), lines: map[key]*direction{}}
}

// Sender makes one for a subscriber's connection, which takes part once it is moved to a site. pad sends up to so many octets of
// padding over it, or a little more, and returns how many; it is called without locks held. Close it.
func (p *Pool) Sender(pad func(octets int) int) *Sender {
	return &Sender{pool: p, pad: pad, path: &path{}}
}

// Source makes one for a publisher, which takes part once it is moved to a site. Close it.
func (p *Pool) Source() *Source { return &Source{pool: p, path: &path{}} }

// direction returns a line's one, a new one if need be; the caller holds mu. Ids come from the configuration.
func (p *Pool) direction(id site.ID, d line.Direction) *direction {
	k := key{id, d}
	if p.lines[k] == nil {
		p.lines[k] = &direction{key: k}
	}
	return p.lines[k]
}

func (s *Sender) leave() {
	if d := s.pool.lines[key{s.site, line.Down}]; d != nil {
		d.senders = slices.DeleteFunc(d.senders, func(o *Sender) bool { return o == s })
		d.paths = slices.DeleteFunc(d.paths, func(o *path) bool { return o == s.path })
	}
}

func (s *Source) leave() {
	if d := s.pool.lines[key{s.site, line.Up}]; d != nil {
		d.paths = slices.DeleteFunc(d.paths, func(o *path) bool { return o == s.path })
	}
}

func (p *Pool) wake() {
	select {
	case p.woken <- struct{}{}:
	default: // it is awake
	}
}

// Run looks at every line ten times a second, as long as there is one to look at, until ctx ends.
func (p *Pool) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.woken:
		}
		p.watch(ctx)
	}
}

// watch runs until nothing is left to look at.
func (p *Pool) watch(ctx context.Context) {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	var looked time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-timer.C:
			if now.Sub(looked) >= lookEvery {
				looked = now
				if !p.Look(now) {
					return
				}
			}
			next := lookEvery - now.Sub(looked)
			if p.pad(now) {
				next = padEvery
			}
			timer.Reset(next)
		}
	}
}

// Look judges every line anew; false: there is nothing to look at any more. It is called by Run, and by tests.
func (p *Pool) Look(now time.Time) bool {
	p.mu.Lock()
	list := make([]*direction, 0, len(p.lines))
	for _, d := range p.lines {
		list = append(list, d)
	}
	p.mu.Unlock()
	busy := false
	for _, d := range list {
		if p.lookAt(d, now) {
			busy = true
		}
	}
	return busy
}

func (p *Pool) lookAt(d *direction, now time.Time) bool {
	load, ok := p.ledger.Load(d.key.site, d.key.direction)
	if !ok {
		return false
	}
	p.mu.Lock()
	senders := slices.Clone(d.senders)
	p.mu.Unlock()
	var capped int64
	sends := false
	for _, s := range senders {
		capped += s.capped(now)
		sends = s.sends(now) || sends
	}
	p.mu.Lock()
	in := input{
		now: now, signal: d.signal(now, sends), offered: load.Measured, given: load.Given, ceiling: load.Usable,
		pads: len(senders) > 0 && d.key.direction == line.Down,
	}
	in.signal.capped = capped
	in.wanted = float64(load.Given) >= wantedShare*float64(d.control.limit)
	d.control.look(in)
	if d.control.rebase {
		for _, q := range d.paths {
			q.rebase()
		}
	}
	verdict := d.control.verdict()
	changed := verdict != d.told
	d.told = verdict
	busy := len(d.paths) > 0 || verdict != (line.Verdict{})
	p.mu.Unlock()
	if changed {
		p.ledger.Restrict(d.key.site, d.key.direction, verdict)
	}
	return busy
}

// wantedShare of a limit given out: pictures come in steps, so that nobody uses the last bit.
const wantedShare = 0.7

// signal pools the paths: what one alone suffers is not the line's. The pool is locked.
func (d *direction) signal(now time.Time, sends bool) signal {
	s := signal{gone: true}
	var heard time.Time
	recent := false
	for _, q := range d.paths {
		if !q.heard.IsZero() {
			s.gone = false
		}
		if q.heard.After(heard) {
			heard = q.heard
		}
		if queue, ok := q.standing(now); ok && (!s.known || queue < s.queue) {
			s.known, s.queue, s.growth = true, queue, q.growth(now)
		}
		if loss, ok := q.loss(now, lossSlots, lossLeast); ok && (!s.lost || loss < s.loss) {
			s.lost, s.loss = true, loss
		}
		if loss, ok := q.loss(now, recentSlots, recentLeast); ok && (!recent || loss < s.recent) {
			recent, s.recent = true, loss
		}
	}
	s.silent = !s.gone && sends && now.Sub(heard) > silentTime
	return s
}

// verdict is what the ledger is told: rounded, so that it hears of changes only.
func (c *Control) verdict() line.Verdict {
	return line.Verdict{
		Limit: c.limit / 1000 * 1000, Alarm: c.alarm.Reason, Since: c.alarm.Since,
		LossPercent: float64(int(c.loss * 100)), Queue: c.last.queue.Truncate(10 * time.Millisecond),
	}
}

// pad sends what probes ask for; false: there is none under way.
func (p *Pool) pad(now time.Time) bool {
	type job struct {
		senders []*Sender
		octets  int
	}
	var jobs []job
	p.mu.Lock()
	probing := false
	for _, d := range p.lines {
		rate := d.control.padding
		if rate == 0 {
			d.padded, d.owed = time.Time{}, 0
			continue
		}
		probing = true
		if !d.padded.IsZero() {
			d.owed += float64(rate) / 8 * min(now.Sub(d.padded), 2*padEvery).Seconds()
		}
		d.padded = now
		if whole := int(d.owed); whole > 0 {
			d.owed -= float64(whole)
			jobs = append(jobs, job{slices.Clone(d.senders), whole})
		}
	}
	p.mu.Unlock()
	for _, j := range jobs {
		for _, s := range j.senders {
			if j.octets <= 0 || s.pad == nil {
				break
			}
			j.octets -= s.pad(j.octets)
		}
	}
	return probing
}
