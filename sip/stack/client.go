package stack

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
)

// responseBuffer bounds the responses a transaction keeps for a slow reader;
// when it is full the oldest provisional response is dropped, never a final one.
const responseBuffer = 32

// ClientTx is a client transaction (RFC 3261 §17.1, RFC 6026). Read Responses
// until it is closed, or call Terminate.
type ClientTx struct {
	stack *Stack
	tx    *sip.ClientTx
	key   string
	req   *sip.Request
	flow  Flow
	out   chan *sip.Response

	ready  chan struct{} // closed when the machine has started its timers
	acking atomic.Bool   // an ACK of a repeated final response is being sent

	mu          sync.Mutex // guards the fields below
	provisional bool
	final       bool
	wantCancel  bool
	cancelWith  []sip.Header // of the CANCEL, besides RFC 3261 §9.1's
	cancelSent  bool
	err         error
	timerC      *time.Timer
	timerK      *time.Timer
}

// Request sends req over the flow in a new client transaction. The stack takes
// req: it adds the top Via, gives Max-Forwards and Expires values of their own
// (clones of a message share them), and keeps it for retransmissions; forks
// send one clone each. UDP leaves from via.Local. A stream flow uses its live
// connection and opens none: ErrFlowGone (see Dial). When ctx ends, the
// transaction is terminated without a word to the peer; use Cancel for that.
func (s *Stack) Request(ctx context.Context, req *sip.Request, via Flow) (*ClientTx, error) {
	if req.IsAck() {
		return nil, errors.New("an ACK is no transaction: use Send")
	}
	out, err := s.outletFor(via)
	if err != nil {
		return nil, fmt.Errorf("%s over %s: %w", req.Method, via, err)
	}
	s.prepare(req, via, "")
	return s.start(ctx, req, out)
}

// start runs a prepared request, which has its Via already.
func (s *Stack) start(ctx context.Context, req *sip.Request, out *outlet) (*ClientTx, error) {
	key, err := clientKey(req)
	if err != nil {
		return nil, err
	}
	t := &ClientTx{
		stack: s, key: key, req: req, flow: out.flow,
		out: make(chan *sip.Response, responseBuffer), ready: make(chan struct{}),
	}
	t.tx = sip.NewClientTx(key, req, out, s.txLog)
	t.tx.OnRetransmission(func(res *sip.Response) { s.strayResponse(res, out.flow) })
	if !s.clients.put(t) {
		return nil, fmt.Errorf("%s over %s: %w", req.Method, out.flow, ErrClosed)
	}
	go t.pump(ctx)
	err = t.tx.Init()
	close(t.ready)
	if err != nil {
		t.end(flowError(err))
		return nil, fmt.Errorf("%s over %s: %w", req.Method, out.flow, flowError(err))
	}
	return t, nil
}

// Responses delivers the responses in order and is closed at the end of the
// transaction: some time after a final response (so that repeated ones are
// absorbed), after Terminate, or when it failed (see Err).
func (t *ClientTx) Responses() <-chan *sip.Response { return t.out }

// Done is closed when the transaction has ended.
func (t *ClientTx) Done() <-chan struct{} { return t.tx.Done() }

// Err says why the transaction ended without a final response: ErrTimeout,
// ErrFlowGone, ErrClosed, the context's error, or nil.
func (t *ClientTx) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.final {
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
	send := t.provisional && !t.final && !t.cancelSent
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
	if t.timerC != nil {
		t.timerC.Stop()
	}
	t.timerC = time.AfterFunc(sip.Timer_B, func() { t.end(ErrTimeout) })
	with := t.cancelWith
	t.mu.Unlock()
	out, err := t.stack.outletFor(t.flow)
	if err != nil {
		t.end(err)
		return fmt.Errorf("CANCEL over %s: %w", t.flow, err)
	}
	// The CANCEL outlives the caller's context: a caller that has gone away is
	// the usual reason to send one.
	// Nobody reads its responses: the buffer takes them.
	cancel := newCancel(t.req)
	for _, h := range with {
		cancel.AppendHeader(h)
	}
	_, err = t.stack.start(t.stack.ctx, cancel, out) //nolint:contextcheck // see above
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

// receive hands a response to the state machine. It runs on the reading
// goroutine, in order of arrival.
func (t *ClientTx) receive(res *sip.Response) {
	// The machine sends before it sets Timer B; a response in between would leave
	// a timer running that ends the transaction in the middle of ringing.
	<-t.ready
	t.mu.Lock()
	repeated := t.final
	t.mu.Unlock()
	if !repeated {
		t.tx.Receive(res)
		return
	}
	// sipgo sleeps T2 with its lock held before it repeats the ACK of a failed
	// INVITE; the reading goroutine must not wait for that.
	if t.acking.Swap(true) {
		return
	}
	t.stack.work.Go(func() {
		defer t.acking.Store(false)
		t.tx.Receive(res)
	})
}

// pump is the one reader of the state machine's unbuffered channel: the machine
// holds its lock while it passes a response up.
func (t *ClientTx) pump(ctx context.Context) {
	defer t.stack.work.Done()
	defer t.finish()
	for {
		select {
		case res := <-t.tx.Responses():
			t.took(res)
		case <-t.tx.Done():
			return
		case <-ctx.Done():
			t.end(context.Cause(ctx))
			return
		}
	}
}

// took notes what the response means for our own timers and passes it on.
func (t *ClientTx) took(res *sip.Response) {
	t.mu.Lock()
	cancel := false
	if res.IsProvisional() {
		t.provisional = true
		cancel = t.wantCancel && !t.cancelSent
		t.cancelSent = t.cancelSent || cancel
		if !t.cancelSent && t.req.IsInvite() {
			t.restartTimerC()
		}
	} else {
		t.final = true
		if t.timerC != nil {
			t.timerC.Stop()
		}
		if !t.req.IsInvite() && t.flow.Transport == UDP {
			// Timer K (T4); the machine would hold the transaction for Timer D.
			t.timerK = time.AfterFunc(sip.Timer_K, func() { t.end(nil) })
		}
	}
	t.mu.Unlock()
	t.pass(res)
	if cancel {
		_ = t.sendCancel(t.stack.ctx) // a lost flow ends the transaction by itself
	}
}

func (t *ClientTx) pass(res *sip.Response) {
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

// restartTimerC guards an INVITE that got a provisional response and then
// nothing (RFC 3261 §16.6 step 11): the state machine has no timer there.
func (t *ClientTx) restartTimerC() {
	if t.timerC != nil {
		t.timerC.Stop()
	}
	t.timerC = time.AfterFunc(t.stack.limits.TimerC, func() {
		if err := t.Cancel(t.stack.ctx); err != nil {
			t.end(ErrTimeout)
		}
	})
}

func (t *ClientTx) end(err error) {
	t.mu.Lock()
	if t.err == nil {
		t.err = err
	}
	t.mu.Unlock()
	t.tx.Terminate()
}

// finish runs once, when the machine has ended.
func (t *ClientTx) finish() {
	t.stack.clients.drop(t)
	t.mu.Lock()
	for _, timer := range []*time.Timer{t.timerC, t.timerK} {
		if timer != nil {
			timer.Stop()
		}
	}
	if t.err == nil && !t.final {
		switch err := t.tx.Err(); {
		case errors.Is(err, sip.ErrTransactionTimeout):
			t.err = ErrTimeout
		case errors.Is(err, sip.ErrTransactionTransport):
			t.err = flowError(err)
		}
	}
	t.mu.Unlock()
	close(t.out)
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
