package stack

import (
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// machine is the state machine of a server transaction: inviteTx or plainTx.
type machine interface {
	// Receive takes a retransmission, or the ACK of a failed INVITE.
	Receive(req *sip.Request) error
	Respond(res *sip.Response) error
	Done() <-chan struct{}
	Terminate()
}

// plainTx is the non-INVITE server transaction of RFC 3261 §17.2.2. It has no timer of its own: Timer J and the guard are
// entries of the stack's queue, and what it repeats is the text that it sent: at the rate of a registration storm timers,
// channels and parsed messages that are kept for 32 s cost more than the registration itself.
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
	expiryGuard = iota // nobody has answered the request
	expiryEnd          // Timer J, L or I
)

// expiries ends server transactions after a time that is the same for all of a queue, which is in order by itself
// therefore, and one timer serves all. An entry names its transaction by key and number and holds nothing of it.
//
//	Stack.expiries    64*T1  guard of plain transactions, Timers J and L
//	Stack.confirmed   T4     Timer I
type expiries struct {
	stack *Stack
	life  time.Duration

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

func newExpiries(s *Stack, life time.Duration) *expiries { return &expiries{stack: s, life: life} }

func (e *expiries) add(t *ServerTx, kind int) {
	entry := expiry{time.Now().Add(e.life), t.key, t.id, kind}
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
		switch {
		case t == nil || t.id != entry.id:
		case entry.kind == expiryEnd:
			t.tx.Terminate()
		case t.Final() == 0:
			t.expire()
		}
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
