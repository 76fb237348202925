package stack

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// responseBuffer bounds the responses a transaction keeps for a slow reader;
// when it is full the oldest provisional response is dropped, never a final one.
const responseBuffer = 32

// ClientTx is a client transaction (RFC 3261 §17.1, RFC 6026). Read Responses
// until it is closed, or call Terminate. It has one timer and no goroutine:
// fifty calls a second and their lamps are thousands of transactions that only
// wait for the end of their Timer M.
//
//	            1xx                2xx, INVITE              64*T1
//	calling ─────────► proceeding ─────────────► accepted ────────► ended
//	   │ Timer A, E       │ Timer C, E  300+, INVITE: ACK     Timer D
//	   │ Timer B, F       └─────────────────────► completed ─────► ended
//	   └─► ended                       other methods: Timer K
//
// Timer M, D and K are zero where the transport loses nothing, but for Timer M.
type ClientTx struct {
	stack *Stack
	key   string
	req   *sip.Request
	flow  Flow
	way   *outlet
	take  Taker              // instead of out
	out   chan *sip.Response // nil with take

	mu          sync.Mutex // guards the fields below; not held over take
	text        []byte     // of the request over UDP, as long as it may be repeated
	ack         []byte     // of a failed INVITE
	provisional bool
	final       int // status code, 0 before
	ended       bool
	done        chan struct{} // made when somebody asks
	wantCancel  bool
	cancelWith  []sip.Header // of the CANCEL, besides RFC 3261 §9.1's
	cancelSent  bool
	err         error
	timer       *time.Timer
	again       time.Time     // Timer A or E; zero: it is not repeated any more
	pause       time.Duration // after again
	limit       time.Time     // Timer B, F, C, D, K or M, whichever runs
	unwatch     func() bool   // of the context
}

// Request sends req over the flow in a new client transaction. The stack takes
// req: it adds the top Via, gives Max-Forwards and Expires values of their own
// (clones of a message share them), and keeps it; forks send one clone each. UDP
// leaves from via.Local. A stream flow uses its live connection and opens none:
// ErrFlowGone (see Dial). When ctx ends, the transaction is terminated without a
// word to the peer; use Cancel for that.
func (s *Stack) Request(ctx context.Context, req *sip.Request, via Flow) (*ClientTx, error) {
	return s.RequestTo(ctx, req, via, nil)
}

// Taker gets the responses of a transaction in order, and once (nil, error) when it
// ends without a final one. It is called by whoever reads the socket, or from inside
// of Terminate and Cancel, possibly before RequestTo returns, and must not block
// before r.Leave. r is nil for whoever does not read a socket.
type Taker func(res *sip.Response, err error, r *Reading)

// RequestTo is Request for a caller that wants no channel but a call.
func (s *Stack) RequestTo(ctx context.Context, req *sip.Request, via Flow, take Taker) (*ClientTx, error) {
	if req.IsAck() {
		return nil, errors.New("an ACK is no transaction: use Send")
	}
	out, err := s.outletFor(via)
	if err != nil {
		return nil, fmt.Errorf("%s over %s: %w", req.Method, via, err)
	}
	s.prepare(req, via, "")
	return s.start(ctx, req, out, take)
}

// start runs a prepared request, which has its Via already.
func (s *Stack) start(ctx context.Context, req *sip.Request, way *outlet, take Taker) (*ClientTx, error) {
	key, err := clientKey(req)
	if err != nil {
		return nil, err
	}
	t := &ClientTx{stack: s, key: key, req: req, flow: way.flow, way: way, take: take}
	if take == nil {
		t.out = make(chan *sip.Response, responseBuffer)
	}
	if !s.clients.put(t) {
		return nil, fmt.Errorf("%s over %s: %w", req.Method, way.flow, ErrClosed)
	}
	if err := t.begin(ctx); err != nil {
		t.mu.Lock()
		t.take = nil // whoever asked hears it from us
		t.mu.Unlock()
		t.end(err)
		return nil, fmt.Errorf("%s over %s: %w", req.Method, way.flow, err)
	}
	return t, nil
}

