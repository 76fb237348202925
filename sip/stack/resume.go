package stack

import (
	"context"
	"fmt"

	"github.com/emiago/sipgo/sip"
)

// After a crash the transactions of calls that were ringing are taken up again. Over UDP the
// peers never notice: what is sent carries the branch that they know, so they take it for a
// retransmission (RFC 3261 §17.1.3, §17.2.3). The connection of a stream is gone with its peer.

// ParseRequest reads a request that this stack received or sent before, as its String wrote it.
func (s *Stack) ParseRequest(text []byte) (*sip.Request, error) {
	msg, err := s.parser.ParseSIP(text)
	if err != nil {
		return nil, fmt.Errorf("stored request: %w", err)
	}
	req, ok := msg.(*sip.Request)
	if !ok || !complete(req) {
		return nil, fmt.Errorf("stored request: %w", ErrClosed)
	}
	normalise(req)
	return req, nil
}

// ParseResponse reads a response that this stack sent before.
func (s *Stack) ParseResponse(text []byte) (*sip.Response, error) {
	msg, err := s.parser.ParseSIP(text)
	if err != nil {
		return nil, fmt.Errorf("stored response: %w", err)
	}
	res, ok := msg.(*sip.Response)
	if !ok || !complete(res) {
		return nil, fmt.Errorf("stored response: %w", ErrClosed)
	}
	normalise(res)
	return res, nil
}

// ResumeInvite takes up the server transaction of an INVITE that was received before a restart:
// its CANCEL and its retransmissions are matched again, and it can be answered. tag is the To
// tag that it had. Over a stream nobody can be answered: Respond returns ErrAnswered then. The
// stack must be listening.
func (s *Stack) ResumeInvite(req *sip.Request, flow Flow, tag string) *Request {
	req.SetTransport(flow.Transport)
	req.SetSource(flow.Remote.String())
	t := &ServerTx{stack: s, id: s.opened.Add(1), method: req.Method, flow: flow, tag: tag}
	resumed := &Request{Request: req, Tx: t, Flow: flow}
	out, err := s.outletFor(flow)
	if err != nil || flow.Stream() {
		t.req, t.done = req, make(chan struct{})
		close(t.done)
		return resumed
	}
	s.markSource(req.Via(), out)
	t.key, t.out = serverKey(req, sip.INVITE, flow), out
	s.openInvite(t, req)
	if c := s.early.take(t.key); c != nil {
		s.answerCancel(c.req, c.out, t)
	}
	return resumed
}

// Repeat sends a response without its transaction: a 2xx is the core's to repeat (RFC 3261 §13.3.1.4), over another connection
// of the peer when the one that the request came over is gone (§18.2.2).
func (s *Stack) Repeat(res *sip.Response, via Flow) error {
	out, err := s.outletFor(via)
	if err != nil {
		return fmt.Errorf("%d over %s: %w", res.StatusCode, via, err)
	}
	if err := out.WriteMsg(res); err != nil {
		return fmt.Errorf("%d over %s: %w", res.StatusCode, via, err)
	}
	return nil
}

// ResumeRequest sends an INVITE of before a restart again, with the Via that it had. The peer
// repeats what it answered last. take is that of RequestTo.
func (s *Stack) ResumeRequest(ctx context.Context, req *sip.Request, via Flow, take Taker) (*ClientTx, error) {
	if req.Via() == nil || via.Stream() {
		return nil, fmt.Errorf("%s over %s: %w", req.Method, via, ErrFlowGone)
	}
	out, err := s.outletFor(via)
	if err != nil {
		return nil, fmt.Errorf("%s over %s: %w", req.Method, via, err)
	}
	req.SetTransport(via.Transport)
	req.SetDestination(via.Remote.String())
	return s.start(ctx, req, out, take)
}
