package focus

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/media/served"
	"linehall/sip/call"
	"linehall/sip/dialog"
	"linehall/sip/stack"
)

// serveInvite takes a telephone that dials a room. What can be refused before it is answered is refused in words; the rest it
// hears.
func (s *Service) serveInvite(ctx context.Context, req *stack.Request) {
	if req.InDialog() {
		s.serveInDialog(ctx, req)
		return
	}
	room, ok := s.o.Rooms.Room(req.Recipient.User)
	if !ok {
		s.respond(req, 404, "There is no such meeting room")
		return
	}
	caller := callerOf(req)
	if room.NeedsPIN && s.pins.blocked(s.pinKey(caller), time.Now()) {
		s.metrics.pins.WithLabelValues("blocked").Inc()
		s.o.Dropped.Count("focus", "pin_blocked")
		s.o.Log.Warn("telephone kept out of meetings: wrong PINs", slog.String(observe.Extension, caller.Number), slog.String(observe.CallID, caller.Call))
		s.respond(req, 403, "The PIN was wrong too often, try again in a quarter of an hour")
		return
	}
	d, err := dialog.Accept(req.Request, req.Tx.Tag())
	if err != nil {
		s.respond(req, 400, "Bad Contact")
		return
	}
	l := s.newLeg(room, caller)
	l.dialog, l.invite = d, req
	if err := l.open(0, 0); err != nil { //nolint:contextcheck // a leg lives with the service
		s.o.Log.Error("no ports for a leg", slog.Any(observe.Err, err))
		s.respond(req, 500, "No ports")
		return
	}
	body, err := l.answerTo(req)
	if err != nil {
		l.shut()
		s.respond(req, 488, "The session description cannot be used")
		return
	}
	if !s.enter(l, func() { l.accept(body, headerOf(req, call.HeaderPIN)) }) { //nolint:contextcheck // as above
		l.shut()
		s.respond(req, 486, "Meetings take no more telephones")
	}
}

// callerOf reads who calls from what the call core asserts.
func callerOf(req *stack.Request) Caller {
	c := Caller{Number: req.From().Address.User, Name: req.From().DisplayName, Call: headerOf(req, call.HeaderCall), Site: headerOf(req, call.HeaderSite), Outside: headerOf(req, call.HeaderOutside) != ""}
	if c.Number == "anonymous" || req.From().Address.Host == "anonymous.invalid" {
		c.Number, c.Name = "", ""
	}
	return c
}

func headerOf(req *stack.Request, name string) string {
	if h := req.GetHeader(name); h != nil {
		return h.Value()
	}
	return ""
}

// answerTo makes our side of the session that a request offers, or an offer of ours.
func (l *leg) answerTo(req *stack.Request) ([]byte, error) {
	offer := req.Body()
	if len(offer) == 0 {
		l.asked = l.sound.offer()
		return l.dialog.Session.Send(l.asked, served.Host) //nolint:wrapcheck // it says what is wrong
	}
	in, err := l.dialog.Session.Receive(offer)
	if err != nil {
		return nil, err //nolint:wrapcheck // as above
	}
	body, err := l.sound.answer(in)
	if err != nil {
		return nil, err
	}
	return l.dialog.Session.Send(body, served.Host) //nolint:wrapcheck // as above
}

// accept answers the call. Whoever needs no PIN, or has dialled the right one, gets its seat before that, so that a refusal is
// one of the call.
func (l *leg) accept(body []byte, pin string) {
	if pin != "" {
		l.dialledPIN(pin)
	}
	if !l.needsPIN() {
		if err := l.take(); err != nil {
			l.gone, l.why = true, wordsOf(err)
			l.s.respond(l.invite, codeOf(err), l.why)
			l.end(l.why)
			return
		}
	}
	res := l.s.stack.NewResponse(l.invite, 200, "OK")
	l.complete(res, body)
	err := l.await(l.invite, res, func(ack *sip.Request) {
		l.acked = true
		if l.answered(ack.Body()) {
			l.begin()
		}
	})
	if err != nil { // cancelled
		l.gone = true
		l.end("cancelled")
	}
}

// dialledPIN takes the PIN that was dialled behind the room's number; a wrong one counts and is asked for again.
func (l *leg) dialledPIN(pin string) {
	switch role := l.s.o.Rooms.Check(l.room.Number, pin); {
	case role != Nobody:
		l.s.metrics.pins.WithLabelValues("right").Inc()
		l.caller.Chair = role == Chair
		l.room.NeedsPIN = false
	case l.room.NeedsPIN:
		l.wrong++
		l.s.metrics.pins.WithLabelValues("wrong").Inc()
		l.s.pins.failed(l.pinKey(), time.Now())
	}
}

// codeOf is the status of a refusal.
func codeOf(err error) int {
	switch {
	case errors.Is(err, ErrNoRoom):
		return 404
	case errors.Is(err, ErrFull):
		return 486
	case errors.Is(err, ErrLocked), errors.Is(err, ErrDropped):
		return 403
	}
	return 480
}

// complete gives a 2xx what a 2xx needs.
func (l *leg) complete(res *sip.Response, body []byte) {
	res.AppendHeader(&sip.ContactHeader{DisplayName: display(l.room.Name), Address: l.contact()})
	res.AppendHeader(sip.NewHeader("Allow", l.s.stack.Allow()))
	if len(body) > 0 {
		res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	}
	res.SetBody(body)
}

// contact is where the leg is reached. RFC 4579 §5.1: isfocus.
func (l *leg) contact() sip.Uri {
	uri := l.s.stack.ContactURI(stack.InsideFlow().Reverse(), l.room.Number)
	return uri
}

// display is a name that can stand in front of an address.
func display(name string) string {
	for _, r := range name {
		if r < ' ' || r == '"' || r == '\\' {
			return ""
		}
	}
	return name
}

const (
	// t1 and the bounds of a repeated 2xx (RFC 3261 §13.3.1.4).
	t1     = 500 * time.Millisecond
	t2     = 4 * time.Second
	giveUp = 64 * t1
)

// await sends a 2xx to an INVITE and repeats it until its ACK comes.
func (l *leg) await(req *stack.Request, res *sip.Response, acked func(ack *sip.Request)) error {
	if err := req.Tx.Respond(res); errors.Is(err, stack.ErrCancelled) || errors.Is(err, stack.ErrAnswered) {
		return err //nolint:wrapcheck // the stack's sentinel
	}
	l.pending = &pending{req: req, res: res, wait: t1, until: time.Now().Add(giveUp), acked: acked}
	l.after("2xx", t1, l.again)
	return nil
}

func (l *leg) again() {
	p := l.pending
	switch {
	case p == nil:
	case time.Now().After(p.until):
		l.end("no ACK")
	default:
		_ = p.req.Tx.Respond(p.res) // repeated until the ACK comes
		p.wait = min(2*p.wait, t2)
		l.after("2xx", p.wait, l.again)
	}
}

// answered takes the description of an ACK, if an offer of ours waits for one; false: it cannot be used.
func (l *leg) answered(body []byte) bool {
	if l.asked == nil {
		return true
	}
	ours := l.asked
	l.asked = nil
	in, err := l.dialog.Session.Receive(body)
	if err == nil {
		err = l.sound.agree(in, ours)
	}
	if err != nil {
		l.log.Info("no usable answer", slog.Any(observe.Err, err))
		l.end("no usable answer to the offer")
		return false
	}
	return true
}
