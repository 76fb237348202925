package call

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/sip/digest"
	"linehall/sip/route"
	"linehall/sip/stack"
)

// The core's side of calls over trunks: which gateways are tried, how one is called and answers
// our credentials, and what of us it may see.

const (
	// findTime bounds the search for gateways and the opening of a connection to one: name servers
	// and gateways that do not answer must not keep a caller waiting for what comes next.
	findTime = 10 * time.Second
	// mostAttempts bounds the gateways that one stage tries.
	mostAttempts = 16
)

// findOutside asks for the ways to a stage's number; they come back as msgFound.
func (c *call) findOutside(stage *route.Stage) {
	if r := c.afford(stage.Outside); r.code != 0 {
		c.opened(stage, []target{{number: stage.Outside.Number, refuse: r}})
		return
	}
	o := Outgoing{
		Outside: *stage.Outside, Caller: c.terminal, From: c.rec.From, Name: c.fromName, Site: site.ID(c.rec.FromSite),
		Withheld: c.callerIdentity().Private, Emergency: c.emergency(), Diversions: slices.Clip(c.history),
	}
	if c.incoming != nil {
		o.FromTrunk = c.incoming.Trunk
	}
	parent := c.ctx
	c.s.work.Go(func() {
		ctx, cancel := withoutCancel(parent, findTime)
		defer cancel()
		c.post(msgFound{stage, c.s.o.Trunks.Attempts(ctx, o)})
	})
}

// onFound takes the ways outside.
func (c *call) onFound(m msgFound) {
	number := m.stage.Outside.Number
	if len(m.attempts) == 0 {
		c.opened(m.stage, []target{{number: number, refuse: noTrunk()}})
		return
	}
	targets := make([]target, 0, min(len(m.attempts), mostAttempts))
	for i := range m.attempts[:cap(targets)] {
		targets = append(targets, target{number: number, attempt: &m.attempts[i], wave: i})
	}
	c.opened(m.stage, targets)
}

func noTrunk() refusal { return refusal{code: 480, warn: 399, text: "No trunk takes this call"} }

// reach makes an attempt's turn: the gateway's line is counted, its connection opened, and it has
// only so long to say anything.
func (c *call) reach(b *branchLeg) {
	a := b.target.attempt
	if r := c.affordTrunk(a.Trunk, b.of.stage.Outside); r.code != 0 {
		c.passOver(b, r)
		return
	}
	if !c.s.seize(c, a.Trunk, a.Gateway, a.Most) {
		c.passOver(b, noTrunk())
		return
	}
	if a.Patience > 0 {
		c.arm(timerName{"silence", b.index}, a.Patience, func() {
			c.step(evSilence{b.index})
			if c.m.Branches[b.index].Progress == branchAbandoned {
				c.report(b, 408) // the next call need not wait for it
			}
		})
	}
	if a.Connect == nil {
		c.launch(b)
		return
	}
	c.connect(func(ctx context.Context) (stack.Flow, error) { return a.Connect(ctx) }, func(flow stack.Flow, err error) {
		if err != nil {
			c.onBranchEnd(b, err)
			return
		}
		a.Flow = flow
		b.site = c.s.siteOfTarget(&b.target)
		c.launch(b)
	})
}

// passOver gives a gateway no turn: it is not its fault, and the next one may take the call.
func (c *call) passOver(b *branchLeg, r refusal) {
	b.refuse, b.reported = r, true
	c.rec.Legs[b.index].Code = r.code
	c.step(evPassedOver{b.index, r.code})
}

// connect opens a connection without keeping the owner waiting; then is called by the owner, and the
// call does not end before that.
func (c *call) connect(open func(ctx context.Context) (stack.Flow, error), then func(flow stack.Flow, err error)) {
	c.dials++
	parent := c.ctx
	c.s.work.Go(func() {
		ctx, cancel := withoutCancel(parent, findTime)
		defer cancel()
		flow, err := open(ctx)
		c.post(msgConnected{flow: flow, err: err, then: then})
	})
}

func (c *call) onConnected(m msgConnected) {
	c.dials--
	m.then(m.flow, m.err)
}

