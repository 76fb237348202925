package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"linehall/internal/observe"
)

// Group is a multicast group that is heard beside the UDP listeners. What comes in by it goes to OnDatagram's receiver and
// nowhere else: a request to everybody is no request to us (RFC 3261 §18.2.1 leaves it to the server to take part).
type Group struct {
	Address    netip.AddrPort // IPv4
	Interfaces []string       // names; "auto" stands for each that is up and can do multicast
}

// AutoInterfaces in Group.Interfaces stands for each interface that is up and can do multicast.
const AutoInterfaces = "auto"

var errNoInterface = errors.New("no such interface that is up")

// OnDatagram sets who is offered each datagram before it is parsed, after size and rate were looked at; before Run. data is
// borrowed until take returns, which must be quick, and says whether the datagram was his. flow is what WriteDatagram needs
// for an answer; of one that came by a group its local address is ours towards the sender.
func (s *Stack) OnDatagram(take func(data []byte, flow Flow) bool) { s.take = take }

// WriteDatagram sends data as it is over a UDP flow.
func (s *Stack) WriteDatagram(flow Flow, data []byte) error {
	u := s.socketFor(flow)
	if u == nil {
		return ErrFlowGone
	}
	return u.write(data, flow.Remote, flow.Local.Addr())
}

// offered reports whether somebody has taken the datagram.
func (s *Stack) offered(data []byte, flow Flow) bool {
	defer observe.Recover(s.log, s.opts.Panics, "sip datagram")
	return s.take != nil && s.take(data, flow)
}

// multicast handles what came by a group.
func (u *udpSocket) multicast(data []byte, remote netip.AddrPort) {
	s := u.stack
	if verdict := s.admit.datagram(data, remote); verdict != admitted {
		s.opts.Dropped.Count(listenerLabel(UDP), string(verdict))
		return
	}
	flow := Flow{Transport: UDP, Remote: remote, Local: netip.AddrPortFrom(sourceTowards(s.ctx, remote), u.addr.Port())}
	if answering := s.socketFor(flow); answering != nil {
		flow.Local = netip.AddrPortFrom(flow.Local.Addr(), answering.addr.Port())
		if bound := answering.addr.Addr(); !bound.IsUnspecified() {
			flow.Local = answering.addr
		}
		if s.offered(data, flow) {
			return
		}
	}
	s.opts.Dropped.Count(listenerLabel(UDP), "multicast")
}

// joinGroup hears the group on the listener that has its port on all addresses, else on a socket of its own. An interface
// that is not there is logged: telephony does not wait for it.
func (s *Stack) joinGroup(ctx context.Context, g Group) error {
	if !g.Address.Addr().Is4() || !g.Address.Addr().IsMulticast() {
		return fmt.Errorf("%s is no IPv4 multicast group", g.Address)
	}
	var raw syscall.RawConn
	for _, u := range s.sockets {
		if k, ok := u.packets.(*kernelSocket); ok && k.info && k.addr.Port() == g.Address.Port() {
			raw = k.raw
		}
	}
	if raw == nil {
		k, err := listenGroup(ctx, g.Address)
		if err != nil {
			return err
		}
		raw, s.groups = k.raw, append(s.groups, newUDPSocket(s, k))
	}
	interfaces, missing := groupInterfaces(g.Interfaces)
	joined := 0
	for _, ifi := range interfaces {
		if err := join(raw, g.Address.Addr(), ifi.Index); err != nil {
			missing = append(missing, fmt.Errorf("%s: %w", ifi.Name, err))
			continue
		}
		joined++
	}
	if err := errors.Join(missing...); err != nil {
		s.log.Warn("multicast group is not heard everywhere", "group", g.Address.String(), observe.Err, err)
	}
	s.log.Debug("multicast group joined", "group", g.Address.String(), observe.Count, joined)
	return nil
}

// groupInterfaces finds the interfaces by name.
func groupInterfaces(names []string) (found []net.Interface, missing []error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, []error{err}
	}
	for _, name := range names {
		i := slices.IndexFunc(all, func(ifi net.Interface) bool { return ifi.Name == name && ifi.Flags&net.FlagUp != 0 })
		switch {
		case name == AutoInterfaces:
			for _, ifi := range all {
				if ifi.Flags&net.FlagUp != 0 && ifi.Flags&net.FlagMulticast != 0 {
					found = append(found, ifi)
				}
			}
		case i < 0:
			missing = append(missing, fmt.Errorf("%s: %w", name, errNoInterface))
		default:
			found = append(found, all[i])
		}
	}
	return found, missing
}

// join makes a socket a member of the group on one interface, and of no other program's groups.
func join(raw syscall.RawConn, group netip.Addr, index int) error {
	var err error
	control := raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0) // a kernel that refuses costs a look at a datagram
		err = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(index)})
	})
	if errors.Is(err, unix.EADDRINUSE) {
		err = nil // a member already
	}
	return errors.Join(control, err)
}

// listenGroup binds a socket to the address of the group itself, so that it gets no datagram of anybody else's; package net
// would bind it to all addresses.
func listenGroup(ctx context.Context, at netip.AddrPort) (k *kernelSocket, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "multicast") //nolint:gosec // a descriptor
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return nil, fmt.Errorf("sharing %s: %w", at, err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		return nil, fmt.Errorf("bind to %s: %w", at, err)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	pc, err := net.FilePacketConn(file)
	if err != nil {
		return nil, err
	}
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%T is no UDP socket", pc), pc.Close())
	}
	return wrapPacket(conn, at)
}
