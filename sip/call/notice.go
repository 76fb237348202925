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
	"linehall/sip/route"
	"linehall/sip/stack"
)

// A notice is a call that shows a line of text: a feature code's outcome. It is answered with the
// text as our name, which every phone displays, and with a voice of ours (voice.go) if there is
// something to hear, else with inactive media, and ends by itself. It occupies nobody, and a
// restart forgets it.

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
	inbox  chan *stack.Request                        // requests in the dialog; full: the phone repeats them
	voice  *voice                                     // nil: silence
	stands time.Duration                              // from the ACK on
	text   string                                     // on the display
	number string                                     // that was dialled
	local  netip.Addr                                 // our address as the phone knows it
	turned *turned                                    // a 2xx to a re-INVITE that waits for its ACK; nil: none
	record func(ctx context.Context, ended time.Time) // writes the record at the end; nil: it is written
}

// turned is the answer to a re-INVITE, which is repeated until its ACK (RFC 3261 §13.3.1.4).
type turned struct {
	req   *stack.Request
	res   *sip.Response
	wait  time.Duration
	until time.Time
}

// showNotice answers the INVITE with a text and what is heard with it. The refusal, if any, is for the caller to send.
func (s *Service) showNotice(ctx context.Context, c *call, req *stack.Request, served route.Served) refusal {
	text := served.Show
	d, err := dialog.Accept(req.Request, req.Tx.Tag())
	if err != nil {
		return refusal{code: 400, reason: "Bad Contact", text: "no dialog possible"}
	}
	v, body, err := s.noticeAnswer(c, req, d, served.Say)
	if err != nil {
		return refusal{code: 488, warn: 399, text: "The session description cannot be used"}
	}
	n := &notice{
		s: s, log: c.log, dialog: d, invite: req, inbox: make(chan *stack.Request, 4), voice: v, stands: stands(served.Long),
		text: text, number: c.decision.Number, local: c.localAddr(req.Flow),
	}
	res := n.accepts(req, body)
	answered := time.Now().UTC()
	rec := c.rec
	rec.AnsweredAt, rec.Result, rec.Code, rec.EndedBy, rec.Reason = &answered, cdr.Answered, 200, "system", "feature code: "+c.decision.Feature
	record := func(ctx context.Context, ended time.Time) {
		rec.EndedAt = &ended
		if err := s.o.Records.Finish(ctx, rec); err != nil {
			s.log.Error("call record not written", slog.String(observe.CallID, c.id), slog.Any(observe.Err, err))
		}
	}
	if served.Long > 0 {
		n.record = record
	}
	if !s.startNotice(n, res) { //nolint:contextcheck // a notice lives with the service
		if v != nil {
			v.close()
		}
		return refusal{code: 503, text: "too many notices"}
	}
	if served.Long == 0 { // over as soon as it is answered
		record(ctx, answered)
	}
	return refusal{}
}

// accepts is a 2xx to an INVITE or UPDATE of the phone's.
func (n *notice) accepts(req *stack.Request, body []byte) *sip.Response {
	res := n.s.stack.NewResponse(req, 200, "OK")
	res.AppendHeader(&sip.ContactHeader{DisplayName: display(n.text), Address: n.s.stack.ContactURI(req.Flow, n.number)})
	res.AppendHeader(sip.NewHeader("Allow", "INVITE, ACK, CANCEL, BYE, UPDATE, INFO"))
	res.AppendHeader(n.s.assertedIdentity(n.number, n.text))
	setBody(res, body)
	return res
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
		if n.voice != nil {
			defer n.voice.close()
			s.work.Go(func() { n.voice.run(ctx, n) })
		}
		n.run(ctx, res)
		if n.record != nil {
			n.record(context.WithoutCancel(ctx), time.Now().UTC())
		}
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
	again := func() { // the 2xx to a re-INVITE
		if n.turned != nil {
			repeat.Reset(n.turned.wait)
		}
	}
	for {
		select {
		case <-ctx.Done():
			n.hangUp(context.WithoutCancel(ctx))
			return
		case req := <-n.inbox:
			switch {
			case req.IsAck() && acked:
				if n.turned != nil && req.CSeq().SeqNo == n.turned.req.CSeq().SeqNo {
					n.turned = nil
					repeat.Stop()
				}
			case req.IsAck():
				acked = true
				repeat.Stop()
				end.Reset(n.stands)
			case n.serve(req, acked):
				return
			default:
				if !req.IsInvite() {
					continue
				}
				again()
			}
		case <-repeat.C:
			if n.turned != nil {
				if !n.repeats() {
					n.hangUp(ctx)
					return
				}
				again()
				continue
			}
			_ = n.invite.Tx.Respond(res) // repeated until the ACK comes
			wait = min(2*wait, longestPause*n.s.limits.T1)
			repeat.Reset(wait)
		case <-end.C:
			n.hangUp(ctx)
			return
		case <-n.over():
			n.hangUp(ctx)
			return
		}
	}
}