// report gives the trunk the end of an attempt and its line back.
func (c *call) report(b *branchLeg, code int) {
	a := b.target.attempt
	if a == nil || b.reported {
		return
	}
	b.reported = true
	c.disarm(timerName{"silence", b.index})
	c.s.o.Trunks.Report(a.Trunk, a.Gateway, code)
	if code != 200 {
		c.s.hangUp(c, a.Trunk, a.Gateway)
		c.s.o.Tolls.Leave(c.id, a.Trunk)
	}
}

// outsideInvite is the head of an INVITE to a gateway: who we are there is the trunk's word.
func (c *call) outsideInvite(a *Attempt, inv *sip.Request, tag string) refusal {
	from, to := &sip.FromHeader{DisplayName: display(a.From.Name), Params: sip.HeaderParams{{K: "tag", V: tag}}}, &sip.ToHeader{}
	if sip.ParseUri(a.From.URI, &from.Address) != nil || sip.ParseUri(a.to(), &to.Address) != nil {
		return refusal{code: 500, text: "the trunk's identity cannot be used"}
	}
	inv.AppendHeader(from)
	inv.AppendHeader(to)
	return refusal{}
}

// outsideForwards tells another network that the call was forwarded, which is why a caller may be shown
// who is no subscriber of ours: Diversion, which networks ask for. Whoever of us forwarded it is our
// identity there; other numbers came from outside and go there again.
func (s *Service) outsideForwards(a *Attempt, history []route.Diversion) [][2]string {
	if a.Asserted.URI == "" {
		return nil
	}
	var us sip.Uri
	if sip.ParseUri(a.Asserted.URI, &us) != nil {
		return nil
	}
	name := func(number string) Identity {
		if _, ours := s.o.Directory.ByExtension(number); ours || !outsideNumber(number) {
			return a.Asserted
		}
		return Identity{URI: "sip:" + escapeUser(number) + "@" + us.HostPort()}
	}
	return forwardHeaders(asDiversion, history, name, Identity{})
}

// outsideNumber reports whether a number is written as the public network does, so that it can be
// none of our groups or services.
func outsideNumber(number string) bool { return strings.HasPrefix(number, "+") }

func (a *Attempt) to() string {
	if a.To != "" {
		return a.To
	}
	return a.URI
}

// asserted is the value of the identity that the gateway is told, "" for none.
func (a *Attempt) asserted() string {
	if a.Asserted.URI == "" {
		return ""
	}
	return a.Asserted.nameAddr()
}

// inside are headers that tell about our phones and how they are reached. None crosses to a trunk;
// what the trunk itself wants to say is added afterwards.
var inside = []string{ //nolint:gochecknoglobals // a constant list
	"P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Diversion", "History-Info", "Alert-Info", "Call-Info",
	"User-Agent", "Server", "Subject", "Date", "Organization", "Referred-By", "Accept-Language", "Reply-To",
}

// hide removes from a request what a gateway need not know, and gives it our identity there.
func (l *leg) hide(req *sip.Request) {
	for _, name := range inside {
		for req.RemoveHeader(name) {
		}
	}
	req.AppendHeader(sip.NewHeader("User-Agent", agent))
	if l.Asserted != "" && (req.Method == sip.INVITE || req.Method == sip.UPDATE) {
		req.AppendHeader(sip.NewHeader("P-Asserted-Identity", l.Asserted))
	}
}

// hideResponse does the same for a response; it may be asked twice. Where a phone would rather be
// called is not for another network.
func hideResponse(res *sip.Response) {
	for _, name := range inside {
		for res.RemoveHeader(name) {
		}
	}
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		for res.RemoveHeader("Contact") {
		}
	}
	for _, h := range res.GetHeaders("Warning") {
		if value := anonymousWarning(h.Value()); value != h.Value() {
			for res.RemoveHeader("Warning") {
			}
			res.AppendHeader(sip.NewHeader("Warning", value))
			return // further ones are gone with it
		}
	}
}

