package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"linehall/cmd/linesim/appliance"
)

// The kernel bench is the relay bench over cables in place of loopback (see network). A relay inside the kernel has no
// process, its work is part of the sender's: so the CPU is that of the server's processes and of the generator's calls
// to send and to receive, which is all that the machine does for the packets, and what counts is the difference to a run
// without a relay. The rest of the generator spins on a core of its own.

// vethServers are what the kernel bench compares: without a relay, routed by the host, and the relays.
func vethServers() []string {
	return []string{"direct", "routed", "linehall-kernel", "linehall", "linehall-tick", "rtpengine", "c"}
}

// runKernel builds a network for one run.
func (s Suite) runKernel(ctx context.Context, server string) (r Result, err error) {
	n, err := newNetwork(ctx)
	if err != nil {
		return r, err
	}
	defer n.close()
	peers, load := s.relayPeers(server)
	peers.network = n
	target, stop, err := peers.between(ctx, server)
	if err != nil {
		return r, err
	}
	defer stop()
	target.Name, target.network, target.machine = server, n, true
	if r, err = Relay(ctx, target, load); err != nil {
		return r, err
	}
	r.Bench = "kernel"
	if target.inKernel != nil {
		if got, err := target.inKernel(ctx); err != nil || got != 2*load.Calls {
			return r, fmt.Errorf("%s: the kernel carries %d of %d directions: %w", server, got, 2*load.Calls, errors.Join(errRejected, err))
		}
	}
	return r, nil
}

// between starts what carries the packets of a network.
func (p Peers) between(ctx context.Context, server string) (t RelayTarget, stop func(), err error) {
	phones := RelayTarget{near: nearPhones, far: farPhones}
	switch server {
	case "direct":
		t = Direct()
		t.near, t.far = nearCable, farCable
		return t, func() {}, nil
	case "routed":
		t = Direct()
		t.near, t.far = nearPhones, farPhones
		return t, func() {}, p.network.forward(ctx)
	case "linehall-kernel", "linehall", "linehall-tick":
		p.Kernel = server == "linehall-kernel"
		l, err := p.linehall(ctx)
		if err != nil {
			return t, nil, err
		}
		phones.process, phones.path = l.process, l.agentCalls(p.network, false)
		if p.Kernel {
			phones.inKernel = func(ctx context.Context) (int, error) {
				return appliance.KernelFlows(ctx, filepath.Join(l.data, "linehall.sock"))
			}
		}
		return phones, l.stop, nil
	case "rtpengine":
		r, target, err := p.rtpengine(ctx)
		if err != nil {
			return t, nil, err
		}
		phones.process, phones.path = target.process, target.path
		return phones, r.stop, nil
	case "c":
		target, stop, err := p.forward(ctx)
		phones.process, phones.path = target.process, target.path
		return phones, stop, err
	}
	return t, nil, fmt.Errorf("server %s: %w", server, ErrUnknown)
}
