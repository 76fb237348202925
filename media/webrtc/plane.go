package webrtc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/observe"
)

// receiveMTU is larger than any packet that a browser sends (1,200 to 1,472 octets).
const receiveMTU = 1600

// Options of a [Plane].
type Options struct {
	UDP string // listen address, "host:port" or ":port"; port 0 takes a free one
	TCP string // listen address of ICE-TCP; empty: none; port 0 takes the port of UDP
	// Advertise limits the candidates to these addresses. Addresses that are not our own replace the host addresses (a
	// one-to-one NAT). Empty: all own unicast addresses, loopback included.
	Advertise []netip.Addr
	Directory string // where the DTLS certificate is kept; empty: in memory
	Log       *slog.Logger
	Registry  prometheus.Registerer
	Dropped   *observe.Dropped
}

// Plane is the shared ports and what all PeerConnections have in common.
type Plane struct {
	options  Options
	loggers  loggers
	sockets  []*socket
	udp      *ice.MultiUDPMuxDefault
	tcp      *ice.TCPMuxDefault
	networks []webrtc.NetworkType
	bound    []netip.Addr // addresses with a socket
	rewrite  []string     // foreign addresses to advertise in place of ours
	port     uint16

	collecting atomic.Int32 // how many fan-outs are under way
	held       atomic.Bool  // something collected waits, not longer than timer
	timer      *time.Timer

	tables  sync.Mutex // guards replacing classes, joined and the claims of the sockets
	classes atomic.Pointer[map[uint32]Class]
	joined  atomic.Pointer[joined]

	certMu sync.Mutex // guards cert
	cert   *webrtc.Certificate

	sent  prometheus.Counter
	calls prometheus.Counter
}

// Open binds the ports and serves connectivity checks on them. [Plane.Close] ends it.
func Open(options Options) (*Plane, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	p := &Plane{options: options, loggers: loggers{options.Log}}
	p.classes.Store(&map[uint32]Class{})
	p.joined.Store(&joined{})
	p.timer = time.AfterFunc(time.Hour, p.flush)
	p.timer.Stop()
	p.registerMetrics()
	if _, err := p.certificate(time.Now()); err != nil {
		return nil, err
	}
	for tries := 0; ; tries++ {
		err := p.openUDP()
		if err == nil {
			err = p.openTCP()
		}
		switch {
		case err == nil:
			return p, nil
		case tries < anyPortTries && p.anyPort() && errors.Is(err, syscall.EADDRINUSE):
			// The port that is free on one address, and for UDP, is taken on another, or for TCP.
			if err = p.closePorts(); err == nil {
				continue
			}
		}
		return nil, errors.Join(err, p.Close())
	}
}

// anyPortTries is how often a port is looked for that is free everywhere.
const anyPortTries = 20

// anyPort: the kernel chooses the port of UDP.
func (p *Plane) anyPort() bool {
	listen, err := parseListen(p.options.UDP)
	return err == nil && listen.Port() == 0
}

func (p *Plane) registerMetrics() {
	p.sent = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "linehall_webrtc_sent_packets_total", Help: "Datagrams sent on the browser media port.",
	})
	p.calls = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "linehall_webrtc_send_calls_total", Help: "System calls that sent them.",
	})
	if p.options.Registry != nil {
		p.options.Registry.MustRegister(p.sent, p.calls)
	}
}

func (p *Plane) openUDP() error {
	listen, err := parseListen(p.options.UDP)
	if err != nil {
		return err
	}
	p.bound, err = bindAddresses(listen, p.options.Advertise)
	if err != nil {
		return err
	}
	for _, a := range p.options.Advertise {
		if !slices.Contains(p.bound, a) {
			p.rewrite = append(p.rewrite, a.String())
		}
	}
	p.port = listen.Port()
	var muxes []ice.UDPMux
	var skipped []netip.Addr
	for _, a := range p.bound {
		s, err := p.openSocket(netip.AddrPortFrom(a, p.port))
		if err != nil {
			if a.Is4() {
				return err
			}
			// An address that is still tentative (RFC 4862 §5.4) cannot be bound; IPv4 carries the media then.
			p.options.Log.Warn("media address not usable", "address", a.String(), observe.Err, err)
			skipped = append(skipped, a)
			continue
		}
		p.port = s.local.Port()
		p.sockets = append(p.sockets, s)
		muxes = append(muxes, ice.NewUDPMuxDefault(ice.UDPMuxParams{
			UDPConn: s, Logger: p.loggers.NewLogger("ice"),
			OnUnhandledPacket: func([]byte, netip.AddrPort) { p.options.Dropped.Count("media", "unknown_peer") },
		}))
	}
	p.bound = slices.DeleteFunc(p.bound, func(a netip.Addr) bool { return slices.Contains(skipped, a) })
	if len(muxes) == 0 {
		return fmt.Errorf("media port %s: no address to bind", p.options.UDP)
	}
	p.udp = ice.NewMultiUDPMuxDefault(muxes...)
	if slices.ContainsFunc(p.bound, netip.Addr.Is4) {
		p.networks = append(p.networks, webrtc.NetworkTypeUDP4)
	}
	if slices.ContainsFunc(p.bound, netip.Addr.Is6) {
		p.networks = append(p.networks, webrtc.NetworkTypeUDP6)
	}
	return nil
}

func (p *Plane) openTCP() error {
	if p.options.TCP == "" {
		return nil
	}
	listen, err := parseListen(p.options.TCP)
	if err != nil {
		return err
	}
	if listen.Port() == 0 {
		listen = netip.AddrPortFrom(listen.Addr(), p.port)
	}
	listener, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(listen))
	if err != nil {
		return fmt.Errorf("media port %s/tcp: %w", listen, err)
	}
	p.tcp = ice.NewTCPMuxDefault(ice.TCPMuxParams{
		Listener: listener, Logger: p.loggers.NewLogger("ice"), ReadBufferSize: 64, WriteBufferSize: 1 << 20,
		FirstStunBindTimeout: 5 * time.Second, AliveDurationForConnFromStun: 10 * time.Second,
	})
	p.networks = append(p.networks, webrtc.NetworkTypeTCP4)
	return nil
}

// advertised keeps TCP candidates to the addresses that UDP is bound on, loopback only where there is nothing else.
func (p *Plane) advertised(ip net.IP) bool {
	a, ok := netip.AddrFromSlice(ip)
	if !ok || !slices.Contains(p.bound, a.Unmap()) {
		return false
	}
	return !a.IsLoopback() || !slices.ContainsFunc(p.bound, func(b netip.Addr) bool { return !b.IsLoopback() })
}

// Addresses lists where the UDP port is bound.
func (p *Plane) Addresses() []netip.AddrPort {
	list := make([]netip.AddrPort, len(p.bound))
	for i, a := range p.bound {
		list[i] = netip.AddrPortFrom(a, p.port)
	}
	return list
}

// Run serves until ctx ends, then closes the ports.
func (p *Plane) Run(ctx context.Context) error {
	<-ctx.Done()
	return p.Close()
}

// Close closes the ports. Connections still open lose their path.
func (p *Plane) Close() error {
	p.timer.Stop()
	var errs []error
	if p.tcp != nil {
		errs = append(errs, p.tcp.Close())
	}
	if p.udp != nil {
		errs = append(errs, p.udp.Close())
	} else {
		for _, s := range p.sockets {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// closePorts closes them for another try.
func (p *Plane) closePorts() error {
	err := p.Close()
	p.sockets, p.udp, p.tcp = nil, nil, nil
	p.networks, p.bound, p.rewrite, p.port = nil, nil, nil, 0
	return err
}
