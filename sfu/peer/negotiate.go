package peer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pion/rtcp"
	pion "github.com/pion/webrtc/v4"

	"linehall/media/webrtc"
	"linehall/sfu/forward"
)

// opusParameters is appended to the answer's format line: 32 kbit/s mono is what the ledger reserves per voice.
const opusParameters = ";stereo=0;maxaveragebitrate=32000"

// acceptOffer answers the client's offer, on a new connection if the offer is for one.
func (p *Peer) acceptOffer(ctx context.Context, sdp string) error {
	description, err := forward.Parse(sdp)
	if err != nil {
		return err
	}
	if p.publish == nil || p.publish.session != description.Session || p.publish.fingerprint != description.Fingerprint {
		if err := p.openPublish(description); err != nil {
			return err
		}
	}
	c := p.publish
	p.Uplink().Describe(description)
	if err := c.pc.SetRemoteDescription(pion.SessionDescription{Type: pion.SDPTypeOffer, SDP: sdp}); err != nil {
		return fmt.Errorf("offer: %w", err)
	}
	if err := c.takeWaiting(); err != nil {
		return err
	}
	answer, err := c.pc.CreateAnswer(nil)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	text, err := c.setLocal(ctx, answer)
	if err != nil {
		return err
	}
	p.options.Events.PublishAnswer(limitOpus(text))
	return nil
}

// openPublish makes the receiving connection anew.
func (p *Peer) openPublish(d *forward.Description) error {
	var pc *pion.PeerConnection
	uplink := forward.NewUplink(forward.UplinkOptions{
		Batch: p.options.Plane, Log: p.log, Metrics: p.options.Metrics, Dropped: p.options.Dropped,
		Send:            func(packets []rtcp.Packet) error { return p.tell(pc, packets) },
		WithoutRecovery: p.options.WithoutRecovery,
	})
	pc, err := p.options.Plane.NewConnection(webrtc.Receive, uplink)
	if err != nil {
		return fmt.Errorf("publish connection: %w", err)
	}
	p.retire(p.publish)
	p.publish = &connection{name: Publish, pc: pc, session: d.Session, fingerprint: d.Fingerprint}
	p.uplink.Store(uplink)
	p.watch(p.publish)
	return nil
}

// openSubscribe makes the sending connection anew and offers it.
func (p *Peer) openSubscribe(ctx context.Context) error {
	pc, err := p.options.Plane.NewConnection(webrtc.Send, &forward.SlotReceiver{Slots: p.slotOf, Transport: p.options.Transport, WithoutRecovery: p.options.WithoutRecovery})
	if err != nil {
		return fmt.Errorf("subscribe connection: %w", err)
	}
	p.retire(p.subscribe)
	p.subscribe = &connection{name: Subscribe, pc: pc}
	p.watch(p.subscribe)
	p.subscribe.transceivers = map[*forward.Slot]*pion.RTPTransceiver{}
	for _, s := range slices.Concat(p.audio, p.video) {
		t, err := pc.AddTransceiverFromTrack(s, pion.RTPTransceiverInit{Direction: pion.RTPTransceiverDirectionSendonly})
		if err != nil {
			return fmt.Errorf("subscribe connection: %w", err)
		}
		p.subscribe.transceivers[s] = t
	}
	return p.offer(ctx, nil)
}

func (p *Peer) slotOf(ssrc uint32) *forward.Slot {
	for _, list := range [][]*forward.Slot{p.audio, p.video} {
		for _, s := range list {
			if s.SSRC() == ssrc {
				return s
			}
		}
	}
	return nil
}

func (p *Peer) offer(ctx context.Context, o *pion.OfferOptions) error {
	c := p.subscribe
	offer, err := c.pc.CreateOffer(o)
	if err != nil {
		return fmt.Errorf("offer: %w", err)
	}
	text, err := c.setLocal(ctx, offer)
	if err != nil {
		return err
	}
	mids := make(map[*forward.Slot]string, len(c.transceivers))
	for s, t := range c.transceivers {
		mids[s] = t.Mid()
	}
	p.mids.Store(&mids)
	p.options.Events.SubscribeOffer(text)
	return nil
}

func (p *Peer) restart(ctx context.Context) error {
	if p.subscribe == nil {
		return ErrState
	}
	if p.subscribe.pc.SignalingState() == pion.SignalingStateHaveLocalOffer {
		// The offer before was never answered: the client missed it, so it starts from nothing.
		return p.openSubscribe(ctx)
	}
	return p.offer(ctx, &pion.OfferOptions{ICERestart: true})
}

func (p *Peer) acceptAnswer(ctx context.Context, sdp string) error {
	c := p.subscribe
	if c == nil || c.pc.SignalingState() != pion.SignalingStateHaveLocalOffer {
		return ErrState
	}
	description, err := forward.Parse(sdp)
	if err != nil {
		return err
	}
	if c.fingerprint != "" && c.fingerprint != description.Fingerprint {
		return p.openSubscribe(ctx) // the client answers from a new connection: DTLS cannot go on
	}
	if err := c.pc.SetRemoteDescription(pion.SessionDescription{Type: pion.SDPTypeAnswer, SDP: sdp}); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	c.fingerprint = description.Fingerprint
	return c.takeWaiting()
}

// setLocal applies a description and returns it with the candidates, which are there at once: the ports are open already.
func (c *connection) setLocal(ctx context.Context, d pion.SessionDescription) (string, error) {
	gathered := pion.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(d); err != nil {
		return "", fmt.Errorf("local description: %w", err)
	}
	timeout := time.NewTimer(gatherTimeout)
	defer timeout.Stop()
	select {
	case <-gathered:
	case <-timeout.C:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	return c.pc.LocalDescription().SDP, nil
}

func (p *Peer) addCandidate(name string, init pion.ICECandidateInit) error {
	c := p.subscribe
	if name == Publish {
		c = p.publish
	}
	if c == nil {
		return ErrState
	}
	if !c.described {
		if len(c.waiting) >= maxCandidates {
			return ErrBusy
		}
		c.waiting = append(c.waiting, init)
		return nil
	}
	if err := c.pc.AddICECandidate(init); err != nil {
		return fmt.Errorf("candidate: %w", err)
	}
	return nil
}

// takeWaiting adds the candidates that came before the description.
func (c *connection) takeWaiting() error {
	c.described = true
	var errs []error
	for _, init := range c.waiting {
		errs = append(errs, c.pc.AddICECandidate(init))
	}
	c.waiting = nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("candidate: %w", err)
	}
	return nil
}

// limitOpus writes our limits into the Opus format line of an answer.
func limitOpus(sdp string) string {
	lines := strings.Split(sdp, "\r\n")
	payload := ""
	for _, l := range lines {
		if rest, ok := strings.CutPrefix(l, "a=rtpmap:"); ok {
			if number, codec, _ := strings.Cut(rest, " "); strings.HasPrefix(strings.ToLower(codec), "opus/") {
				payload = number
			}
		}
	}
	for i, l := range lines {
		if payload != "" && strings.HasPrefix(l, "a=fmtp:"+payload+" ") && !strings.Contains(l, "maxaveragebitrate") {
			lines[i] = l + opusParameters
		}
	}
	return strings.Join(lines, "\r\n")
}