// begin sends the request. The timers run before it leaves: a response may be faster than we are.
func (t *ClientTx) begin(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.limit = now.Add(sip.Timer_B)
	if t.way.conn == nil {
		t.pause = sip.Timer_A
		t.again = now.Add(t.pause)
	}
	t.arm(now)
	if ctx.Done() != nil {
		t.unwatch = context.AfterFunc(ctx, func() { t.end(context.Cause(ctx)) })
	}
	text, err := t.way.send(t.req)
	if t.way.conn == nil {
		t.text = text
	}
	return err
}

// Responses delivers the responses in order and is closed at the end of the
// transaction: some time after a final response (so that repeated ones are
// absorbed), after Terminate, or when it failed (see Err).
func (t *ClientTx) Responses() <-chan *sip.Response { return t.out }

// Done is closed when the transaction has ended.
func (t *ClientTx) Done() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		t.done = make(chan struct{})
		if t.ended {
			close(t.done)
		}
	}
	return t.done
}

// Err says why the transaction ended without a final response: ErrTimeout,
// ErrFlowGone, ErrClosed, the context's error, or nil.
func (t *ClientTx) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.final != 0 {
		return nil
	}
	return t.err
}

// Origin is the request as sent.
func (t *ClientTx) Origin() *sip.Request { return t.req }

// Flow is where the request left.
func (t *ClientTx) Flow() Flow { return t.flow }

// Terminate ends the transaction without a word to the peer. It is idempotent
// and must be called when Responses is no longer read.
func (t *ClientTx) Terminate() { t.end(nil) }

// Cancel asks the peer to give up an INVITE (RFC 3261 §9.1): at once when a
// provisional response has come, otherwise as soon as one comes; not at all
// when the final response is faster. The final response still arrives on
// Responses; without one the transaction ends after 64*T1 with ErrTimeout. The CANCEL carries
// the given headers as well, like Reason (RFC 3326).
func (t *ClientTx) Cancel(ctx context.Context, with ...sip.Header) error {
	if !t.req.IsInvite() {
		return fmt.Errorf("%s cannot be cancelled", t.req.Method)
	}
	t.mu.Lock()
	t.wantCancel, t.cancelWith = true, with
	send := t.provisional && t.final == 0 && !t.cancelSent
	t.cancelSent = t.cancelSent || send
	t.mu.Unlock()
	if !send {
		return nil
	}
	return t.sendCancel(ctx)
}

// sendCancel starts the CANCEL's own transaction and absorbs its answer.
func (t *ClientTx) sendCancel(_ context.Context) error {
	t.mu.Lock()
	now := time.Now()
	t.limit = now.Add(sip.Timer_B)
	t.arm(now)
	with := t.cancelWith
	t.mu.Unlock()
	out, err := t.stack.outletFor(t.flow)
	if err != nil {
		t.end(err)
		return fmt.Errorf("CANCEL over %s: %w", t.flow, err)
	}
	// The CANCEL outlives the caller's context: a caller that has gone away is
	// the usual reason to send one.
	cancel := newCancel(t.req)
	for _, h := range with {
		cancel.AppendHeader(h)
	}
	_, err = t.stack.start(t.stack.ctx, cancel, out, func(*sip.Response, error, *Reading) {}) //nolint:contextcheck // see above
	return err
}

// newCancel follows RFC 3261 §9.1: same Request-URI, Via, From, To, Call-ID,
// CSeq number and Route as the request it cancels.
func newCancel(invite *sip.Request) *sip.Request {
	c := sip.NewRequest(sip.CANCEL, *invite.Recipient.Clone())
	c.AppendHeader(invite.Via().Clone())
	sip.CopyHeaders("Route", invite, c)
	c.AppendHeader(sip.HeaderClone(invite.From()))
	c.AppendHeader(sip.HeaderClone(invite.To()))
	c.AppendHeader(sip.HeaderClone(invite.CallID()))
	c.AppendHeader(&sip.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: sip.CANCEL})
	hops := sip.MaxForwardsHeader(defaultMaxForwards)
	c.AppendHeader(&hops)
	c.SetBody(nil)
	c.SetTransport(invite.Transport())
	return c
}

