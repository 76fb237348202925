package call

import (
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/sip/stack"
)

// Reliable provisional responses (RFC 3262) end at us, on each leg by itself:
//
//	phone                            us                             caller
//	  │ 18x Require: 100rel, RSeq     │                               │
//	  ├──────────────────────────────►│ 18x Require: 100rel, RSeq     │
//	  │ PRACK                         ├──────────────────────────────►│ repeated: T1, doubling, 64*T1, then 504
//	  │◄──────────────────────────────┤ PRACK                         │
//	  │                               │◄──────────────────────────────┤
//	  │ 2xx                           │ 2xx, not before that PRACK if │
//	  ├──────────────────────────────►│ the 18x had a description     │
//	  │                               ├──────────────────────────────►│
//
// A phone's response with an answer is acknowledged at once. One with an offer (the INVITE had
// none) waits for the caller's PRACK, which brings the answer; so the extension is shown to
// the phones of such a call only if its caller has it.

const reliableTag = "100rel"

// reliable is what goes to the caller reliably in one early dialog.
type reliable struct {
	next  uint32        // RSeq of the next response
	sent  *sip.Response // waits for its PRACK; nil: none does
	seq   uint32        // of sent
	wait  time.Duration
	until time.Time
	queue []*sip.Response // one at a time (§3)
}

// mostQueued bounds the responses behind one that waits for its PRACK: a phone that repeats
// 180 every second sends 32 until we give up. The newest matter.
const mostQueued = 8

// newReliable begins with a random number below 2^31 (§3).
func newReliable() *reliable {
	return &reliable{next: 1 + rand.Uint32N(1<<30)} //nolint:gosec // not a secret
}

// described reports whether a response with a session description waits for its PRACK.
func (r *reliable) described() bool { return r != nil && r.sent != nil && isSDP(r.sent) }

// reliably reports whether the caller takes provisional responses reliably.
func (o *invited) reliably() bool {
	return stack.HasToken(o.req.Request, "Supported", reliableTag) || stack.HasToken(o.req.Request, "Require", reliableTag)
}

// relOf is the state of an early dialog of the caller's.
func (o *invited) relOf(localTag string) *reliable {
	if o.rel == nil {
		o.rel = map[string]*reliable{}
	}
	r := o.rel[localTag]
	if r == nil {
		r = newReliable()
		o.rel[localTag] = r
	}
	return r
}

// respondReliably sends a provisional response, or queues it behind one that has no PRACK yet.
func (o *invited) respondReliably(c *call, out *sip.Response) bool {
	tag := paramTag(out.To().Params)
	r := o.relOf(tag)
	if r.sent != nil {
		if len(r.queue) >= mostQueued {
			r.queue = dropPlain(r.queue)
		}
		r.queue = append(r.queue, out)
		return true
	}
	return o.sendReliably(c, tag, r, out)
}

// dropPlain forgets the oldest response that only says that it rings.
func dropPlain(queue []*sip.Response) []*sip.Response {
	for i, res := range queue {
		if !isSDP(res) {
			return append(queue[:i:i], queue[i+1:]...)
		}
	}
	return queue[1:]
}

func (o *invited) sendReliably(c *call, tag string, r *reliable, out *sip.Response) bool {
	out.AppendHeader(sip.NewHeader("Require", reliableTag))
	out.AppendHeader(sip.NewHeader("RSeq", strconv.FormatUint(uint64(r.next), 10)))
	r.sent, r.seq, r.wait, r.until = out, r.next, c.s.limits.T1, time.Now().Add(ackLimit*c.s.limits.T1)
	r.next++
	if err := o.req.Tx.Respond(out); err != nil {
		c.log.Debug("provisional response not sent", slog.Any(observe.Err, err)) // it is repeated
	}
	c.arm(timerName{kind: "1xx " + tag}, r.wait, func() { o.repeatReliably(c, tag, r) })
	return true
}

