package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	pion "github.com/pion/webrtc/v4"

	"linehall/internal/observe"
	"linehall/media/webrtc"
	"linehall/sfu/forward"
)

// The names of the two connections.
const (
	Publish   = "publish"
	Subscribe = "subscribe"
)

const (
	mailboxSize    = 64
	maxCandidates  = 32 // of one connection before its description
	reportBacklog  = 64 // packets to a publisher: seconds of them
	reportInterval = time.Second
	gatherTimeout  = 2 * time.Second
	// closeTimeout is how long closing may take before it is reported. It takes milliseconds.
	closeTimeout = 5 * time.Second
)

// Errors of the posting methods.
var (
	// ErrBusy means that the participant asks faster than it is served.
	ErrBusy = errors.New("too many requests under way")
	// ErrState means that the request does not fit what was negotiated so far.
	ErrState = errors.New("not expected now")
)

// Plane is what a peer needs of the media plane.
type Plane interface {
	NewConnection(direction webrtc.Direction, receiver webrtc.Receiver) (*pion.PeerConnection, error)
	Announce(ssrc uint32, class webrtc.Class)
	Withdraw(ssrcs ...uint32)
	Begin()
	Hold()
	End()
}

// Events takes what happens to a peer. The methods are called by the peer's goroutine and must not wait for it.
type Events interface {
	PublishAnswer(sdp string)
	SubscribeOffer(sdp string)
	// Path tells that a connection found its way (again), and from where.
	Path(connection string, remote netip.AddrPort, transport string)
	// Failed tells that a connection lost its way for good; the client has to restart it.
	Failed(connection string)
	// Refused tells that a request of the client could not be served.
	Refused(request string, err error)
}

// Options configure a [Peer].
type Options struct {
	Plane   Plane
	Events  Events
	Log     *slog.Logger
	Metrics *forward.Metrics
	Dropped *observe.Dropped
	Voices  int // audio m-lines of the subscribe connection
	Videos  int // video m-lines
	// Transport takes the subscriber's reports about its connection as a whole; nil: nobody does.
	Transport forward.Transport
	// WithoutRecovery switches off NACK, RTX and repeated PLI in both directions: to measure what they are worth.
	WithoutRecovery bool
}

// Peer is one participant's media.
type Peer struct {
	options Options
	log     *slog.Logger
	mailbox chan func(context.Context) // full: ErrBusy, the client is told
	audio   []*forward.Slot
	video   []*forward.Slot
	uplink  atomic.Pointer[forward.Uplink]
	stats   atomic.Pointer[Stats]
	mids    atomic.Pointer[map[*forward.Slot]string]
	reports chan report // to the publisher; full: dropped, the next one says the same and more
	voice   bool        // of a telephone: there are no connections

	// Owned by Run.
	publish   *connection
	subscribe *connection
	closing   sync.WaitGroup
}

// connection is one PeerConnection and what is known of its other end.
type connection struct {
	name        string
	pc          *pion.PeerConnection
	session     uint64 // of the client's o= line (publish)
	fingerprint string
	waiting     []pion.ICECandidateInit // came before the description
	described   bool
	connected   bool // was, at least once; before, pion's ICE transport must not be asked for its pair
	// transceivers are the m-lines of subscribe.
	transceivers map[*forward.Slot]*pion.RTPTransceiver
}

// New makes a peer; nothing runs before Run.
func New(o Options) *Peer {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Peer{options: o, log: o.Log, mailbox: make(chan func(context.Context), mailboxSize), reports: make(chan report, reportBacklog)}
	for i := range o.Voices {
		p.audio = append(p.audio, forward.NewSlot(fmt.Sprintf("voice%d", i), pion.RTPCodecTypeAudio, o.Metrics))
	}
	for i := range o.Videos {
		p.video = append(p.video, forward.NewSlot(fmt.Sprintf("video%d", i), pion.RTPCodecTypeVideo, o.Metrics))
	}
	p.stats.Store(&Stats{})
	p.mids.Store(&map[*forward.Slot]string{})
	return p
}

// AudioSlots are the m-lines for voices, in order.
func (p *Peer) AudioSlots() []*forward.Slot { return p.audio }

// VideoSlots are the m-lines for pictures, in order.
func (p *Peer) VideoSlots() []*forward.Slot { return p.video }

// Uplink is what the participant sends; nil before its first publish. A new publish connection has a new one.
func (p *Peer) Uplink() *forward.Uplink { return p.uplink.Load() }

// MID is the m-line of a slot; empty before the offer.
func (p *Peer) MID(s *forward.Slot) string { return (*p.mids.Load())[s] }

// Stats are the figures of the last second.
func (p *Peer) Stats() Stats { return *p.stats.Load() }

// PublishOffer takes the client's offer of the publish connection.
func (p *Peer) PublishOffer(sdp string) error {
	return p.post(func(ctx context.Context) {
		if err := p.acceptOffer(ctx, sdp); err != nil {
			p.options.Events.Refused("publish", err)
		}
	})
}

// SubscribeAnswer takes the client's answer to the newest offer of the subscribe connection.
func (p *Peer) SubscribeAnswer(sdp string) error {
	return p.post(func(ctx context.Context) {
		if err := p.acceptAnswer(ctx, sdp); err != nil {
			p.options.Events.Refused("subscribe_answer", err)
		}
	})
}

