// Package anchor decides how the media of a call runs and builds that path.
//
// Inside one site it is direct: the bodies pass byte for byte and the phones send to each other, so a branch's internal
// call never touches its line. Between sites it is relayed: all lines meet at headquarters, so the relay there costs no
// line bandwidth and measures each line. A relayed path reserves the worst codec on offer on the lines of both parties
// (headquarters has none), trims that to the answer, and gives it back when it is closed; hold keeps it. A new offer in
// a call whose line has no room for its worst codec goes on with the codecs that fit, and a picture that does not fit is
// left out: nobody's call ends for a picture, and no hold fails.
//
// What is served from headquarters to a party (Call.Serve), and a path inside one site that is led through headquarters
// after all (Path.Reroute), is a hairpin: it crosses the site's line up and down, for each party, and is booked so.
//
// Media between a browser and anybody else but a browser of its site goes through media/gateway: each side is then described
// in its own terms, and what only one world knows (ICE, DTLS, bundles, feedback) stays there. Of such a path the first audio
// section is carried, with the codecs of telephones if only one side is a browser; other sections are rejected.
//
// The package knows offers and answers (RFC 3264), not SIP: the caller brings the bodies in order. In a relayed path the
// body for the other side differs in the c= lines, the ports of the m= lines, a=rtcp, and the lines of ICE, which are
// removed (RFC 8839: the relay is no candidate of the phone); everything else passes verbatim, SRTP keys included. Media
// over TCP (MSRP, BFCP) is not relayed and keeps its address.
//
// Concurrency: an Anchor may be used by any goroutine. A Call and its Paths belong to the goroutine that owns the call;
// Stats, Kind and Codec may be called by others.
//
//	call := anchor.Open(line.Holder{Class: line.Voice, Name: callID, Preempted: hangUp}, caller)
//	path := call.Branch(target, callee)
//	offer, err := path.Offer(anchor.Caller, invite.Body()) // *line.Refused: 488; *sdp.ParseError: 400
//	answer, err := path.Answer(anchor.Callee, ok.Body())
//	call.Keep(path)
//	legs := call.Close()
package anchor

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/site"
	"linehall/media/gateway"
	"linehall/media/line"
	"linehall/media/relay"
	"linehall/media/rtcp"
)

// Side of a call.
type Side uint8

// The sides.
const (
	Caller Side = iota
	Callee
)

// Other returns the opposite side.
func (s Side) Other() Side { return 1 - s&1 }

// String returns caller or callee.
func (s Side) String() string {
	if s == Caller {
		return "caller"
	}
	return "callee"
}

// Party is one side's place in the network.
type Party struct {
	Site   site.ID
	Remote netip.Addr // the source address of its signalling
	Local  netip.Addr // our address as the party sees it; its media is sent there when relayed
	// Outside says that the party is another network's: media never runs directly to it, so that it
	// learns no address of ours but Local.
	Outside bool
	// Web says that it is a phone in a browser.
	Web bool
}

// normal unmaps IPv4 addresses that a dual-stack socket reported as IPv6.
func (p Party) normal() Party {
	p.Remote, p.Local = p.Remote.Unmap(), p.Local.Unmap()
	return p
}

// Kind says how the media runs; the value is the label path of the metrics.
type Kind string

// The kinds of paths.
const (
	Direct  Kind = "direct"
	Relayed Kind = "relay"
	// Gateway is a relayed path to a browser, or between two.
	Gateway Kind = "gateway"
	// Kernel is a relayed path whose packets the kernel carries at the moment; Carrier says so.
	Kernel Kind = "kernel"
)

// LegStats is what arrived from one side, summed up since the call began. A direct path sees no packets: everything is
// zero, and MOS 0 means unknown.
type LegStats struct {
	Side    Side
	Site    site.ID
	Codec   string
	Remote  netip.AddrPort // where its audio comes from, or was said to
	Packets uint64
	Bytes   uint64 // IP bytes
	Lost    uint64
	Jitter  time.Duration
	RTT     time.Duration // relay to party and back, from RTCP; 0: unknown
	MOS     float64       // 1..4.5 on the narrowband scale as the other side hears it; 0: unknown
	// Seconds are the scores of every second of the audio since the last restart, Heard is what this side says of what it
	// hears (RFC 3611), by its last report.
	Seconds rtcp.Seconds
	Heard   rtcp.VoIPMetrics
}

// LossPercent returns the share of packets that did not arrive.
func (s LegStats) LossPercent() float64 {
	if s.Packets+s.Lost == 0 {
		return 0
	}
	return 100 * float64(s.Lost) / float64(s.Packets+s.Lost)
}

// Options are what an Anchor works with.
type Options struct {
	Relay      *relay.Relay
	Gateway    *gateway.Gateway // nil: no media between browsers and others
	Ledger     *line.Ledger
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
}
