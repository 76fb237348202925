package focus

import (
	"context"
	"errors"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/media/dtmf"
	"linehall/sip/dialog"
	"linehall/sip/stack"
)

// serveInDialog gives a request to its leg.
func (s *Service) serveInDialog(_ context.Context, req *stack.Request) {
	l := s.find(req.CallID().Value(), tagOf(req.To().Params))
	if l == nil {
		if !req.IsAck() {
			s.respond(req, 481, "Call Does Not Exist")
		}
		return
	}
	l.post(func() { l.request(req) }) //nolint:contextcheck // a leg lives with the service
}

// request answers a request in the dialog.
func (l *leg) request(req *stack.Request) {
	if req.IsAck() {
		if p := l.pending; p != nil && req.CSeq().SeqNo == p.req.CSeq().SeqNo {
			l.pending = nil
			l.after("2xx", 0, nil)
			p.acked(req.Request)
		}
		return
	}
	if err := l.dialog.Receive(req.Request); err != nil {
		code := 400
		if errors.Is(err, dialog.ErrOutOfOrder) {
			code = 500
		}
		l.s.respond(req, code, "Out of order")
		return
	}
	switch req.Method {
	case sip.BYE:
		l.gone = true
		_ = req.Tx.Respond(l.s.stack.NewResponse(req, 200, "OK")) // a lost 200 brings the BYE again
		l.end("hung up")
	case sip.INVITE, sip.UPDATE:
		l.reoffer(req)
	case sip.INFO:
		l.info(req)
	default: // OPTIONS
		l.s.stack.ServeOptions(context.Background(), req)
	}
}

// info takes a key that came by INFO.
func (l *leg) info(req *stack.Request) {
	if req.ContentType() != nil {
		if key, _, err := dtmf.ParseInfo(req.ContentType().Value(), req.Body()); err == nil {
			l.press(key)
		}
	}
	_ = req.Tx.Respond(l.s.stack.NewResponse(req, 200, "OK")) // a repeated INFO is answered by its transaction
}

// reoffer answers a re-INVITE or UPDATE: hold and its end, another address or format, a refresh. An INVITE without an offer
// gets ours.
func (l *leg) reoffer(req *stack.Request) {
	if req.IsInvite() && l.pending != nil || l.asked != nil {
		l.s.respond(req, 491, "Request Pending")
		return
	}
	var body []byte
	if len(req.Body()) > 0 || req.IsInvite() {
		var err error
		if body, err = l.answerTo(req); err != nil {
			l.asked = nil
			l.s.respond(req, 488, "The session description cannot be used")
			return
		}
	}
	l.dialog.Refresh(req.Contact())
	res := l.s.stack.NewResponse(req, 200, "OK")
	l.complete(res, body)
	l.save()
	if !req.IsInvite() {
		_ = req.Tx.Respond(res) // repeated by its transaction
		return
	}
	if err := l.await(req, res, func(ack *sip.Request) {
		if l.answered(ack.Body()) {
			l.save()
		}
	}); err != nil {
		l.asked = nil
	}
}

// probe asks the call core now and then whether it still knows the call: after a crash of its own it may not.
func (l *leg) probe(in time.Duration) {
	l.after("probe", in, func() {
		req := l.dialog.Request(sip.OPTIONS)
		req.SetBody(nil)
		l.save()
		_, err := l.s.stack.RequestTo(context.Background(), req, stack.InsideFlow().Reverse(), func(res *sip.Response, err error, _ *stack.Reading) {
			if res != nil && res.IsProvisional() {
				return
			}
			l.post(func() { l.probed(res) })
		})
		if err != nil {
			l.probed(nil)
		}
	})
}

func (l *leg) probed(res *sip.Response) {
	if res != nil && res.StatusCode != 481 && res.StatusCode != 408 {
		l.fails = 0
		l.probe(probeTime)
		return
	}
	if l.fails++; l.fails >= 2 {
		l.gone = true
		l.end("the call is gone")
		return
	}
	l.probe(probeTime / 6)
}

// stray acknowledges a 2xx that comes again (RFC 3261 §13.2.2.4).
func (s *Service) stray(res *sip.Response, _ stack.Flow, r *stack.Reading) {
	if !res.IsSuccess() || res.CSeq() == nil || res.CSeq().MethodName != sip.INVITE || res.From() == nil || res.CallID() == nil {
		return
	}
	l := s.find(res.CallID().Value(), tagOf(res.From().Params))
	if l == nil {
		return
	}
	seq := res.CSeq().SeqNo
	l.post(func() { _ = s.stack.Send(context.Background(), l.dialog.Ack(seq), stack.InsideFlow().Reverse()) }) // it comes again
	_ = r
}
