// Package trunk knows the ways to other networks: trunks, their gateways, whether they live, and
// which of them to try for a call; and it recognises the calls that come from them.
//
// A trunk has one or more gateways, by address or by a name that is looked up by RFC 3263 (NAPTR,
// SRV, addresses; every address is tried). Each gateway has one keeper, a goroutine that registers
// with it (RFC 3261 §10, digest of RFC 7616, 423, refresh, back-off, anew after a lost connection)
// where the trunk has an account, and asks it with OPTIONS whether it lives. A gateway is down
// after failuresDown questions or calls in a row that nothing answered, and up again after
// successesUp answers.
//
//	call: Attempts → gateways that live, by priority, weight and room → their addresses
//	INVITE from outside: Identify → trunk, caller's and called number → dialplan.Plan.Inbound
//
// It makes no call: sip/call sends the INVITEs that the attempts describe, counts the calls, and
// reports what became of them. Nothing internal is in an attempt: the identity is the trunk's, one
// of our DIDs, or none.
//
// A Service is safe for concurrent use. Apply changes the set of trunks while calls go on: gateways
// whose settings did not change keep their registration and their state.
//
//	trunks, err := trunk.New(trunk.Options{Stack: s, Active: calls.OnTrunk, Log: log})
//	err = trunks.Apply(cfg.Trunks, cfg.Dialplan.Numbering)
//	go trunks.Run(ctx)
//	for _, a := range trunks.Attempts(ctx, trunk.Outgoing{Trunks: []string{"gateway"}, Number: "+8613800000000"}) {
package trunk