// authorize answers the challenge of a gateway by sending the request once more (RFC 3261 §22.2),
// and a second time when only the nonce was too old. It reports whether it did.
func (c *call) authorize(out *outgoing, res *sip.Response) bool {
	l := out.leg
	challenge, answer := "WWW-Authenticate", "Authorization"
	switch {
	case l.Trunk == "" || c.s.o.Trunks == nil || out.cancel || out.challenged > 1:
		return false
	case res.StatusCode == 407:
		challenge, answer = "Proxy-Authenticate", "Proxy-Authorization"
	case res.StatusCode != 401:
		return false
	}
	for _, h := range res.GetHeaders(challenge) {
		if out.challenged > 0 && !digest.Stale(h.Value()) {
			continue
		}
		value, err := c.s.o.Trunks.Authorize(l.Trunk, l.Gateway, h.Value(), string(out.req.Method), out.req.Recipient.String(), out.req.Body())
		if err != nil {
			c.log.Info("challenge of a gateway not answered", slog.String("trunk", l.Trunk), slog.Any(observe.Err, err))
			continue
		}
		c.repeat(out, answer, value)
		return true
	}
	return false
}

// repeat sends a request again as a new transaction with one more header.
func (c *call) repeat(out *outgoing, name, value string) {
	for out.req.RemoveHeader(name) {
	}
	out.req.AppendHeader(sip.NewHeader(name, value))
	out.req.CSeq().SeqNo++
	if d := out.leg.Dialog; d != nil {
		d.LocalSeq = max(d.LocalSeq, out.req.CSeq().SeqNo)
		c.dirty()
	}
	out.closed, out.tx = false, nil
	out.challenged++
	c.pending++
	c.try(out)
}

// Active is how many calls run over a gateway of a trunk, in either direction, or with gateway ""
// over all of them.
func (s *Service) Active(trunk, gateway string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines[lineKey{trunk, gateway}]
}

// lineKey names a gateway, or with an empty gateway the whole trunk.
type lineKey struct{ trunk, gateway string }

// seize claims a place on a gateway until hangUp, or the end of the call, and reports whether there was one: looking
// and taking are one step, so that calls of the same moment cannot share the last place. Emergency calls find one.
func (s *Service) seize(c *call, trunk, gateway string, most Capacity) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.emergency() && s.fullLocked(trunk, gateway, most) {
		return false
	}
	s.seizeLocked(c, trunk, gateway)
	return true
}

func (s *Service) fullLocked(trunk, gateway string, most Capacity) bool {
	return most.Trunk > 0 && s.lines[lineKey{trunk, ""}] >= most.Trunk ||
		most.Gateway > 0 && gateway != "" && s.lines[lineKey{trunk, gateway}] >= most.Gateway
}

// carryOver moves the place of a leg to the call that takes the leg over, and what that counts for.
func (s *Service) carryOver(from, to *call, l *leg) {
	if l.Trunk == "" || from == to {
		return
	}
	s.o.Tolls.Move(from.id, to.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	key := lineKey{l.Trunk, l.Gateway}
	if i := slices.Index(from.lines, key); i >= 0 {
		from.lines = slices.Delete(from.lines, i, i+1)
		to.lines = append(to.lines, key)
		return
	}
	s.seizeLocked(to, l.Trunk, l.Gateway) // its call has ended meanwhile
}

func (s *Service) seizeLocked(c *call, trunk, gateway string) {
	c.lines = append(c.lines, lineKey{trunk, gateway})
	s.lines[lineKey{trunk, ""}]++
	if gateway != "" {
		s.lines[lineKey{trunk, gateway}]++
	}
}

func (s *Service) hangUp(c *call, trunk, gateway string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := lineKey{trunk, gateway}
	if i := slices.Index(c.lines, key); i >= 0 {
		c.lines = slices.Delete(c.lines, i, i+1)
		s.hungUpLocked(key)
	}
}

func (s *Service) hungUpLocked(key lineKey) {
	keys := []lineKey{key}
	if key.gateway != "" {
		keys = append(keys, lineKey{key.trunk, ""})
	}
	for _, k := range keys {
		if s.lines[k]--; s.lines[k] <= 0 {
			delete(s.lines, k)
		}
	}
}
