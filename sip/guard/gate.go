package guard

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"time"

	"linehall/sip/stack"
)

// question is what somebody has asked whom nobody vouches for: for one user, in the name of another.
//
//	enter → asked → 401 → challenged → credentials → answering → right or wrong: forgotten
//	                          │ patience
//	                          └→ late: a try of a scan
type question struct {
	what       uint64 // a hash of both names
	at         time.Time
	challenged bool
	answering  bool
	late       bool
}

const (
	// patience is how long the answer to a challenge may take: the round trip of any phone, and two repetitions of what was
	// lost on the way (0.5 and 1.5 s after it).
	patience = 3 * time.Second
	// again is how long after it the same question, which had no answer, counts as another one. A phone without its
	// password asks every half minute.
	again = 5 * time.Second
	// mostExtra bounds the questions that an address may have under way beyond the usual, after as many right answers. One
	// that stays unanswered halves them, as TCP does with its window.
	mostExtra = 256
)

// sourcePlaces is how many questions of one address may be under way, unanswered; flowPlaces of one port or connection. Both
// are below what a ban takes: whoever answers none gets no more than these, however fast he asks.
func (c *core) sourcePlaces() int { return max(1, c.config.Tries*4/5) }

func (c *core) flowPlaces() int { return max(1, c.config.Tries*2/5) }

// late says how many questions without an answer make a scan, of those that count as tries.
func (c *core) late() int { return max(1, c.config.Tries*3/4) }

// hash names a question.
func (c *core) hash(from, to string) uint64 { return maphash.String(c.seed, from+"\x00"+to) }

// enter reports whether a question may be asked now, and notes it. home says whether the user that it is about is
// registered from the address; it is asked when there is no place left.
func (c *core) enter(now time.Time, remote netip.AddrPort, what uint64, shown bool, st Standing, home func() bool) bool {
	source := stack.SourceKey(remote.Addr())
	if st.Flow || st.Gateway || c.vouched(now, remote) || c.exempt(source) {
		return true
	}
	src, flow := c.suspects(now, remote)
	if src.ban.Until.After(now) || flow.ban.Until.After(now) {
		return false
	}
	if shown && src.answer(what) {
		flow.answer(what)
		return true
	}
	known := st.Address || within(now, src.good, trusted)
	if !c.place(src, flow, known) && (!known || src.has(what) || !home()) {
		return false
	}
	src.ask(now, what, c.most(src))
	flow.ask(now, what, c.most(flow))
	return true
}

// vouched reports whether a password was right lately over this port or connection.
func (c *core) vouched(now time.Time, remote netip.AddrPort) bool {
	flow := c.flows.entries[remote]
	return flow != nil && within(now, flow.good, trusted)
}

// suspects are the address and the port or connection that somebody asks from.
func (c *core) suspects(now time.Time, remote netip.AddrPort) (src, flow *tally) {
	src, flow = c.count(now, c.sources.at(stack.SourceKey(remote.Addr()))), c.count(now, c.flows.at(remote))
	src.tidy(now)
	flow.tidy(now)
	return src, flow
}

// place reports whether one more question may be under way. Of an address without phones all tries together are bounded.
func (c *core) place(src, flow *tally, known bool) bool {
	return c.sourcePlace(src, known) && flow.underWay() < c.flowPlaces() && flow.asking()+flow.tries < c.config.Tries-1
}

func (c *core) sourcePlace(src *tally, known bool) bool {
	return src.underWay() < c.sourcePlaces()+src.extra && (known || src.asking()+src.tries < c.config.Tries-1)
}

// most bounds the questions that are remembered of somebody.
func (c *core) most(t *tally) int { return c.sourcePlaces() + c.config.Tries + t.extra }

// challenged notes that a question got its challenge, and returns the bans that follow. Whether the user exists is not
// looked at: a ban tells nothing.
func (c *core) challenged(now time.Time, remote netip.AddrPort, what uint64, who func() Standing) []Ban {
	if c.vouched(now, remote) {
		return nil
	}
	src, flow := c.suspects(now, remote)
	src.challenge(now, what, c.most(src))
	flow.challenge(now, what, c.most(flow))
	return c.scan(now, remote, who, false)
}

// scan bans who has asked too many questions and answered none. One that waits counts too; and when one does, those that
// found a place are enough: somebody who does not answer would wait for ever.
func (c *core) scan(now time.Time, remote netip.AddrPort, who func() Standing, waiting bool) []Ban {
	src, flow := c.suspects(now, remote)
	full := func(t *tally, places int) bool {
		late, tries := t.late(), t.asking()+t.tries
		if waiting {
			tries++
		}
		return tries >= c.config.Tries && late+t.tries >= c.late() || waiting && late >= places
	}
	why := Scan
	if src.tries > src.asking() {
		why = Passwords // the last try would have been a question
	}
	return c.shutOut(now, remote, who, why, full(src, c.sourcePlaces()), full(flow, c.flowPlaces()))
}

