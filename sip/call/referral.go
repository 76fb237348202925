package call

import (
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
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
	until    time.Time
	last     attemptState
	next     *attemptState
	sending  bool
	over     bool // the last NOTIFY is sent, or the phone wants no more
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
	r := &referral{c: c, leg: l, event: "refer", until: time.Now().Add(referralTime)}
	if l.Refers > 0 {
		r.event += ";id=" + strconv.FormatUint(uint64(seq), 10)
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
