package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// forward compiles the C forwarder. It is started when the parties are known, see forwardPath.
func (p Peers) forward(ctx context.Context) (target RelayTarget, undo func(), err error) {
	dir, _, err := p.scratch("forward")
	if err != nil {
		return RelayTarget{}, nil, err
	}
	defer func() { discard(dir, err) }()
	if err := write(dir, "forward.c", nil); err != nil {
		return RelayTarget{}, nil, err
	}
	program := filepath.Join(dir, "forward")
	if out, err := exec.CommandContext(ctx, "gcc", "-O2", "-Wall", "-o", program, program+".c").CombinedOutput(); err != nil { //nolint:gosec // our own source
		return RelayTarget{}, nil, fmt.Errorf("compile the C forwarder: %w: %s", err, out)
	}
	r := &running{process: &process{}, dir: dir}
	target = RelayTarget{Name: "c", process: r.process, path: func(ctx context.Context, g *generator) (func(), error) {
		var lines strings.Builder
		for i, party := range g.parties {
			port := mediaMin + 2*i
			if port > mediaMax {
				return nil, fmt.Errorf("%d parties: %w", len(g.parties), errPorts)
			}
			fmt.Fprintf(&lines, "%d %s %d\n", port, party.local.Addr(), party.local.Port())
			g.aim(i, netip.AddrPortFrom(p.network.server(), uint16(port))) //nolint:gosec // a port
		}
		started, err := p.start(dir, lines.String(), nil, program, p.network.server().String())
		if err != nil {
			return nil, err
		}
		*r.process = *started
		return func() {}, r.process.await(ctx, 5*time.Second, func(context.Context) error {
			if r.process.output.String() != "ready" {
				return errNotReady
			}
			return nil
		})
	}}
	return target, r.stop, nil
}

var errNotReady = errors.New("not ready")

// homes returns where the parties of that many calls live.
func homes(calls int, near, far netip.Addr) []netip.Addr {
	list := make([]netip.Addr, 0, 2*calls)
	for range calls {
		list = append(list, near, far)
	}
	return list
}
