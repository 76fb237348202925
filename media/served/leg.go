// Package served is our own end of a call: a leg whose packets end here, are heard by a program of media/prompt, and are
// answered by it. It answers offers (RFC 3264) for G.711 and G.722 with telephone-event, and sends and receives RTP on a
// port of the loopback interface. The party's packets come there through the relay (media/anchor), which knows who may
// send, measures, and books the line; so a strange packet never reaches a decoder.
//
// It reports what it sends and receives (RFC 3550 §6.4). It knows no SIP, and no encryption: that ends in the relay.
//
// Concurrency: Open, the first Answer and Run are called one after the other. Later ones, while it runs, and Press and Close may
// come from anybody.
//
//	leg, err := served.Open()
//	defer leg.Close()
//	answer, err := leg.Answer(offer)            // ErrNoFormat
//	err = leg.Run(ctx, prompt.NewPlayer(tone, 0)) // until the program ends
package served

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"linehall/media/mix"
	"linehall/media/packet"
	"linehall/media/prompt"
)

// ErrNoFormat says that an offer has no audio that we can both hear and speak.
var ErrNoFormat = errors.New("no audio format in common")

// Leg is our end of one call.
type Leg struct {
	rtp, rtcp conn
	keys      chan byte // of Press; full: the key is lost
	start     time.Time
	reports   *Reports

	mu      sync.Mutex // guards what follows; taken for a frame and for an answer
	peer    netip.AddrPort
	control netip.AddrPort // for reports; invalid: it wants none
	silent  bool           // the party wants to hear nothing
	line    mix.Line
	ear     *mix.Ear
	mouth   *mix.Mouth

	heard   [mix.FrameSamples]int16
	said    [mix.FrameSamples]int16
	pressed []byte
	once    sync.Once
}

// conn is what a leg needs of a *net.UDPConn.
type conn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	LocalAddr() net.Addr
	Close() error
}

// Host is where every leg listens.
var Host = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// Open binds the ports of a leg.
func Open() (*Leg, error) {
	rtp, err := listen()
	if err != nil {
		return nil, err
	}
	rtcp, err := listen()
	if err != nil {
		return nil, errors.Join(err, rtp.Close())
	}
	return newLeg(rtp, rtcp), nil
}

func listen() (*net.UDPConn, error) {
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(Host, 0)))
	if err != nil {
		return nil, fmt.Errorf("port of a leg: %w", err)
	}
	return c, nil
}

func newLeg(rtp, rtcp conn) *Leg {
	return &Leg{rtp: rtp, rtcp: rtcp, keys: make(chan byte, 16), pressed: make([]byte, 0, 32), start: time.Now(), reports: NewReports()}
}

// Close gives the ports back and ends Run.
func (l *Leg) Close() {
	l.once.Do(func() { _, _ = l.rtp.Close(), l.rtcp.Close() }) // nothing was buffered
}

// Press gives the program a key that came by signalling.
func (l *Leg) Press(key byte) {
	select {
	case l.keys <- key:
	default:
	}
}

// Run lets the program and the party hear each other until the program is over (nil), ctx ends or the leg is closed. The
// leg is closed afterwards.
func (l *Leg) Run(ctx context.Context, program prompt.Program) error {
	if l.mouth == nil {
		return ErrNoFormat
	}
	var readers sync.WaitGroup
	defer readers.Wait()
	defer l.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	readers.Go(func() { defer stop(); l.read(l.rtp, l.receive) })
	readers.Go(func() { defer stop(); l.read(l.rtcp, l.receive) })
	over := false
	mix.Tick(ctx, l.start, func(now time.Duration) bool {
		over = !l.frame(now, program)
		return !over
	})
	l.mu.Lock()
	l.report(time.Since(l.start), true)
	l.mu.Unlock()
	if over {
		return nil
	}
	return fmt.Errorf("served leg: %w", context.Cause(ctx))
}

// read gives what comes to take until the socket is closed.
func (l *Leg) read(c conn, take func(datagram []byte, from netip.AddrPort)) {
	buffer := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buffer)
		switch {
		case err == nil:
			take(buffer[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		case errors.Is(err, net.ErrClosed):
			return
		}
	}
}

// receive takes a datagram of either port: a telephone may send its reports to that of the sound (RFC 5761).
func (l *Leg) receive(datagram []byte, from netip.AddrPort) {
	l.mu.Lock()
	ear, clock, known := l.ear, l.line.Format.Clock, from == l.peer || from == l.control
	l.mu.Unlock()
	if !known {
		return
	}
	now := time.Since(l.start)
	switch packet.Classify(datagram) {
	case packet.RTP:
		l.reports.Packet(now, datagram, clock)
		ear.Put(now, datagram)
	case packet.RTCP:
		l.reports.Take(now, datagram)
	default:
	}
}

// frame is one tick.
func (l *Leg) frame(now time.Duration, program prompt.Program) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, pressed := l.ear.Hear(now, l.heard[:])
	l.pressed = append(l.pressed[:0], pressed...)
	for len(l.keys) > 0 && len(l.pressed) < cap(l.pressed) {
		l.pressed = append(l.pressed, <-l.keys)
	}
	if !program.Frame(l.heard[:], l.said[:], l.pressed) {
		return false
	}
	if !l.silent {
		_, _ = l.rtp.WriteToUDPAddrPort(l.mouth.Say(l.said[:]), l.peer) // a full buffer loses a packet, as a line does
	} else {
		l.mouth.Pause()
	}
	l.report(now, false)
	return true
}
