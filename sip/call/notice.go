package call

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/media/sdp"
	"linehall/sip/cdr"
	"linehall/sip/dialog"
	"linehall/sip/stack"
)

// A notice is a call that only shows a line of text: a feature code's outcome. It is answered with
// inactive media and the text as our name, which every phone displays, and ends by itself. It
// occupies nobody, reserves nothing, and a restart forgets it.

const (
	// noticeTime is how long the text stands on the display.
	noticeTime = 2 * time.Second
	// mostNotices bounds them; a phone makes one at a time, and 120 phones few at once.
	mostNotices = 64
)

// notice is owned by the goroutine of run.
type notice struct {
	s      *Service
	log    *slog.Logger
	dialog *dialog.Dialog
	invite *stack.Request
	inbox  chan *stack.Request // requests in the dialog; full: the phone repeats them
}

// showNotice answers the INVITE with a text. The refusal, if any, is for the caller to send.
func (s *Service) showNotice(ctx context.Context, c *call, req *stack.Request, text string) refusal {
	d, err := dialog.Accept(req.Request, req.Tx.Tag())
	if err != nil {
		return refusal{code: 400, reason: "Bad Contact", text: "no dialog possible"}
	}
	body, err := quietAnswer(d, description(req.Request), c.localAddr(req.Flow))
	if err != nil {
		return refusal{code: 488, warn: 399, text: "The session description cannot be used"}
	}
	n := &notice{s: s, log: c.log, dialog: d, invite: req, inbox: make(chan *stack.Request, 4)}
	res := s.stack.NewResponse(req, 200, "OK")
	res.AppendHeader(&sip.ContactHeader{DisplayName: display(text), Address: s.stack.ContactURI(req.Flow, c.decision.Number)})
	res.AppendHeader(sip.NewHeader("Allow", "INVITE, ACK, CANCEL, BYE"))
	res.AppendHeader(s.assertedIdentity(c.decision.Number, text))
	setBody(res, body)
	if !s.startNotice(n, res) { //nolint:contextcheck // a notice lives with the service
		return refusal{code: 503, text: "too many notices"}
	}
	now := time.Now().UTC()
	c.rec.AnsweredAt, c.rec.EndedAt, c.rec.Result, c.rec.Code, c.rec.EndedBy, c.rec.Reason = &now, &now, cdr.Answered, 200, "system", "feature code: "+c.decision.Feature
	if err := s.o.Records.Finish(ctx, c.rec); err != nil {
		s.log.Error("call record not written", slog.String(observe.CallID, c.id), slog.Any(observe.Err, err))
	}
	return refusal{}
}

// startNotice makes the notice reachable and runs it.
func (s *Service) startNotice(n *notice, res *sip.Response) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || len(s.notices) >= mostNotices {
		return false
	}
	s.notices[n.key()] = n
	ctx := s.ctx
	s.work.Go(func() {
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.notices, n.key())
		}()
		defer observe.Recover(n.log, s.o.Panics, "notice")
		n.run(ctx, res)
	})
	return true
}

func (n *notice) key() dialogKey { return dialogKey{n.dialog.ID.CallID, n.dialog.ID.LocalTag} }

// noticed gives a request in a notice's dialog to it, and reports whether there is one.
func (s *Service) noticed(req *stack.Request) bool {
	s.mu.Lock()
	n := s.notices[dialogKey{req.CallID().Value(), paramTag(req.To().Params)}]
	s.mu.Unlock()
	if n == nil {
		return false
	}
	if req.Flow.Remote.Addr() != n.invite.Flow.Remote.Addr() {
		s.o.Dropped.Count("sip_call", "wrong_source")
		if !req.IsAck() {
			s.respond(req, refusal{code: 403})
		}
		return true
	}
	select {
	case n.inbox <- req:
	default:
		s.o.Dropped.Count("sip_call", "mailbox_full")
	}
	return true
}

// run repeats the 2xx until its ACK (RFC 3261 §13.3.1.4), lets the text stand, and hangs up.
func (n *notice) run(ctx context.Context, res *sip.Response) {
	if err := n.invite.Tx.Respond(res); errors.Is(err, stack.ErrCancelled) || errors.Is(err, stack.ErrAnswered) {
		return
	}
	wait := n.s.limits.T1
	repeat, end := time.NewTimer(wait), time.NewTimer(ackLimit*n.s.limits.T1)
	defer repeat.Stop()
	defer end.Stop()
	acked := false
	for {
		select {
		case <-ctx.Done():
			n.hangUp(context.WithoutCancel(ctx))
			return
		case req := <-n.inbox:
			switch {
			case req.IsAck():
				if !acked {
					acked = true
					repeat.Stop()
					end.Reset(noticeTime)
				}
			case n.serve(req):
				return
			}
		case <-repeat.C:
			_ = n.invite.Tx.Respond(res) // repeated until the ACK comes
			wait = min(2*wait, longestPause*n.s.limits.T1)
			repeat.Reset(wait)
		case <-end.C:
			n.hangUp(ctx)
			return
		}
	}
}

// serve answers a request in the dialog and reports whether it ended it.
func (n *notice) serve(req *stack.Request) bool {
	if err := n.dialog.Receive(req.Request); err != nil {
		n.s.respond(req, refusal{code: 500, text: "out of order"})
		return false
	}
	if req.Method == sip.BYE {
		_ = req.Tx.Respond(n.s.stack.NewResponse(req, 200, "OK")) // the phone repeats a BYE whose answer is lost
		return true
	}
	n.s.respond(req, refusal{code: 488, warn: 399, text: "This call only shows a text"})
	return false
}

// hangUp sends BYE and waits for its answer, so that it is repeated until then.
func (n *notice) hangUp(ctx context.Context) {
	bye := n.dialog.Request(sip.BYE)
	bye.AppendHeader(sip.NewHeader("Reason", `SIP;cause=200;text="Shown"`))
	tx, err := n.s.stack.Request(ctx, bye, n.invite.Flow)
	if err != nil {
		n.log.Debug("notice not ended", slog.Any(observe.Err, err))
		return
	}
	for res := range tx.Responses() {
		if !res.IsProvisional() {
			return
		}
	}
}

// quietAnswer accepts one audio medium, inactive, and rejects the rest (RFC 3264 §6); an INVITE
// without an offer gets such an offer. Nothing listens on the port: nothing is to be sent there.
func quietAnswer(d *dialog.Dialog, offer []byte, local netip.Addr) ([]byte, error) {
	if len(offer) == 0 {
		return d.Session.Send([]byte("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 9 RTP/AVP 8 0\r\na=inactive\r\n"), local)
	}
	in, err := d.Session.Receive(offer)
	if err != nil {
		return nil, err
	}
	doc, err := sdp.Parse(in)
	if err != nil {
		return nil, err
	}
	doc.RemoveICE()
	taken := false
	for _, m := range doc.Media() {
		if taken || m.Kind() != "audio" || m.Port() == 0 || m.IsSecure() || !m.OverUDP() {
			m.Reject()
			continue
		}
		taken = true
		m.SetFormats(m.Formats()[:1])
		m.SetDirection(sdp.Inactive)
		m.SetAddress(local)
		m.SetPort(discardPort)
	}
	return d.Session.Send(doc.Marshal(), local)
}

// discardPort is RFC 863's: nobody sends there, and it is not 0, which would reject the medium.
const discardPort = 9
