package main

import (
	"context"
	"time"

	"linehall/provisioning/pnp"
	"linehall/provisioning/serve"
	"linehall/sip/stack"
)

// newPnP answers phones that look for their files by multicast with what the server of files says.
func newPnP(server *serve.Server, g *ground) *pnp.Server {
	return pnp.New(pnp.Options{
		Now: time.Now, Log: g.log, Dropped: g.dropped,
		Introduce: func(ctx context.Context, a pnp.Asked) (string, bool) {
			return server.Introduce(ctx, serve.Newcomer{
				MAC: a.MAC, Vendor: a.Vendor, Model: a.Model, Version: a.Version, Remote: a.Remote.Addr(), Local: a.Own.Addr(),
			})
		},
	})
}

// offerPnP has the SIP sockets offer what they read to those who answer phones without a configuration.
func offerPnP(s *stack.Stack, server *pnp.Server) {
	s.OnDatagram(func(data []byte, flow stack.Flow) bool {
		return server.Take(data, flow.Remote, flow.Local, func(answer []byte) error { return s.WriteDatagram(flow, answer) })
	})
}