// RestartSubscribe makes an offer with an ICE restart.
func (p *Peer) RestartSubscribe() error {
	return p.post(func(ctx context.Context) {
		if err := p.restart(ctx); err != nil {
			p.options.Events.Refused("subscribe_restart", err)
		}
	})
}

// Candidate takes a trickled candidate.
func (p *Peer) Candidate(name string, c pion.ICECandidateInit) error {
	return p.post(func(context.Context) {
		if err := p.addCandidate(name, c); err != nil {
			p.options.Events.Refused("candidate", err)
		}
	})
}

func (p *Peer) post(f func(context.Context)) error {
	select {
	case p.mailbox <- f:
		return nil
	default:
		return ErrBusy
	}
}

// Run offers the subscribe connection and serves until ctx ends; it returns when both connections are closed.
func (p *Peer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer p.shut()
	defer cancel()
	if !p.voice {
		p.closing.Go(func() { p.sendReports(ctx) })
		if err := p.openSubscribe(ctx); err != nil {
			return err
		}
	}
	ticker := time.NewTicker(reportInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-p.mailbox:
			f(ctx)
		case now := <-ticker.C:
			p.report(now)
		}
	}
}

// report is RTCP for the publisher at the other end of a connection.
type report struct {
	pc      *pion.PeerConnection
	packets []rtcp.Packet
}

// tell queues RTCP for the publisher. The goroutine that receives its packets calls this and must not wait for pion's lock on
// the connection: whoever closes the connection (also pion itself, when the other end says goodbye) holds that lock while it
// waits for the receiving goroutine to end.
func (p *Peer) tell(pc *pion.PeerConnection, packets []rtcp.Packet) error {
	select {
	case p.reports <- report{pc, packets}:
		return nil
	default:
		p.options.Dropped.Count("peer", "reports_full")
		return ErrBusy
	}
}

// sendReports sends what tell has queued, until ctx ends.
func (p *Peer) sendReports(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-p.reports:
			if err := r.pc.WriteRTCP(r.packets); err != nil {
				p.log.Debug("report not sent", observe.Err, err)
			}
		}
	}
}

// watch posts changes of a connection's state to the owner.
func (p *Peer) watch(c *connection) {
	c.pc.OnConnectionStateChange(func(s pion.PeerConnectionState) {
		err := p.post(func(context.Context) { p.stateChanged(c, s) })
		if err != nil {
			p.log.Warn("state of a connection not noted", "connection", c.name, "state", s.String())
		}
	})
}

func (p *Peer) stateChanged(c *connection, s pion.PeerConnectionState) {
	if c != p.publish && c != p.subscribe {
		return // replaced meanwhile
	}
	p.log.Debug("connection state", "connection", c.name, "state", s.String())
	switch s {
	case pion.PeerConnectionStateConnected:
		c.connected = true
		p.announce()
		if pair := c.pair(); pair != nil {
			p.options.Events.Path(c.name, remoteOf(pair), pair.Remote.Protocol.String())
		}
	case pion.PeerConnectionStateFailed:
		p.options.Events.Failed(c.name)
	case pion.PeerConnectionStateNew, pion.PeerConnectionStateConnecting, pion.PeerConnectionStateDisconnected, pion.PeerConnectionStateClosed, pion.PeerConnectionStateUnknown:
	}
}

func (c *connection) ice() *pion.ICETransport { return c.pc.SCTP().Transport().ICETransport() }

func (c *connection) pair() *pion.ICECandidatePair {
	if !c.connected {
		return nil
	}
	pair, err := c.ice().GetSelectedCandidatePair()
	if err != nil || pair == nil || pair.Remote == nil {
		return nil
	}
	return pair
}

func remoteOf(pair *pion.ICECandidatePair) netip.AddrPort {
	addr, err := netip.ParseAddr(pair.Remote.Address)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr.Unmap(), pair.Remote.Port)
}

// announce tells the plane which of our streams is what, for their DSCP.
func (p *Peer) announce() {
	for _, s := range p.audio {
		if ssrc := s.SSRC(); ssrc != 0 {
			p.options.Plane.Announce(ssrc, webrtc.Audio)
		}
	}
}

// Classify tells the plane that a slot carries content, or a camera.
func (p *Peer) Classify(s *forward.Slot, content bool) {
	if s.SSRC() == 0 {
		return
	}
	if content {
		p.options.Plane.Announce(s.SSRC(), webrtc.Content)
	} else {
		p.options.Plane.Withdraw(s.SSRC())
	}
}

// shut closes both connections and waits for them, not longer than closeTimeout.
func (p *Peer) shut() {
	ssrcs := make([]uint32, 0, len(p.audio)+len(p.video))
	for _, s := range append(append([]*forward.Slot{}, p.audio...), p.video...) {
		s.Follow(nil)
		ssrcs = append(ssrcs, s.SSRC())
	}
	p.options.Plane.Withdraw(ssrcs...)
	p.retire(p.publish)
	p.retire(p.subscribe)
	done := make(chan struct{})
	go func() { p.closing.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(closeTimeout):
		p.log.Error("closing a connection hangs")
	}
}

// retire closes a connection beside the owner: pion waits for callbacks, and a callback may wait for the owner.
func (p *Peer) retire(c *connection) {
	if c == nil {
		return
	}
	p.closing.Go(func() {
		if err := c.pc.GracefulClose(); err != nil {
			p.log.Debug("connection closed", "connection", c.name, observe.Err, err)
		}
	})
}