func (o *invited) repeatReliably(c *call, tag string, r *reliable) {
	if r.sent == nil || o.req.Tx.Final() != 0 { // after the final response nothing is repeated (§3)
		return
	}
	if !time.Now().Before(r.until) {
		c.step(evGiveUp{504, "no PRACK"})
		return
	}
	_ = o.req.Tx.Respond(r.sent) // repeated until the PRACK comes
	r.wait *= 2
	c.arm(timerName{kind: "1xx " + tag}, min(r.wait, max(time.Until(r.until), 0)), func() { o.repeatReliably(c, tag, r) })
}

// acknowledged takes a PRACK; it returns the response that it names, or nil.
func (o *invited) acknowledged(c *call, req *stack.Request) *sip.Response {
	tag := paramTag(req.To().Params)
	r := o.rel[tag]
	rseq, cseq, ok := readRAck(req.Request)
	if r == nil || r.sent == nil || !ok || rseq != r.seq || cseq != o.req.CSeq().SeqNo {
		return nil
	}
	res := r.sent
	r.sent = nil
	c.disarm(timerName{kind: "1xx " + tag})
	return res
}

// nextReliable sends what was queued behind an acknowledged response.
func (o *invited) nextReliable(c *call, tag string) {
	if r := o.rel[tag]; r != nil && r.sent == nil && len(r.queue) > 0 && o.req.Tx.Final() == 0 && c.m.Phase == phaseRinging {
		out := r.queue[0]
		r.queue = r.queue[1:]
		o.sendReliably(c, tag, r, out)
	}
}

// readRAck reads "776656 1 INVITE" (RFC 3262 §7.2).
func readRAck(req *sip.Request) (rseq, cseq uint32, ok bool) {
	h := req.GetHeaders("RAck")
	if len(h) != 1 {
		return 0, 0, false
	}
	f := strings.Fields(h[0].Value())
	if len(f) != 3 || f[2] != string(sip.INVITE) {
		return 0, 0, false
	}
	r, errR := strconv.ParseUint(f[0], 10, 32)
	s, errS := strconv.ParseUint(f[1], 10, 32)
	return uint32(r), uint32(s), errR == nil && errS == nil
}

// onPrack takes a PRACK in an early dialog (or just after its 2xx); f is nil while no phone has
// answered with a tag of its own.
func (c *call) onPrack(f *fork, l *leg, req *stack.Request) {
	o, ok := c.origin.(*invited)
	var named *sip.Response
	if ok && (l == nil || l.Side == caller) {
		named = o.acknowledged(c, req)
	}
	if named == nil { // RFC 3262 §3
		c.s.respond(req, refusal{code: 481})
		return
	}
	described, body := isSDP(named), description(req.Request)
	switch {
	case described && c.late:
		c.answerInPrack(f, req, body)
	case len(body) > 0 && f != nil:
		f.callerDone = f.callerDone || described
		c.onEarlyOffer(f, l, req)
	default:
		if f != nil {
			f.callerDone = f.callerDone || described
		}
		_ = req.Tx.Respond(c.s.stack.NewResponse(req, 200, "OK")) // the peer repeats a PRACK whose response is lost
	}
	o.nextReliable(c, paramTag(req.To().Params))
	c.answerHeld()
}

// answerInPrack: the phone made the offer in its provisional response, and here is the answer.
func (c *call) answerInPrack(f *fork, req *stack.Request, answer []byte) {
	body, err := c.passAnswer(f, caller, answer)
	if err != nil || len(body) == 0 {
		c.log.Info("no usable answer in PRACK", slog.Any(observe.Err, err))
		c.s.respond(req, refusal{code: 488, warn: 399, text: "The offer in the provisional response was not answered"})
		c.step(evGiveUp{488, "no usable answer to the offer"})
		return
	}
	f.caller.agreed(answer)
	f.callerDone = true
	c.prack(f, body)
	_ = req.Tx.Respond(c.s.stack.NewResponse(req, 200, "OK"))
}

