package main

import (
	"context"

	"linehall/internal/site"
	"linehall/sip/call"
	"linehall/sip/stack"
	"linehall/sip/trunk"
)

// trunkLines are the trunks as calls see them. The media of a gateway ends at headquarters, where every line ends, unless
// its address lies at a site.
type trunkLines struct {
	*trunk.Service

	atlas *site.Atlas
}

// Attempts lists the ways to a number outside.
func (l trunkLines) Attempts(ctx context.Context, o call.Outgoing) []call.Attempt {
	found := l.Service.Attempts(ctx, trunk.Outgoing{
		Trunks: o.Trunks, Number: o.Number, AsDialled: o.AsDialled, Extension: o.Caller.Extension, Name: o.Name,
		Identity: o.Identity, Withheld: o.Withheld, Emergency: o.Emergency,
	})
	attempts := make([]call.Attempt, 0, len(found))
	for _, a := range found {
		attempts = append(attempts, call.Attempt{
			Trunk: a.Trunk, Gateway: a.Gateway, URI: a.URI, Routes: a.Routes, Flow: a.Flow, Connect: a.Connect, Site: l.atlas.Main(),
			From: call.Identity{Name: a.FromName, URI: a.From}, Asserted: call.Identity{Name: a.Name, URI: a.Asserted},
			Contact: a.Contact, Headers: a.Headers, Patience: a.Patience, SRTP: a.SRTP,
			Most: call.Capacity{Trunk: a.TrunkCalls, Gateway: a.GatewayCalls},
		})
	}
	return attempts
}

// Identify says which trunk an INVITE comes from. Whoever the administrator named as a trunk is believed about forwards.
func (l trunkLines) Identify(req *stack.Request) (call.Incoming, bool) {
	in, known := l.Service.Identify(req)
	if !known {
		return call.Incoming{}, false
	}
	return call.Incoming{
		Trunk: in.Trunk, Gateway: in.Gateway, Site: l.atlas.Main(), From: in.From, Name: in.Name, Number: in.Number,
		Trusted: true, Most: call.Capacity{Trunk: in.TrunkCalls, Gateway: in.GatewayCalls}, SRTP: in.SRTP,
	}, true
}
