package stack

import (
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// inviteTx is the INVITE server transaction of RFC 3261 §17.2.1 with the state that RFC 6026 §7.1 adds:
//
//	             300+                ACK                  Timer I
//	proceeding ────────► completed ────────► confirmed ──────────► ended
//	    │                    │ Timer H ► ended
//	    │ 2xx                                             Timer L
//	    └────────────────────────────────► accepted ──────────────► ended
//
// It repeats the text that it sent. Its one timer serves the 100 that nobody sent, the guard (Limits.HandlerTime), Timer G
// and Timer H; Timers I and L are entries of the stack's queues. Over streams, which lose nothing, Timer I is zero and
// there is no Timer G.
type inviteTx struct {
	t *ServerTx

	mu    sync.Mutex // guards the fields below; held while a response leaves, so that none overtakes another
	state inviteState
	last  []byte // the last response
	timer *time.Timer
	pause time.Duration // Timer G
	limit time.Time     // the guard, then Timer H
	done  chan struct{}
}

type inviteState uint8

const (
	inviteProceeding inviteState = iota
	inviteCompleted
	inviteConfirmed
	inviteAccepted
	inviteEnded
)

var _ machine = (*inviteTx)(nil)

func newInviteTx(t *ServerTx) *inviteTx {
	return &inviteTx{t: t, done: make(chan struct{}), limit: time.Now().Add(t.stack.limits.HandlerTime)}
}

// start is called once, when the transaction can be found.
func (p *inviteTx) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(sip.Timer_1xx, p.tick)
	if p.state == inviteEnded { // the stack has stopped meanwhile
		p.timer.Stop()
	}
}

// Receive takes a repeated INVITE, which gets the last response again, or the ACK of a failed one. After a 2xx repeated
// INVITEs are absorbed: whoever sent the 2xx repeats it.
func (p *inviteTx) Receive(req *sip.Request) error {
	p.mu.Lock()
	switch {
	case req.IsAck() && p.state == inviteCompleted:
		p.state, p.last = inviteConfirmed, nil
		p.timer.Stop()
		p.mu.Unlock()
		if p.t.out.conn != nil {
			p.Terminate()
			return nil
		}
		p.t.stack.confirmed.add(p.t, expiryEnd)
		return nil
	case !req.IsAck() && p.last != nil && (p.state == inviteProceeding || p.state == inviteCompleted):
		defer p.mu.Unlock()
		return p.t.out.writeRaw(p.last)
	}
	p.mu.Unlock()
	return nil
}

// Respond sends a response. A 2xx that could not leave over UDP leaves the transaction as it is: it will be repeated.
func (p *inviteTx) Respond(res *sip.Response) error {
	p.mu.Lock()
	again := p.state == inviteAccepted && res.IsSuccess()
	if p.state != inviteProceeding && !again {
		ended := p.state == inviteEnded
		p.mu.Unlock()
		if ended {
			return ErrFlowGone
		}
		return nil
	}
	text, err := p.t.out.send(res)
	stays := res.IsSuccess() && p.t.out.conn == nil
	if err == nil || stays {
		p.sent(res, text, again)
	}
	p.mu.Unlock()
	if err != nil && !stays {
		p.Terminate()
	}
	return err
}

// sent is the state after a response; mu is held.
func (p *inviteTx) sent(res *sip.Response, text []byte, again bool) {
	switch {
	case again:
	case res.IsProvisional():
		p.last = text
		p.timer.Reset(time.Until(p.limit))
	case res.IsSuccess():
		p.state, p.last = inviteAccepted, nil
		p.timer.Stop()
		p.t.stack.expiries.add(p.t, expiryEnd) // Timer L is 64*T1 like Timer J
	default:
		p.state, p.last = inviteCompleted, text
		p.limit = time.Now().Add(sip.Timer_H)
		p.pause = sip.Timer_G
		if p.t.out.conn != nil {
			p.pause = sip.Timer_H
		}
		p.timer.Reset(p.pause)
	}
}

// tick does what is due.
func (p *inviteTx) tick() {
	p.mu.Lock()
	over := !p.limit.After(time.Now())
	switch {
	case p.state == inviteProceeding && over:
		p.mu.Unlock()
		p.t.expire()
		return
	case p.state == inviteProceeding:
		p.trying()
		p.timer.Reset(time.Until(p.limit))
	case p.state == inviteCompleted && over:
		p.mu.Unlock()
		p.Terminate()
		return
	case p.state == inviteCompleted:
		_ = p.t.out.writeRaw(p.last) // repeated until the ACK
		p.pause = min(2*p.pause, sip.T2)
		p.timer.Reset(min(p.pause, time.Until(p.limit)))
	}
	p.mu.Unlock()
}

// trying says 100 when nobody has said anything (RFC 3261 §17.2.1): the peer must not think that the INVITE was lost. mu is
// held.
func (p *inviteTx) trying() {
	if p.last != nil {
		return
	}
	text, err := p.t.out.send(p.t.stack.newResponse(p.t.req, p.t.tag, sip.StatusTrying, "Trying"))
	if err == nil {
		p.last = text // else the peer repeats its INVITE
	}
}

// Done is closed when the transaction has ended.
func (p *inviteTx) Done() <-chan struct{} { return p.done }

// Terminate ends the transaction.
func (p *inviteTx) Terminate() {
	p.mu.Lock()
	first := p.state != inviteEnded
	p.state, p.last = inviteEnded, nil
	if p.timer != nil {
		p.timer.Stop()
	}
	if first {
		close(p.done)
	}
	p.mu.Unlock()
	if first {
		p.t.stack.servers.drop(p.t)
	}
}
