package phone

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/cmd/linesim/tone"
	"linehall/cmd/linesim/voice"
)

// allow lists what a simulated phone understands.
const allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, NOTIFY, MESSAGE"

// endPatience bounds BYE: after Timer F nobody answers any more.
const endPatience = 8 * time.Second

var errEnded = errors.New("the call has ended")

// End says who ended a call.
type End string

// The ways a call ends.
const (
	ByUs   End = "local"
	ByPeer End = "remote"
	ByLoss End = "lost" // our 200 was never acknowledged
)

// Call is one established dialog and its media.
type Call struct {
	phone    *Phone
	id       string // Call-ID
	outgoing bool
	peer     string       // user part
	extra    []sip.Header // of the first INVITE
	stream   *voice.Stream

	// Times of the set-up, for post-dial delay: INVITE sent, first provisional answer above 100, 200.
	Dialled, Alerted, Answered time.Time
	// Requests is how many INVITEs it took (2 when challenged).
	Requests int

	done chan struct{} // closed when the dialog is over

	mu      sync.Mutex    // guards the dialog state below; never held while sending
	acked   chan struct{} // closed by the ACK to our latest 200
	local   sip.FromHeader
	remote  sip.ToHeader
	target  sip.Uri
	routes  []sip.Uri
	seq     uint32 // our next CSeq
	peerSeq uint32
	ack     *sip.Request // kept for retransmitted answers
	session session
	sound   Sound
	media   netip.AddrPort // where the peer wants our sound
	law     tone.Law
	shown   string // the name that the server asserts for who answered
	theirs  string // the key of the peer's SRTP
	held    bool   // by the peer
	holding bool   // by us
	state   callState
	end     End
	stats   *voice.Stats
}

type callState uint8

const (
	setUp callState = iota
	established
	ended
)

// Peer returns the number at the other end.
func (c *Call) Peer() string { return c.peer }

// ID returns the Call-ID of this phone's dialog; the other phone's differs behind a call-stateful server.
func (c *Call) ID() string { return c.id }

// Done is closed when the call has ended.
func (c *Call) Done() <-chan struct{} { return c.done }

// Ended says who hung up; empty while the call lives.
func (c *Call) Ended() End {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end
}

// Held reports whether the peer has put us on hold.
func (c *Call) Held() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held
}

// Remote returns where this end is to send its sound, as the last description said.
func (c *Call) Remote() netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.media
}

// Stats returns what this end heard so far, or in the end.
func (c *Call) Stats() voice.Stats {
	c.mu.Lock()
	final := c.stats
	c.mu.Unlock()
	if final != nil {
		return *final
	}
	return c.stream.Stats()
}

// Expect changes the tone sent and the one to be heard, and starts the figures over: after a transfer somebody else is there.
func (c *Call) Expect(sound Sound) {
	c.mu.Lock()
	c.sound = sound
	c.mu.Unlock()
	c.stream.Reset()
	c.play()
}

// Shown is what the display says about who is at the other end: the name of P-Asserted-Identity.
func (c *Call) Shown() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown
}

// ResetStats starts the figures of this end over.
func (c *Call) ResetStats() { c.stream.Reset() }

// Local returns the address of our RTP socket.
func (c *Call) Local() netip.AddrPort { return c.stream.Local() }

// Mute stops counting and sending on this end, some time before hanging up, so that packets in flight at the end
// count as nobody's loss.
func (c *Call) Mute() { c.stream.Stop() }

// Hangup ends the call with a BYE and returns once the peer has answered it.
func (c *Call) Hangup(ctx context.Context) error {
	if !c.finish(ByUs) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, endPatience)
	defer cancel()
	res, err := c.request(ctx, sip.BYE, nil)
	if err != nil {
		return err
	}
	if !res.IsSuccess() {
		return fmt.Errorf("BYE: %w", refusal(res))
	}
	return nil
}

// Hold puts the peer on hold, or takes it back, by a re-INVITE (RFC 3264 §8.4).
func (c *Call) Hold(ctx context.Context, on bool) error {
	c.mu.Lock()
	if c.state != established {
		c.mu.Unlock()
		return errEnded
	}
	c.session.version++
	c.session.direction = "sendrecv"
	if on {
		c.session.direction = "sendonly"
	}
	offer := c.session.marshal()
	c.mu.Unlock()
	res, err := c.request(ctx, sip.INVITE, offer)
	if err != nil {
		return err
	}
	if !res.IsSuccess() {
		return fmt.Errorf("re-INVITE: %w", refusal(res))
	}
	c.mu.Lock()
	c.holding = on
	c.mu.Unlock()
	return c.adopt(res.Body())
}

// errProtection: one side talks SRTP and the other one does not.
var errProtection = errors.New("the description is not protected as this phone is")

// adopt applies the other side's session description to our media.
func (c *Call) adopt(body []byte) error {
	media, err := parseSDP(body)
	if err != nil {
		return err
	}
	c.mu.Lock()
	if (media.key != "") != (c.session.key != "") {
		c.mu.Unlock()
		return errProtection
	}
	c.law, c.media, c.held, c.theirs = media.laws[0], media.address, media.held, media.key
	c.session.tag = media.tag // an answer takes the one of the offer (RFC 4568 §5.1.2)
	c.mu.Unlock()
	c.play()
	return nil
}

// play sends and listens as agreed; nothing happens before the first agreement and after the end.
func (c *Call) play() {
	c.mu.Lock()
	target := voice.Target{Remote: c.media, Law: c.law, Send: c.sound.Send, Expect: c.sound.Expect, Mute: c.held || c.holding, Own: c.session.key, Theirs: c.theirs}
	off := c.state == ended || !c.media.IsValid()
	c.mu.Unlock()
	if !off {
		c.stream.Start(target)
	}
}