// serve answers a request in the dialog and reports whether it ended it.
func (n *notice) serve(req *stack.Request, acked bool) bool {
	if err := n.dialog.Receive(req.Request); err != nil {
		n.s.respond(req, refusal{code: 500, text: "out of order"})
		return false
	}
	if req.Method == sip.BYE {
		_ = req.Tx.Respond(n.s.stack.NewResponse(req, 200, "OK")) // the phone repeats a BYE whose answer is lost
		return true
	}
	if req.Method == sip.INFO && n.press(req) {
		_ = req.Tx.Respond(n.s.stack.NewResponse(req, 200, "OK")) // a repeated INFO is answered by its transaction
		return false
	}
	if req.Method == sip.INVITE || req.Method == sip.UPDATE {
		n.reoffer(req, acked)
		return false
	}
	n.s.respond(req, refusal{code: 488, warn: 399, text: "This call only shows a text"})
	return false
}

// reoffer answers a re-INVITE or an UPDATE: a hold, and its end (RFC 3264 §8.4), another address or format. Without a description it
// is a sign of life.
func (n *notice) reoffer(req *stack.Request, acked bool) {
	offered := len(description(req.Request)) > 0
	switch {
	case !acked && req.IsInvite() || n.turned != nil:
		n.s.respond(req, refusal{code: 491})
		return
	case !offered && !req.IsInvite():
		_ = req.Tx.Respond(n.accepts(req, nil)) // repeated by its transaction
		return
	case n.voice == nil || !offered:
		n.s.respond(req, refusal{code: 488, warn: 399, text: "This call only shows a text"})
		return
	}
	body, err := n.turn(req)
	if err != nil {
		n.s.respond(req, mediaRefusal(err))
		return
	}
	res := n.accepts(req, body)
	_ = req.Tx.Respond(res)
	if req.IsInvite() {
		n.turned = &turned{req: req, res: res, wait: n.s.limits.T1, until: time.Now().Add(ackLimit * n.s.limits.T1)}
	}
}

// repeats sends the 2xx to a re-INVITE again; false: its ACK will not come.
func (n *notice) repeats() bool {
	t := n.turned
	if time.Now().After(t.until) {
		return false
	}
	_ = t.req.Tx.Respond(t.res) // repeated until the ACK comes
	t.wait = min(2*t.wait, longestPause*n.s.limits.T1)
	return true
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

// quietOffer is what an INVITE without an offer gets.
const quietOffer = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 9 RTP/AVP 8 0\r\na=inactive\r\n"

// quietAnswer accepts one audio medium, inactive, and rejects the rest (RFC 3264 §6). Nothing
// listens on the port: nothing is to be sent there.
func quietAnswer(doc *sdp.Document, local netip.Addr) []byte {
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
	return doc.Marshal()
}

// discardPort is RFC 863's: nobody sends there, and it is not 0, which would reject the medium.
const discardPort = 9
