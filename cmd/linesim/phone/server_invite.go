package phone

import (
	"context"
	"errors"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/cmd/linesim/tone"
)

// Retransmission of a 2xx by the UAS core (RFC 3261 §13.3.1.4).
const (
	answerT1     = 500 * time.Millisecond
	answerT2     = 4 * time.Second
	answerGiveUp = 32 * time.Second
)

var errBadRequest = errors.New("mandatory header missing")

// request is called by sipgo for every incoming request, each on its own goroutine.
func (p *Phone) request(req *sip.Request, tx *sip.ServerTx) {
	defer tx.TerminateGracefully() // RFC 3261 §17.2: leaves timers running where they are needed
	if req.From() == nil || req.To() == nil || req.CallID() == nil || req.CSeq() == nil {
		p.cfg.Log.Debug("request refused", "error", errBadRequest)
		p.respond(req, tx, sip.StatusBadRequest, "Bad Request")
		return
	}
	call := p.dialog(req.CallID().Value())
	switch req.Method {
	case sip.ACK:
		if call != nil {
			call.acknowledged(req.Body())
		}
	case sip.INVITE:
		p.incoming(req, tx, call)
	case sip.BYE:
		if call == nil {
			p.respond(req, tx, sip.StatusCallTransactionDoesNotExists, "Call/Transaction Does Not Exist")
			return
		}
		p.respond(req, tx, sip.StatusOK, "OK")
		call.finish(ByPeer)
	case sip.UPDATE:
		p.update(req, tx, call)
	case sip.CANCEL: // only those without an INVITE arrive here
		p.respond(req, tx, sip.StatusCallTransactionDoesNotExists, "Call/Transaction Does Not Exist")
	case sip.OPTIONS, sip.INFO, sip.MESSAGE:
		p.respond(req, tx, sip.StatusOK, "OK")
	case sip.NOTIFY:
		code, reason := p.notified(req)
		p.respond(req, tx, code, reason)
	default:
		p.respond(req, tx, sip.StatusMethodNotAllowed, "Method Not Allowed")
	}
}

func (p *Phone) respond(req *sip.Request, tx *sip.ServerTx, code int, reason string) {
	res := sip.NewResponseFromRequest(req, code, reason, nil)
	res.AppendHeader(sip.NewHeader("Allow", allow))
	p.send(tx, res)
}

func (p *Phone) send(tx *sip.ServerTx, res *sip.Response) {
	if err := tx.Respond(res); err != nil && !errors.Is(err, sip.ErrTransactionCanceled) {
		p.cfg.Log.Debug("answering", "code", res.StatusCode, "error", err)
	}
}

// incoming handles a new call, or a new offer inside a known one.
func (p *Phone) incoming(req *sip.Request, tx *sip.ServerTx, call *Call) {
	if req.To().Params.Has("tag") {
		if call == nil {
			p.respond(req, tx, sip.StatusCallTransactionDoesNotExists, "Call/Transaction Does Not Exist")
			return
		}
		call.learnPeer(req)
		p.reinvite(req, tx, call)
		return
	}
	p.mu.Lock()
	refuse := p.closed
	p.mu.Unlock()
	if refuse {
		p.respond(req, tx, sip.StatusTemporarilyUnavailable, "Switched Off")
		return
	}
	// One To tag for all answers: sipgo would draw a new one for each.
	req.To().Params.Add("tag", newToken(6))
	p.ring(req, tx)
}

// ring alerts, waits as long as the owner wants, and gives the owner's answer.
func (p *Phone) ring(req *sip.Request, tx *sip.ServerTx) {
	cancelled := make(chan struct{})
	if !tx.OnCancel(func(*sip.Request) { close(cancelled) }) {
		return
	}
	ringing := sip.NewResponseFromRequest(req, sip.StatusRinging, "Ringing", nil)
	contact := p.contact()
	ringing.AppendHeader(&contact)
	p.send(tx, ringing)
	reaction := Reaction{}
	if p.cfg.Answer != nil {
		reaction = p.cfg.Answer(Ring{From: req.From().Address.User, Header: func(name string) string {
			if h := req.GetHeader(name); h != nil {
				return h.Value()
			}
			return ""
		}})
	}
	var ringFor <-chan time.Time
	if reaction.RingFor >= 0 {
		timer := time.NewTimer(reaction.RingFor)
		defer timer.Stop()
		ringFor = timer.C
	}
	select {
	case <-cancelled: // sipgo has sent 487
		return
	case <-tx.Done():
		return
	case <-ringFor:
	}
	if reaction.Code != 0 && reaction.Code != sip.StatusOK {
		p.respond(req, tx, reaction.Code, reasonOf(reaction.Code))
		<-tx.Done() // the ACK to a refusal must find its transaction, over streams too
		return
	}
	p.accepting(req, tx, reaction.Sound)
}