// learnPeer notes the name that the server asserts for the other end.
func (c *Call) learnPeer(msg interface{ GetHeader(name string) sip.Header }) {
	h := msg.GetHeader("P-Asserted-Identity")
	if h == nil {
		return
	}
	name, _, _ := strings.Cut(h.Value(), " <")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shown = strings.Trim(name, `"`)
}

// finish marks the end once; false if the call was over already. It stops the media and forgets the dialog.
func (c *Call) finish(end End) bool {
	c.mu.Lock()
	if c.state == ended {
		c.mu.Unlock()
		return false
	}
	c.state, c.end = ended, end
	c.mu.Unlock()
	stats := c.stream.Close()
	c.mu.Lock()
	c.stats = &stats
	c.mu.Unlock()
	c.phone.forget(c)
	close(c.done)
	return true
}

// request sends a request inside the dialog, answering a challenge, and acknowledges a 2xx to a re-INVITE.
func (c *Call) request(ctx context.Context, method sip.RequestMethod, offer []byte, headers ...sip.Header) (*sip.Response, error) {
	req := c.inDialog(method)
	for _, h := range headers {
		req.AppendHeader(h)
	}
	if offer != nil {
		contact := c.phone.contact()
		req.AppendHeader(&contact)
		req.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	}
	req.SetBody(offer)
	for range maxRounds {
		res, err := c.phone.roundTrip(ctx, req)
		if err != nil {
			return nil, err
		}
		if !isChallenge(res) {
			if method == sip.INVITE && res.IsSuccess() {
				c.acknowledge(req, res)
			}
			return res, nil
		}
		chal, proxy, err := challengeOf(res)
		if err != nil {
			return nil, err
		}
		req = c.phone.again(req)
		c.mu.Lock()
		c.seq = req.CSeq().SeqNo + 1
		c.mu.Unlock()
		if err := c.phone.authorize(req, chal, proxy, 1); err != nil {
			return nil, err
		}
	}
	return nil, errNoChallenge
}

// inDialog builds a request of RFC 3261 §12.2.1.1 with the next CSeq.
func (c *Call) inDialog(method sip.RequestMethod) *sip.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	req := c.phone.newRequest(method, *c.target.Clone())
	c.identify(req, c.seq, method)
	c.seq++
	return req
}

// identify adds the dialog's headers; the caller holds c.mu.
func (c *Call) identify(req *sip.Request, seq uint32, method sip.RequestMethod) {
	for _, route := range c.routes {
		req.AppendHeader(&sip.RouteHeader{Address: *route.Clone()})
	}
	req.AppendHeader(sip.HeaderClone(&c.local))
	req.AppendHeader(sip.HeaderClone(&c.remote))
	id := sip.CallIDHeader(c.id)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: method})
}

// acknowledge sends the ACK to a 2xx (RFC 3261 §13.2.2.4) and keeps it for retransmissions of that 2xx.
func (c *Call) acknowledge(invite *sip.Request, res *sip.Response) {
	c.mu.Lock()
	if contact := res.Contact(); contact != nil {
		c.target = *contact.Address.Clone()
	}
	ack := c.phone.newRequest(sip.ACK, *c.target.Clone())
	c.identify(ack, invite.CSeq().SeqNo, sip.ACK)
	for _, name := range []string{"Authorization", "Proxy-Authorization"} { // RFC 3261 §22.1
		if h := invite.GetHeader(name); h != nil {
			ack.AppendHeader(sip.NewHeader(name, h.Value()))
		}
	}
	ack.SetBody(nil)
	c.ack = ack
	c.mu.Unlock()
	c.sendACK()
}

func (c *Call) sendACK() {
	c.mu.Lock()
	ack := c.ack
	c.mu.Unlock()
	if ack == nil {
		return
	}
	ack = ack.Clone() // sipgo writes the resolved address into what it sends
	c.phone.route(ack)
	if err := c.phone.tp.WriteMsg(ack); err != nil {
		c.phone.cfg.Log.Debug("sending ACK", "call_id", c.id, "error", err)
	}
}

// newCall prepares a dialog with its media.
func (p *Phone) newCall(id, peer string, outgoing bool, sound Sound) (*Call, error) {
	stream, err := p.cfg.Media.Open(p.cfg.Bind)
	if err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	key := ""
	if p.cfg.SRTP {
		key = newKey()
	}
	return &Call{
		phone: p, id: id, peer: peer, outgoing: outgoing, sound: sound, stream: stream,
		done: make(chan struct{}), acked: make(chan struct{}),
		seq:     1 + rand.Uint32N(1000),
		session: session{id: rand.Uint64N(1 << 53), version: 1, local: stream.Local(), laws: laws(), direction: "sendrecv", key: key, tag: "1"},
	}, nil
}

func (p *Phone) remember(c *Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialogs[c.id] = c
}

func (p *Phone) forget(c *Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dialogs[c.id] == c {
		delete(p.dialogs, c.id)
	}
}

func (p *Phone) dialog(id string) *Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dialogs[id]
}

// routeSet reads Record-Route: as received at the callee, reversed at the caller (RFC 3261 §12.1).
func routeSet(headers []sip.Header, reverse bool) []sip.Uri {
	var routes []sip.Uri
	for _, h := range headers {
		if rr, ok := h.(*sip.RecordRouteHeader); ok {
			routes = append(routes, *rr.Address.Clone())
		}
	}
	if reverse {
		slices.Reverse(routes)
	}
	return routes
}
