package call

import (
	"log/slog"
	"slices"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/sip/location"
	"linehall/sip/stack"
)

// How one phone is reached that has several flows (RFC 5626), or names itself by a GRUU (RFC 5627).

// flows groups the bindings of an AOR by phone: the flows of one instance lead to the same phone, which rings once (RFC
// 5626 §6). Those whose connection lives come first, then as they were; the others are for when that one fails.
func (s *Service) flows(bindings []location.Binding) [][]location.Binding {
	var groups [][]location.Binding
	for _, b := range bindings {
		i := slices.IndexFunc(groups, func(g []location.Binding) bool { return b.Instance != "" && g[0].Instance == b.Instance })
		if i < 0 {
			groups = append(groups, []location.Binding{b})
			continue
		}
		groups[i] = append(groups[i], b)
	}
	for _, g := range groups {
		slices.SortStableFunc(g, func(a, b location.Binding) int { return rankAlive(s.stack, a) - rankAlive(s.stack, b) })
	}
	return groups
}

func rankAlive(st *stack.Stack, b location.Binding) int {
	if st.Alive(b.Flow) {
		return 0
	}
	return 1
}

// another tries the next flow of a branch's phone when this one leads nowhere (RFC 5626 §6): its connection is gone
// (430) or nobody answers there (408). It reports false when there is none left.
func (c *call) another(b *branchLeg, code int) bool {
	if code != 430 && code != 408 || len(b.target.others) == 0 || c.m.Phase != phaseRinging || c.m.Branches[b.index].Progress != branchCalling {
		return false
	}
	failed := b.target.binding.Flow
	b.target.binding, b.target.others = b.target.others[0], b.target.others[1:]
	c.log.Info("other flow of the phone tried", slog.String(observe.Extension, b.target.terminal.Extension),
		slog.String(observe.Contact, b.target.contact()), slog.Int(observe.Code, code), slog.String("failed", failed.String()))
	if b.path != nil {
		b.path.Close()
	}
	b.site = c.s.siteOfTarget(&b.target)
	c.rec.Legs[b.index].Contact = b.target.contact()
	c.launch(b)
	return true
}

// pin leaves, of the bindings of an extension, those of the phone that the caller has named by its GRUU.
func (c *call) pin(found []location.Binding) []location.Binding {
	if c.pinned == nil {
		return found
	}
	return slices.DeleteFunc(slices.Clone(found), func(b location.Binding) bool {
		return !slices.ContainsFunc(c.pinned.Bindings, func(p location.Binding) bool { return p.Instance == b.Instance })
	})
}

// translate replaces a GRUU of ours in the request line by the contact that it stands for: that is what the phone knows
// itself by (RFC 5627 §5.4, RFC 3261 §16.5). The flow decides which contact, if the instance has several.
func (s *Service) translate(req *sip.Request, flow stack.Flow) {
	t, ours, err := s.o.Locations.Resolve(&req.Recipient)
	if !ours || err != nil || len(t.Bindings) == 0 {
		return // it goes over the leg's flow as it is
	}
	b := t.Bindings[max(0, slices.IndexFunc(t.Bindings, func(b location.Binding) bool { return b.Flow == flow }))]
	uri, err := b.RequestURI()
	if err != nil {
		return
	}
	req.Recipient = uri
	if len(req.GetHeaders("Route")) == 0 {
		for _, p := range b.Routes() {
			var next sip.Uri
			if sip.ParseUri(p, &next) == nil {
				req.AppendHeader(&sip.RouteHeader{Address: next})
			}
		}
	}
}

// bindingsOf are the places where a leg's phone may be now: those of its instance, if its Contact is a GRUU (exact), else
// those of its extension.
func (c *call) bindingsOf(l *leg) (found []location.Binding, exact bool) {
	if l.Dialog != nil {
		var uri sip.Uri
		if sip.ParseUri(l.Dialog.Target, &uri) == nil {
			if t, ours, err := c.s.o.Locations.Resolve(&uri); ours && err == nil && len(t.Bindings) > 0 {
				return t.Bindings, true
			}
		}
	}
	return c.bindings(l), false
}

// datagramLimit is what a request may take over UDP before another transport is asked for (RFC 3261 §18.1.1: 1300 bytes,
// when the path's MTU is not known).
const datagramLimit = 1300

// wide is the flow for a request that is too big for a datagram: a connection of the same phone, if it has one. Without,
// it goes in fragments: desk phones take them, and a call that is not made helps nobody.
func (c *call) wide(req *sip.Request, l *leg, flow stack.Flow) stack.Flow {
	if flow.Transport != stack.UDP || len(req.Body()) == 0 && len(req.Headers()) < 12 || len(req.String()) <= datagramLimit {
		return flow
	}
	bindings, exact := c.bindingsOf(l)
	for _, b := range bindings {
		if b.Flow.Stream() && (exact || sameInstance(b, flow, bindings)) && c.s.stack.Alive(b.Flow) {
			return b.Flow
		}
	}
	return flow
}

// sameInstance reports whether the binding's phone is the one that is reached over flow.
func sameInstance(b location.Binding, flow stack.Flow, all []location.Binding) bool {
	return slices.ContainsFunc(all, func(o location.Binding) bool { return o.Flow == flow && o.Instance != "" && o.Instance == b.Instance })
}