// accepting answers a call with 200 and repeats it until the ACK has come.
func (p *Phone) accepting(req *sip.Request, tx *sip.ServerTx, sound Sound) {
	call, err := p.newCall(req.CallID().Value(), req.From().Address.User, false, sound)
	if err != nil {
		p.cfg.Log.Warn("no media for an incoming call", "error", err)
		p.respond(req, tx, sip.StatusInternalServerError, "No Media")
		return
	}
	call.takeDialog(req)
	if len(req.Body()) > 0 {
		if err := call.adopt(req.Body()); err != nil {
			call.finish(ByUs)
			p.respond(req, tx, sip.StatusNotAcceptableHere, "Not Acceptable Here")
			return
		}
		call.mu.Lock()
		call.session.laws = []tone.Law{call.law} // an answer names what will be used (RFC 3264 §6.1)
		call.mu.Unlock()
	}
	p.remember(call)
	call.Answered = time.Now()
	res := call.ok(req, call.description())
	p.send(tx, res)
	if p.cfg.OnCall != nil {
		p.cfg.OnCall(call)
	}
	p.repeatUntilACK(call, tx, res)
}

func (p *Phone) repeatUntilACK(call *Call, tx *sip.ServerTx, res *sip.Response) {
	call.mu.Lock()
	acked := call.acked
	call.mu.Unlock()
	limit := time.NewTimer(answerGiveUp)
	defer limit.Stop()
	wait := answerT1
	again := time.NewTimer(wait)
	defer again.Stop()
	for {
		select {
		case <-acked:
			return
		case <-call.done:
			return
		case <-limit.C:
			call.finish(ByLoss)
			return
		case <-again.C:
			p.send(tx, res)
			wait = min(2*wait, answerT2)
			again.Reset(wait)
		}
	}
}

// takeDialog fills the dialog state of a callee (RFC 3261 §12.1.1).
func (c *Call) takeDialog(req *sip.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = established
	from, to := req.From(), req.To()
	c.local = sip.FromHeader{DisplayName: to.DisplayName, Address: *to.Address.Clone(), Params: to.Params.Clone()}
	c.remote = sip.ToHeader{DisplayName: from.DisplayName, Address: *from.Address.Clone(), Params: from.Params.Clone()}
	if contact := req.Contact(); contact != nil {
		c.target = *contact.Address.Clone()
	}
	c.routes = routeSet(req.GetHeaders("Record-Route"), false)
	c.peerSeq = req.CSeq().SeqNo
}

// description is our current session description.
func (c *Call) description() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session.marshal()
}

// ok builds a 200 with our description.
func (c *Call) ok(req *sip.Request, body []byte) *sip.Response {
	res := sip.NewSDPResponseFromRequest(req, body)
	contact := c.phone.contact()
	res.AppendHeader(&contact)
	res.AppendHeader(sip.NewHeader("Allow", allow))
	return res
}

// acknowledged notes the ACK to our 200, and the answer it carries when that 200 made the offer (RFC 3261 §13.2.1).
func (c *Call) acknowledged(body []byte) {
	c.mu.Lock()
	first := false
	select {
	case <-c.acked:
	default:
		first = true
		close(c.acked)
	}
	c.mu.Unlock()
	if !first || len(body) == 0 {
		return
	}
	if err := c.adopt(body); err != nil {
		c.phone.cfg.Log.Debug("answer in ACK", "error", err)
		if err := c.Hangup(context.Background()); err != nil { // nothing to talk with
			c.phone.cfg.Log.Debug("hanging up", "error", err)
		}
	}
}

// reinvite answers a new offer, or makes one when the INVITE has none (RFC 3264 §8, RFC 3261 §14.2).
func (p *Phone) reinvite(req *sip.Request, tx *sip.ServerTx, call *Call) {
	res, err := call.answerOffer(req)
	if err != nil {
		p.respond(req, tx, sip.StatusNotAcceptableHere, "Not Acceptable Here")
		return
	}
	call.mu.Lock()
	call.acked = make(chan struct{})
	call.mu.Unlock()
	p.send(tx, res)
	p.repeatUntilACK(call, tx, res)
}

func (p *Phone) update(req *sip.Request, tx *sip.ServerTx, call *Call) {
	if call == nil {
		p.respond(req, tx, sip.StatusCallTransactionDoesNotExists, "Call/Transaction Does Not Exist")
		return
	}
	call.learnPeer(req)
	if len(req.Body()) == 0 {
		p.respond(req, tx, sip.StatusOK, "OK")
		return
	}
	res, err := call.answerOffer(req)
	if err != nil {
		p.respond(req, tx, sip.StatusNotAcceptableHere, "Not Acceptable Here")
		return
	}
	p.send(tx, res)
}

func (c *Call) answerOffer(req *sip.Request) (*sip.Response, error) {
	c.mu.Lock()
	c.session.version++
	c.session.direction = "sendrecv"
	if contact := req.Contact(); contact != nil { // target refresh (RFC 3261 §12.2.2)
		c.target = *contact.Address.Clone()
	}
	c.mu.Unlock()
	if len(req.Body()) > 0 {
		media, err := parseSDP(req.Body())
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		c.session.direction = mirror(media.direction)
		c.mu.Unlock()
		if err := c.adopt(req.Body()); err != nil {
			return nil, err
		}
	}
	return c.ok(req, c.description()), nil
}

func reasonOf(code int) string {
	switch code {
	case sip.StatusBusyHere:
		return "Busy Here"
	case sip.StatusTemporarilyUnavailable:
		return "Temporarily Unavailable"
	case sip.StatusGlobalDecline:
		return "Decline"
	}
	return "Refused"
}