// newAck follows RFC 3261 §17.1.1.3: the ACK of an INVITE that failed.
func newAck(invite *sip.Request, res *sip.Response) *sip.Request {
	a := sip.NewRequest(sip.ACK, *invite.Recipient.Clone())
	a.AppendHeader(invite.Via().Clone())
	sip.CopyHeaders("Route", invite, a)
	hops := sip.MaxForwardsHeader(defaultMaxForwards)
	a.AppendHeader(&hops)
	a.AppendHeader(sip.HeaderClone(invite.From()))
	a.AppendHeader(sip.HeaderClone(res.To()))
	a.AppendHeader(sip.HeaderClone(invite.CallID()))
	a.AppendHeader(&sip.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: sip.ACK})
	a.SetBody(nil)
	a.SetTransport(invite.Transport())
	return a
}

// receive takes a response from the network. It runs on the reading goroutine, in order of arrival.
func (t *ClientTx) receive(res *sip.Response, r *Reading) {
	t.mu.Lock()
	switch {
	case t.ended, t.final >= 200 && t.final < 300 && t.req.IsInvite() && res.IsSuccess():
		t.mu.Unlock()
		t.stack.strayResponse(res, t.flow, r)
	case t.final != 0:
		ack := t.ack
		t.mu.Unlock()
		if ack != nil && res.StatusCode >= 300 {
			_ = t.way.writeRaw(ack) // the peer asks again when it is lost
		}
	case res.IsProvisional():
		t.proceed(res, r)
	default:
		t.complete(res, r)
	}
}

// proceed takes a provisional response; it is called with mu held and releases it.
func (t *ClientTx) proceed(res *sip.Response, r *Reading) {
	t.provisional = true
	cancel := t.wantCancel && !t.cancelSent
	t.cancelSent = t.cancelSent || cancel
	if t.req.IsInvite() {
		t.again, t.text = time.Time{}, nil
		if !t.cancelSent {
			now := time.Now()
			t.limit = now.Add(t.stack.limits.TimerC) // RFC 3261 §16.6 step 11
			t.arm(now)
		}
	} else {
		t.pause = sip.T2 // RFC 3261 §17.1.2.2: from the next repetition on
	}
	t.passLocked(res)
	take := t.take
	t.mu.Unlock()
	if take != nil {
		take(res, nil, r)
	}
	if cancel {
		_ = t.sendCancel(t.stack.ctx) // a lost flow ends the transaction by itself
	}
}

// complete takes the final response; it is called with mu held and releases it.
func (t *ClientTx) complete(res *sip.Response, r *Reading) {
	t.final = res.StatusCode
	t.again, t.text = time.Time{}, nil
	stay := sip.Timer_K
	var ack *sip.Request
	switch {
	case t.req.IsInvite() && res.IsSuccess():
		stay = sip.Timer_M // also over streams: 2xx of other forks are still ours
	case t.req.IsInvite():
		stay, ack = sip.Timer_D, newAck(t.req, res)
		fallthrough
	default:
		if t.way.conn != nil {
			stay = 0
		}
	}
	if stay > 0 {
		now := time.Now()
		t.limit = now.Add(stay)
		t.arm(now)
	}
	if ack != nil {
		if text, err := t.way.send(ack); err == nil { // else the peer repeats its response
			t.ack = text
		}
	}
	t.passLocked(res)
	take := t.take
	t.mu.Unlock()
	if take != nil {
		take(res, nil, r)
	}
	if stay == 0 {
		t.end(nil)
	}
}

// passLocked puts a response into the channel; mu is held.
func (t *ClientTx) passLocked(res *sip.Response) {
	if t.out == nil {
		return
	}
	for {
		select {
		case t.out <- res:
			return
		default:
		}
		select {
		case <-t.out: // nobody reads: the oldest is a provisional one, a final comes last
		default:
		}
	}
}

