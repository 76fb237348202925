package call

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/sip/stack"
)

// referral is the subscription that a REFER makes (RFC 3515 §2.4.4, RFC 6665): its sender is
// told by NOTIFY how the attempt goes. One NOTIFY is under way at a time and the newest state
// wins, so that a slow phone never gets them out of order. A phone that does not answer, or
// refuses them, costs the transfer nothing. A nil referral is that of a REFER whose sender does
// not want to hear (RFC 4488).
type referral struct {
	c        *call
	leg      *leg
	event    string
	id       string // the CSeq of the REFER
	until    time.Time
	last     attemptState
	next     *attemptState
	sending  bool
	over     bool          // the last NOTIFY is sent, or the phone wants no more
	closing  *attemptState // the last NOTIFY, behind the one under way
	finished func()
}

// attemptState is the state of an attempt as a status line.
type attemptState struct {
	code   int
	reason string
}

// referralTime is how long a phone is told of a transfer: longer than anything rings.
const referralTime = 5 * time.Minute

// newReferral opens the subscription of a REFER. From a dialog's second REFER on, an id tells
// the events apart (RFC 3515 §2.4.6).
func (c *call) newReferral(l *leg, seq uint32) *referral {
	r := &referral{c: c, leg: l, event: "refer", id: strconv.FormatUint(uint64(seq), 10), until: time.Now().Add(referralTime)}
	if l.Refers > 0 {
		r.event += ";id=" + r.id
	}
	return r
}

// notify reports a state; a final one ends the subscription.
func (r *referral) notify(n attemptState) {
	if r == nil || r.over || r.next != nil && r.next.code >= 200 {
		return
	}
	if r.sending {
		r.next = &n
		return
	}
	r.send(n, "")
}

// close ends the subscription with the state as it was last told: its owner has hung up.
func (r *referral) close() {
	if r == nil || r.over {
		return
	}
	r.next, r.over = nil, true
	r.send(r.last, "noresource")
}

func (r *referral) send(n attemptState, closing string) {
	state := "active;expires=" + strconv.Itoa(max(int(time.Until(r.until)/time.Second), 0))
	switch {
	case closing != "":
		state = "terminated;reason=" + closing
	case n.code >= 200:
		r.over = true
		state = "terminated;reason=noresource"
	case time.Now().After(r.until):
		r.over = true
		state = "terminated;reason=timeout"
	}
	r.last, r.sending = n, true
	req := r.leg.Dialog.Request(sip.NOTIFY)
	req.AppendHeader(sip.NewHeader("Event", r.event))
	req.AppendHeader(sip.NewHeader("Subscription-State", state))
	req.AppendHeader(sip.NewHeader("User-Agent", agent))
	req.AppendHeader(sip.NewHeader("Content-Type", "message/sipfrag;version=2.0"))
	req.SetBody([]byte(fmt.Sprintf("SIP/2.0 %d %s\r\n", n.code, n.reason))) //nolint:staticcheck // a SIP body
	r.c.dirty()
	r.c.sendNow(r.leg, req, func(res *sip.Response) {
		if res.IsProvisional() {
			return
		}
		if res.StatusCode == 481 || res.StatusCode == 489 { // RFC 6665 §4.2.2: it wants no more
			r.over = true
		}
		r.sent()
	}, func(err error) {
		r.c.log.Info("transferor not told", slog.Any(observe.Err, err))
		r.sent()
	})
}

// sent goes on behind a NOTIFY that is answered or lost.
func (r *referral) sent() {
	r.sending = false
	if n := r.closing; n != nil {
		r.closing = nil
		r.send(*n, "timeout")
		return
	}
	if n := r.next; n != nil && !r.over {
		r.next = nil
		r.send(*n, "")
		return
	}
	if r.over && r.finished != nil {
		done := r.finished
		r.finished = nil
		done()
	}
}

// onSubscribe takes a SUBSCRIBE inside the call: it may prolong or end the subscription that a REFER has made (RFC 3515
// §2.4.4), which answers with a NOTIFY of the state as it is (RFC 6665 §4.2.1.2). There is nothing else to subscribe to.
func (c *call) onSubscribe(l *leg, req *stack.Request) {
	var event string
	if h := req.GetHeader("Event"); h != nil {
		event = h.Value()
	}
	name, params, _ := strings.Cut(event, ";")
	if !strings.EqualFold(strings.TrimSpace(name), "refer") {
		res := c.s.stack.NewResponse(req, 489, "Bad Event")
		res.AppendHeader(sip.NewHeader("Allow-Events", "refer"))
		_ = req.Tx.Respond(res) // the phone repeats a request whose answer is lost
		return
	}
	expires := referralTime
	if h := req.GetHeader("Expires"); h != nil {
		n, err := strconv.ParseUint(strings.TrimSpace(h.Value()), 10, 32)
		if err != nil {
			c.s.respond(req, refusal{code: 400, reason: "Bad Expires"})
			return
		}
		expires = min(time.Duration(n)*time.Second, referralTime)
	}
	t := c.transfer
	if t == nil || t.refer == nil || t.refer.leg != l || t.refer.over || !t.refer.named(params) {
		c.s.respond(req, refusal{code: 481})
		return
	}
	l.Dialog.Refresh(req.Contact())
	res := c.s.stack.NewResponse(req, 200, "OK")
	res.AppendHeader(&sip.ContactHeader{Address: c.s.stack.ContactURI(req.Flow, l.User)})
	res.AppendHeader(sip.NewHeader("Expires", strconv.Itoa(int(expires/time.Second))))
	_ = req.Tx.Respond(res) // as above
	t.refer.prolong(expires)
}

// named reports whether the parameters of an Event mean this subscription: the first one of a dialog needs no id.
func (r *referral) named(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		if k, v, ok := strings.Cut(strings.TrimSpace(p), "="); ok && strings.EqualFold(k, "id") {
			return v == r.id
		}
	}
	return r.event == "refer"
}

// prolong takes the wish of its phone; with none left it ends.
func (r *referral) prolong(expires time.Duration) {
	r.until = time.Now().Add(expires)
	if expires > 0 {
		r.notify(r.newest())
		return
	}
	last := r.newest()
	r.next, r.over = nil, true
	if r.sending {
		r.closing = &last
		return
	}
	r.send(last, "timeout")
}

// newest is the state that the phone knows or is about to be told.
func (r *referral) newest() attemptState {
	if r.next != nil {
		return *r.next
	}
	return r.last
}
