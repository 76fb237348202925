package stack

import (
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// machine is the state machine of a server transaction: sipgo's for INVITE (RFC 3261 §17.2.1, RFC 6026), plainTx for
// anything else.
type machine interface {
	// Receive takes a retransmission, or the ACK of a failed INVITE.
	Receive(req *sip.Request) error
	Respond(res *sip.Response) error
	Done() <-chan struct{}
	Terminate()
}

// plainTx is the non-INVITE server transaction of RFC 3261 §17.2.2. It has no timer of its own: Timer J and the guard are
// entries of the stack's queue, and what it repeats is the text that it sent. At the rate of a registration storm the
// general machine, with its timers, its channels and the parsed messages that it keeps for 32 s, costs more than the
// registration itself.
type plainTx struct {
	t *ServerTx

	mu    sync.Mutex // guards the fields below
	last  []byte     // the last response, over UDP
	ended bool
	done  chan struct{} // made when somebody asks
}

var _ machine = (*plainTx)(nil)

// Receive repeats the last response; before there is one the request is absorbed.
func (p *plainTx) Receive(*sip.Request) error {
	p.mu.Lock()
	last := p.last
	p.mu.Unlock()
	if last == nil {
		return nil
	}
	return p.t.out.writeRaw(last)
}

// Respond sends a response. A final one ends the transaction after Timer J: at once over streams, which lose nothing.
func (p *plainTx) Respond(res *sip.Response) error {
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return ErrFlowGone
	}
	p.mu.Unlock()
	text, err := p.t.out.text(res)
	datagram := p.t.out.conn == nil
	if datagram && err == nil { // before it leaves: a copy of the request may be here before we go on
		p.mu.Lock()
		p.last = text
		p.mu.Unlock()
	}
	if text != nil {
		err = p.t.out.writeRaw(text)
	}
	switch {
	case err != nil:
		p.Terminate()
		return err
	case res.IsProvisional():
	case datagram:
		p.t.stack.expiries.add(p.t, expiryEnd)
	default:
		p.Terminate()
	}
	return nil
}

// Done is closed when the transaction has ended.
func (p *plainTx) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done == nil {
		p.done = make(chan struct{})
		if p.ended {
			close(p.done)
		}
	}
	return p.done
}

// Terminate ends the transaction.
func (p *plainTx) Terminate() {
	p.mu.Lock()
	first := !p.ended
	p.ended = true
	if first && p.done != nil {
		close(p.done)
	}
	p.mu.Unlock()
	if first {
		p.t.stack.servers.drop(p.t)
	}
}

// What is due.
const (
	expiryGuard = iota // nobody has answered the request (RFC 4320 §4.2: it gets no 408)
	expiryEnd          // Timer J
)

// expiries ends plain transactions. Guard and Timer J are both 64*T1 (sip.Timer_F, sip.Timer_J), so a queue is in order by
// itself, and one timer serves all. An entry names its transaction by key and number and holds nothing of it.
type expiries struct {
	stack *Stack

	mu    sync.Mutex // guards the fields below
	queue []expiry
	head  int
	timer *time.Timer
	armed bool
}

type expiry struct {
	at   time.Time
	key  string
	id   uint64
	kind int
}

func newExpiries(s *Stack) *expiries { return &expiries{stack: s} }

func (e *expiries) add(t *ServerTx, kind int) {
	life := sip.Timer_J
	if kind == expiryGuard {
		life = sip.Timer_F
	}
	entry := expiry{time.Now().Add(life), t.key, t.id, kind}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue = append(e.queue, entry)
	e.arm()
}

// arm sets the timer for the head of the queue; mu is held.
func (e *expiries) arm() {
	if e.armed || e.head == len(e.queue) {
		return
	}
	e.armed = true
	// A quarter of a second later than the first: what has come due meanwhile goes with it.
	wait := time.Until(e.queue[e.head].at) + 250*time.Millisecond
	if e.timer == nil {
		e.timer = time.AfterFunc(wait, e.due)
		return
	}
	e.timer.Reset(wait)
}

func (e *expiries) due() {
	for {
		e.mu.Lock()
		if e.head == len(e.queue) || e.queue[e.head].at.After(time.Now()) {
			e.armed = false
			e.compact()
			e.arm()
			e.mu.Unlock()
			return
		}
		entry := e.queue[e.head]
		e.queue[e.head] = expiry{}
		e.head++
		e.mu.Unlock()
		t := e.stack.servers.get(entry.key)
		if t == nil || t.id != entry.id || entry.kind == expiryGuard && t.Final() != 0 {
			continue
		}
		t.tx.Terminate()
	}
}

// compact gives the memory of a burst back; mu is held.
func (e *expiries) compact() {
	if e.head < 1024 || e.head < len(e.queue)/2 {
		return
	}
	e.queue = append(make([]expiry, 0, len(e.queue)-e.head), e.queue[e.head:]...)
	e.head = 0
}

func (e *expiries) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.timer != nil {
		e.timer.Stop()
	}
	e.armed = true // nothing is due any more
}