// arm sets the timer for what is due first; mu is held.
func (t *ClientTx) arm(now time.Time) {
	wait := t.limit.Sub(now)
	if !t.again.IsZero() {
		wait = min(wait, t.again.Sub(now))
	}
	if t.timer == nil {
		t.timer = time.AfterFunc(wait, t.tick)
		return
	}
	t.timer.Reset(wait)
}

// tick does what is due.
func (t *ClientTx) tick() {
	t.mu.Lock()
	now := time.Now()
	if t.ended {
		t.mu.Unlock()
		return
	}
	if !t.limit.After(now) {
		final, ringing := t.final != 0, t.provisional && t.req.IsInvite() && !t.cancelSent
		t.mu.Unlock()
		switch {
		case final:
			t.end(nil)
		case ringing: // Timer C
			if err := t.Cancel(t.stack.ctx); err != nil {
				t.end(ErrTimeout)
			}
		default:
			t.end(ErrTimeout)
		}
		return
	}
	if text := t.text; !t.again.IsZero() && !t.again.After(now) {
		t.pause *= 2
		if !t.req.IsInvite() {
			t.pause = min(t.pause, sip.T2)
		}
		t.again = now.Add(t.pause)
		t.arm(now)
		t.mu.Unlock()
		if err := t.way.writeRaw(text); err != nil {
			t.end(err)
		}
		return
	}
	t.arm(now)
	t.mu.Unlock()
}

// end ends the transaction, once.
func (t *ClientTx) end(err error) {
	t.mu.Lock()
	if t.ended {
		t.mu.Unlock()
		return
	}
	t.ended = true
	t.err, t.text, t.ack = err, nil, nil
	if t.timer != nil {
		t.timer.Stop()
	}
	if t.unwatch != nil {
		t.unwatch()
	}
	if t.done != nil {
		close(t.done)
	}
	if t.out != nil {
		close(t.out)
	}
	take := t.take
	if t.final != 0 {
		take = nil
	}
	t.mu.Unlock()
	t.stack.clients.drop(t)
	if take != nil {
		if err == nil {
			err = ErrTerminated
		}
		take(nil, err, nil)
	}
}

// Send sends a request without a transaction: the ACK of a 2xx. The request keeps
// the Via that it gets; sending it again repeats it byte for byte, which is how
// the peer knows a repeated ACK (RFC 3261 §13.2.2.4).
func (s *Stack) Send(_ context.Context, req *sip.Request, via Flow) error {
	out, err := s.outletFor(via)
	if err != nil {
		return fmt.Errorf("%s over %s: %w", req.Method, via, err)
	}
	if req.Via() == nil {
		s.prepare(req, via, "")
	}
	if err := out.WriteMsg(req); err != nil {
		return fmt.Errorf("%s over %s: %w", req.Method, via, err)
	}
	return nil
}

// prepare adds the Via and unshares what clones of a message share.
func (s *Stack) prepare(req *sip.Request, via Flow, branch string) {
	if branch == "" {
		branch = sip.RFC3261BranchMagicCookie + newTag()
	}
	local := s.localOf(via)
	params := sip.HeaderParams{{K: "branch", V: branch}}
	if via.Transport == UDP {
		params = append(params, sip.HeaderKV{K: "rport"})
	}
	req.PrependHeader(&sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: via.Transport,
		Host: local.Addr().WithZone("").String(), Port: int(local.Port()), Params: params,
	})
	hops := sip.MaxForwardsHeader(defaultMaxForwards)
	if h := req.MaxForwards(); h != nil {
		hops = *h
		req.ReplaceHeader(&hops)
	} else {
		req.AppendHeader(&hops)
	}
	for i, h := range req.Headers() {
		if e, ok := h.(*sip.ExpiresHeader); ok {
			own := *e
			req.Headers()[i] = &own
		}
	}
	if req.ContentLength() == nil {
		req.SetBody(req.Body())
	}
	req.SetTransport(via.Transport)
	req.SetDestination(via.Remote.String())
}