// takeReliable looks at a phone's provisional response. It returns false for one that must not be
// processed: repeated, out of order (RFC 3262 §4), or with an offer that nobody can answer.
func (c *call) takeReliable(b *branchLeg, res *sip.Response) bool {
	if res.StatusCode <= 100 || !stack.HasToken(res, "Require", reliableTag) {
		return true
	}
	h := res.GetHeaders("RSeq")
	if len(h) != 1 || paramTag(res.To().Params) == "" {
		return false
	}
	rseq, err := strconv.ParseUint(strings.TrimSpace(h[0].Value()), 10, 32)
	if err != nil || rseq == 0 {
		return false
	}
	f, ferr := c.forkOf(b, res)
	if ferr != nil || f.rseq != 0 && uint32(rseq) != f.rseq+1 {
		return false
	}
	if c.late && !c.offersReliably() {
		c.log.Info("reliable response that nobody asked for", slog.String(observe.Extension, b.target.terminal.Extension))
		return false
	}
	f.rseq = uint32(rseq)
	f.unacked = true
	return true
}

// offersReliably reports whether reliable provisional responses are asked of the phones.
func (c *call) offersReliably() bool {
	if !c.late {
		return true
	}
	o, ok := c.origin.(*invited)
	return ok && o.reliably()
}

// ackReliable acknowledges the response that was just processed, unless its PRACK has to bring
// an answer that only the caller can give.
func (c *call) ackReliable(b *branchLeg, res *sip.Response) {
	f := b.forks[paramTag(res.To().Params)]
	if f == nil || !f.unacked {
		return
	}
	body := description(res)
	switch {
	case len(body) == 0:
	case !c.late:
		f.calleeDone = true
	case !f.calleeDone:
		if c.m.Phase == phaseRinging {
			return
		}
		c.prack(f, rejectAll(body)) // nobody is left to answer
		return
	}
	c.prack(f, nil)
}

// prack acknowledges the phone's last reliable response.
func (c *call) prack(f *fork, body []byte) {
	if !f.unacked {
		return
	}
	f.unacked = false
	if len(body) > 0 {
		f.calleeDone = true
	}
	req := f.callee.Dialog.Request(sip.PRACK)
	req.AppendHeader(sip.NewHeader("RAck", strconv.FormatUint(uint64(f.rseq), 10)+" "+
		strconv.FormatUint(uint64(f.branch.invite.CSeq().SeqNo), 10)+" INVITE"))
	setBody(req, body)
	c.send(f.callee, req, func(res *sip.Response) {
		if !res.IsProvisional() && !res.IsSuccess() {
			c.log.Info("PRACK refused", slog.Int(observe.Code, res.StatusCode))
		}
	}, func(err error) { c.log.Info("PRACK not answered", slog.Any(observe.Err, err)) })
}

// settled reports whether offer and answer are complete on both legs before the 2xx.
func (f *fork) settled() bool { return f.callerDone && f.calleeDone }

// heldAnswer is a phone's 2xx that may not go on yet.
type heldAnswer struct {
	answer acAnswer
	res    *sip.Response
}

// mustHold reports whether a 2xx has to wait: for the PRACK of a response with a description
// (RFC 3262 §3), or for the end of an exchange in the early dialog.
func (c *call) mustHold(f *fork) bool {
	if c.re != nil && c.re.early && c.re.fork == f {
		return true
	}
	o, ok := c.origin.(*invited)
	return ok && o.rel[f.caller.Dialog.ID.LocalTag].described()
}

// answerHeld takes up a held 2xx when nothing is in its way any more.
func (c *call) answerHeld() {
	h := c.waits
	if h == nil || c.m.Phase != phaseAnswering || c.mustHold(c.pair) {
		return
	}
	c.waits = nil
	before := c.current
	c.current = h.res
	c.takeAnswer(h.answer)
	c.current = before
}

// dropHeld acknowledges a held 2xx of a call that will not be, so that its dialog can end.
func (c *call) dropHeld() {
	if h := c.waits; h != nil {
		c.waits = nil
		c.sendAck(c.pair.callee, h.res.CSeq().SeqNo, c.answerToRefused(h.res))
	}
}