// probed counts an OPTIONS outside of calls, which everybody gets an answer to: nobody needs more than a few, and nobody
// asks so for one user after the other.
func (c *core) probed(now time.Time, remote netip.AddrPort, user string, who func() Standing) []Ban {
	if c.vouched(now, remote) {
		return nil
	}
	src, flow := c.suspects(now, remote)
	flood := func(t *tally) bool {
		if now.Sub(t.probing) > optionsSpan {
			t.probing, t.options = now, 0
		}
		t.options++
		return t.options > mostOptions
	}
	whole, part := flood(src), flood(flow)
	if user != "" {
		what := c.hash("\x00options", user)
		src.probe(now, what, c.most(src))
		flow.probe(now, what, c.most(flow))
	}
	if bans := c.scan(now, remote, who, false); len(bans) > 0 {
		return bans
	}
	return c.shutOut(now, remote, who, Flood, whole, part)
}

// shutOut bans the address, or of one with phones the port or connection. Who is there is asked only when there is reason to.
func (c *core) shutOut(now time.Time, remote netip.AddrPort, who func() Standing, why Reason, whole, part bool) []Ban {
	source := stack.SourceKey(remote.Addr())
	src, flow := c.sources.at(source), c.flows.at(remote)
	if !whole && !part || within(now, flow.good, trusted) || c.exempt(source) {
		return nil
	}
	st := who()
	t, b := src, Ban{Kind: Address, Source: source, Reason: why}
	if st.Address || within(now, src.good, trusted) {
		if !part {
			return nil
		}
		t, b = flow, Ban{Kind: Flow, Source: source, Flow: remote, Reason: why}
	}
	if st.Flow || t.ban.Until.After(now) {
		return nil
	}
	b.Tries = max(t.asking()+t.tries, t.options)
	return []Ban{c.strike(now, t, b)}
}

// answered takes a question back: there were credentials, right or wrong.
func (c *core) answered(remote netip.AddrPort, what uint64) {
	for _, t := range []*tally{c.sources.entries[stack.SourceKey(remote.Addr())], c.flows.entries[remote]} {
		if t != nil {
			t.asked = slices.DeleteFunc(t.asked, func(q question) bool { return q.what == what })
		}
	}
}

// excuse gives the questions of somebody more time: for so long nobody could have taken an answer.
func (c *core) excuse(remote netip.AddrPort, source bool, late time.Duration) {
	t := c.flows.entries[remote]
	if source {
		t = c.sources.entries[stack.SourceKey(remote.Addr())]
	}
	if t == nil {
		return
	}
	for i := range t.asked {
		if !t.asked[i].late {
			t.asked[i].at = t.asked[i].at.Add(late)
		}
	}
}

// tidy looks which questions have waited too long. One that was never challenged was refused for another reason, or was
// not the guard's business.
func (t *tally) tidy(now time.Time) {
	t.asked = slices.DeleteFunc(t.asked, func(q question) bool {
		return !q.late && now.Sub(q.at) >= patience && (!q.challenged || q.answering)
	})
	for i, q := range t.asked {
		if !q.late && now.Sub(q.at) >= patience {
			t.asked[i].late = true
			t.extra /= 2
		}
	}
}

// underWay counts the questions that may still be answered.
func (t *tally) underWay() int {
	return t.number(func(q question) bool { return !q.late && !q.answering })
}

// asking counts all that have no answer.
func (t *tally) asking() int { return t.number(func(q question) bool { return !q.answering }) }

func (t *tally) late() int { return t.number(func(q question) bool { return q.late }) }

func (t *tally) number(of func(q question) bool) int {
	n := 0
	for _, q := range t.asked {
		if of(q) {
			n++
		}
	}
	return n
}

func (t *tally) has(what uint64) bool {
	return slices.ContainsFunc(t.asked, func(q question) bool { return q.what == what })
}

// answer reports whether there is such a question, which the credentials that come now are the answer to.
func (t *tally) answer(what uint64) bool {
	for i, q := range t.asked {
		if q.what == what && !q.answering {
			t.asked[i].answering, t.asked[i].late = true, false
			return true
		}
	}
	return false
}

// ask notes a question. The same one again, some time after the last, is no new one.
func (t *tally) ask(now time.Time, what uint64, most int) {
	q := question{what: what, at: now}
	for i, old := range slices.Backward(t.asked) {
		if old.what != what {
			continue
		}
		if old.late && now.Sub(old.at) >= again {
			t.asked[i] = q
			return
		}
		break
	}
	if len(t.asked) >= most {
		t.asked = slices.Delete(t.asked, 0, 1)
	}
	t.asked = append(t.asked, q)
}

func (t *tally) challenge(now time.Time, what uint64, most int) {
	for range 2 { // the second time there is one
		for i, q := range t.asked {
			if q.what == what && !q.challenged {
				t.asked[i].challenged, t.asked[i].at = true, now
				return
			}
		}
		t.ask(now, what, most)
	}
}

// probe notes a question that has had its answer and will never be followed by credentials.
func (t *tally) probe(now time.Time, what uint64, most int) {
	if t.has(what) {
		return
	}
	t.ask(now, what, most)
	last := &t.asked[len(t.asked)-1]
	last.challenged, last.late = true, true
}
