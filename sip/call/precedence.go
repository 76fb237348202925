package call

import (
	"log/slog"
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/media/line"
	"linehall/sip/stack"
)

// Precedence of calls (RFC 4412, ITU-T Q.735.3). A terminal's class of service says up to which
// level its calls may go; without a Resource-Priority header they go at that level. A call above
// routine takes the place of lower ones when a line is full (media/line). Whose place was taken
// is told to both sides, with the Reason of RFC 4411, and its record says to which call.

// priorityTag is the option tag of RFC 4412 §3.4.
const priorityTag = "resource-priority"

// namespaces are the ones we honour (RFC 4412 §10.2, §10.4), each value at its level, the lowest
// first. Others are of no meaning here and passed over.
var namespaces = map[string][]string{ //nolint:gochecknoglobals // a constant table
	"dsn":  {"routine", "priority", "immediate", "flash", "flash-override"},
	"q735": {"4", "3", "2", "1", "0"},
}

// acceptedPriorities is our Accept-Resource-Priority (RFC 4412 §3.2).
func acceptedPriorities() string {
	var all []string
	for _, name := range []string{"dsn", "q735"} {
		for _, value := range namespaces[name] {
			all = append(all, name+"."+value)
		}
	}
	return strings.Join(all, ", ")
}

// resourcePriority is what a request asks for.
type resourcePriority struct {
	level  line.Precedence // the highest of the values we know
	values []string        // those, as they are passed on
}

// readPriority reads the Resource-Priority headers of a request; ok is false when a namespace is
// there twice, which RFC 4412 §3.1 forbids.
func readPriority(req *sip.Request) (p resourcePriority, ok bool) {
	seen := map[string]bool{}
	for _, h := range req.GetHeaders("Resource-Priority") {
		for value := range strings.SplitSeq(h.Value(), ",") {
			value = strings.ToLower(strings.TrimSpace(value))
			namespace, word, _ := strings.Cut(value, ".")
			if seen[namespace] {
				return resourcePriority{}, false
			}
			seen[namespace] = true
			for level, known := range namespaces[namespace] {
				if word == known {
					p.values = append(p.values, value)
					p.level = max(p.level, line.Precedence(level)) //nolint:gosec // an index of five
				}
			}
		}
	}
	return p, true
}

// prioritise gives the call its precedence, or says why it may not have it. An emergency call is
// above all of them whatever it says.
func (c *call) prioritise(req *sip.Request) refusal {
	if c.emergency() {
		return refusal{}
	}
	most := line.Precedence(c.decision.Priority.Level()) //nolint:gosec // an index of five
	asked, ok := readPriority(req)
	switch {
	case !ok:
		return refusal{code: 400, reason: "Bad Resource-Priority", text: "a namespace of Resource-Priority is there twice"}
	case len(asked.values) == 0 && stack.HasToken(req, "Require", priorityTag):
		return refusal{code: 417, reason: "Unknown Resource-Priority", text: "no Resource-Priority that is known here"} // RFC 4412 §4.6.2
	case asked.level > most: // RFC 4412 §4.6.4
		return refusal{code: 403, warn: 399, text: "Calls of this precedence are not allowed for your class of service"}
	case len(asked.values) > 0:
		most = asked.level
	case most > line.PrecedenceRoutine:
		asked.values = []string{"dsn." + namespaces["dsn"][most]}
	}
	c.precedence, c.priorities = most, asked.values
	if most > line.PrecedenceRoutine {
		c.class = line.Priority
		c.rec.Class = c.class.String()
	}
	c.rec.Precedence = most.String()
	return refusal{}
}

// impartPriority tells whoever is called.
func (c *call) impartPriority(inv *sip.Request) {
	if len(c.priorities) > 0 {
		inv.AppendHeader(sip.NewHeader("Resource-Priority", strings.Join(c.priorities, ", ")))
	}
}

// holder is the call as the ledger of the lines knows it.
func (c *call) holder() line.Holder {
	return line.Holder{
		Class: c.class, Precedence: c.precedence, Name: c.id, Since: c.rec.StartedAt,
		Preempted: func(by line.Preemption) { c.notify(msgPreempted{by.By, 488, reservationPreempted}) },
	}
}

// notify brings a message to the owner from a goroutine that must not wait.
func (c *call) notify(m message) {
	if !c.offer(m) {
		c.s.work.Go(func() { c.post(m) })
	}
}

// The Reason values of RFC 4411 §5 that we send.
const (
	userPreempted        = `preemption;cause=1;text="UA Preemption"`
	reservationPreempted = `preemption;cause=2;text="Reserved Resources Preempted"`
)

// onPreempted ends the call in favour of another one.
func (c *call) onPreempted(m msgPreempted) {
	if c.m.Phase == phaseEnded {
		return
	}
	c.log.Info("call preempted", slog.String("by", m.by), slog.String(observe.Reason, m.reason))
	c.preempted, c.rec.PreemptedBy = m.reason, m.by
	c.s.metrics.preempted.Inc()
	c.step(evPreempted{m.code, "preempted by a more important call"})
}

// ownRefusal is the final response of a call that ends by our own decision.
func (c *call) ownRefusal(code int) refusal {
	r := refusal{code: code, cause: c.preempted}
	if c.preempted == reservationPreempted {
		r.warn, r.text = 370, "Insufficient Bandwidth"
	}
	return r
}

// makeWay ends the least important call of a busy extension, if it is less important than c and the
// configuration allows it (RFC 4411 §3.1: access preemption); then c is counted in its place.
// Among equals the newest ends. Emergency calls neither ask for room nor give theirs.
func (s *Service) makeWay(c *call, extension string, limit int) bool {
	if c.precedence == line.PrecedenceRoutine || s.o.PreemptBusy == nil || !s.o.PreemptBusy() {
		return false
	}
	victim := s.replace(c, extension)
	if victim == nil {
		return false
	}
	victim.notify(msgPreempted{c.id, 486, userPreempted})
	return s.occupy(c, extension, limit)
}

// replace takes the least important call off an extension's books.
func (s *Service) replace(c *call, extension string) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var victim *call
	for _, o := range s.calls {
		if o == c || o.emergency() || o.precedence >= c.precedence || !slices.Contains(o.parties, extension) {
			continue
		}
		if victim == nil || o.precedence < victim.precedence || o.precedence == victim.precedence && o.id > victim.id { // ids rise with time
			victim = o
		}
	}
	if victim != nil {
		victim.parties = slices.DeleteFunc(victim.parties, func(p string) bool { return p == extension })
		if s.busy[extension]--; s.busy[extension] <= 0 {
			delete(s.busy, extension)
		}
	}
	return victim
}
