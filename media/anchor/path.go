package anchor

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"linehall/internal/observe"
	"linehall/media/line"
	"linehall/media/relay"
	"linehall/media/sdp"
	"linehall/media/srtp"
)

var (
	// ErrNoOffer is the error of Answer when the other side offered nothing.
	ErrNoOffer = errors.New("answer without an offer")
	// ErrClosed is the error of Offer and Answer after the path ended.
	ErrClosed = errors.New("path is closed")
)

// Path is the media between the caller and one target.
type Path struct {
	call    *Call
	key     string
	parties [2]Party
	next    Kind // of the next offer
	closed  bool

	offer  *offer       // the last one; nil before the first
	agreed *agreement   // what both sides said last; nil before the first answer
	want   traffic      // what the path has reserved
	ear    relay.Tap    // sees the sound; nil: nobody
	eye    relay.Tap    // sees it before; nil: nobody
	detour relay.Detour // takes the sound elsewhere; nil: it goes from side to side
	secure securing
	web    [2]*web // sides that are browsers, once the path is not direct

	view atomic.Pointer[view] // for Stats and Codec in other goroutines
}

// offer is a description that awaits its answer, or got it.
type offer struct {
	from     Side
	kind     Kind
	doc      *sdp.Document
	streams  []*stream // by m-line; nil where nothing is relayed
	answered bool
	keys     [][]srtp.Crypto // that the other side is offered, where SRTP ends here
	crossed  []*sdp.Media    // what the callee offered, by m-line, where both did (Cross) and SRTP ends here
}

// agreement is the state that a rolled back offer returns to.
type agreement struct {
	offer   *offer // the answered one: a 200 may repeat the answer of the 183; nil after a restart
	kind    Kind
	streams []*stream
	traffic traffic // what both sides send
	want    traffic // what of it comes to us: all, or nothing on a direct path
	codec   string
}

// stream is the relay of one m-line and what both sides said about it.
type stream struct {
	relay *relay.Stream
	raw   bool // not RTP
	audio bool
	dscp  uint8
	peers [2]peer
	// sessions are the sides' SRTP that ends here; nil: their packets pass as they are.
	sessions [2]*srtp.Session
	base     [2]relay.Stats // counted before a restart
	shown    relay.Tap      // that the relay has
	diverted relay.Detour   // so does this
}

func newPath(c *Call, key string, callee Party) *Path {
	p := &Path{call: c, key: key, parties: [2]Party{c.caller, callee.normal()}, next: Relayed}
	if p.local() {
		p.next = Direct
	}
	p.publish()
	return p
}

// Key returns what Branch was given.
func (p *Path) Key() string { return p.key }

// Kind says how the media runs, or will run once it is agreed.
func (p *Path) Kind() Kind { return p.view.Load().kind }

// local reports whether the parties are at the same known site, both ours, speak the same version of IP, and are both
// browsers or both not.
func (p *Path) local() bool {
	a, b := p.parties[Caller], p.parties[Callee]
	return a.Site == b.Site && b.Site != "" && !a.Outside && !b.Outside && a.Local.Is4() == b.Local.Is4() && a.Web == b.Web
}

// Offer takes an offer from either side, the first or a later one, and returns the body for the other side. A relayed
// path reserves the worst codec on offer and opens the ports that are missing. On an error (*sdp.ParseError,
// *line.Refused, relay.ErrNoPorts) the path is what it was.
func (p *Path) Offer(from Side, body []byte) ([]byte, error) {
	if p.closed {
		return nil, ErrClosed
	}
	doc, err := sdp.Parse(body)
	if err != nil {
		return nil, fmt.Errorf("offer of the %s: %w", from, err)
	}
	p.recognise(from, doc)
	if p.next == Direct {
		p.abandon()
		p.offer = &offer{from: from, kind: Direct, doc: doc}
		return body, nil
	}
	if err := p.undressOffer(from, doc); err != nil {
		return nil, fmt.Errorf("offer of the %s: %w", from, err)
	}
	return p.offerPlain(from, doc)
}

// offerPlain is Offer with a description that says nothing of a browser's transport.
func (p *Path) offerPlain(from Side, doc *sdp.Document) ([]byte, error) {
	o := &offer{from: from, kind: p.next, doc: doc}
	before := p.want
	if err := p.book(doc); err != nil {
		p.want = before
		return nil, fmt.Errorf("offer of the %s: %w", from, err)
	}
	p.abandon() // an offer that nobody answered; the dialog sees to it that there is none
	err := p.open(o)
	if err == nil {
		if err = p.begin(o); err != nil {
			p.discard(o)
		}
	}
	if err != nil {
		p.want = p.agreedWant()
		p.call.trim()
		return nil, err
	}
	p.offer = o
	for i, s := range o.streams {
		if s != nil && !p.isAgreed(s) { // what is agreed moves at the answer (RFC 3264 §8.3.1)
			p.expect(s, from, newPeer(doc.Media()[i]))
			p.expect(s, from.Other(), s.peers[from.Other()])
		}
	}
	p.publish()
	out := doc.Clone()
	p.dressOffer(out, o)
	return p.rewrite(out, from.Other(), o.streams, true), nil
}

// Answer takes the answer to the last offer and returns the body for the side that offered. It may come twice, in a
// provisional and a final response. The reservation shrinks to what was answered.
func (p *Path) Answer(from Side, body []byte) ([]byte, error) {
	if p.closed {
		return nil, ErrClosed
	}
	o := p.offer
	if o == nil || o.from == from {
		return nil, ErrNoOffer
	}
	doc, err := sdp.Parse(body)
	if err == nil && o.kind != Direct {
		err = p.undress(from, doc, false)
	}
	if err != nil {
		return nil, fmt.Errorf("answer of the %s: %w", from, err)
	}
	out, _, err := p.answerPlain(o, doc)
	if err == nil && o.kind == Direct {
		return body, nil
	}
	return out, err
}

// answerPlain is Answer with a description that says nothing of a browser's transport.
func (p *Path) answerPlain(o *offer, doc *sdp.Document) ([]byte, []settled, error) {
	found, err := p.settle(o, doc)
	if err != nil {
		return nil, nil, fmt.Errorf("answer of the %s: %w", o.from.Other(), err)
	}
	codec := audioCodec(doc)
	if p.agreed == nil {
		p.call.anchor.agreed.WithLabelValues(string(p.runs(o.kind))).Inc()
	}
	p.conclude(o, found)
	p.agree(o, doc, codec)
	if o.kind == Direct {
		return nil, nil, nil
	}
	p.connect()
	p.dressAnswer(doc, o, found)
	return p.rewrite(doc, o.from, o.streams, false), found, nil
}

// agree makes offer and answer the new agreement: streams that were rejected, or that the last agreement had and this
// one has not, are closed.
func (p *Path) agree(o *offer, answer *sdp.Document, codec string) {
	from, media, offers := o.from.Other(), answer.Media(), o.doc.Media()
	var unused []*stream
	if p.agreed != nil {
		unused = append(unused, p.agreed.streams...)
	}
	for i, s := range o.streams {
		switch {
		case s == nil:
		case i < len(media) && usable(media[i]):
			p.expect(s, o.from, newPeer(offers[i]))
			p.expect(s, from, newPeer(media[i]))
		default:
			unused = append(unused, s)
			o.streams[i] = nil
		}
	}
	p.agreed = &agreement{offer: o, kind: o.kind, streams: o.streams, traffic: p.weigh(answered(o.doc, answer, from)), codec: codec}
	if o.kind == Relayed {
		p.agreed.want = p.agreed.traffic
	}
	o.answered = true
	p.rate()
	for _, s := range unused {
		if s != nil && !p.isAgreed(s) {
			s.close(p)
		}
	}
	p.want = p.agreed.want
	p.call.trim()
	p.publish()
	p.show()
}

// rate says which codec the sound of the agreed streams is scored as.
func (p *Path) rate() {
	for _, s := range p.agreed.streams {
		if s != nil && s.audio && !s.raw {
			s.relay.Rate(p.agreed.codec)
		}
	}
}

// Rollback forgets an offer that was refused: ports, reservation and peers are those of the last agreement.
func (p *Path) Rollback() {
	if p.closed || p.offer == nil || p.offer.answered {
		return
	}
	p.abandon()
	p.want = p.agreedWant()
	p.call.trim()
	p.publish()
}

// Close ends the path: its ports and its part of the reservation go back. It may be called more than once.
func (p *Path) Close() {
	if p.closed {
		return
	}
	p.abandon()
	p.closed = true
	if p.agreed != nil {
		for _, s := range p.agreed.streams {
			s.close(p)
		}
	}
	p.hangUp()
	p.want = traffic{}
	p.call.paths = slices.DeleteFunc(p.call.paths, func(o *Path) bool { return o == p })
	p.call.trim()
}

// abandon closes what an unanswered offer opened.
func (p *Path) abandon() {
	if p.offer == nil || p.offer.answered {
		return
	}
	p.discard(p.offer)
	p.offer = nil
	if p.agreed != nil {
		p.offer = p.agreed.offer
	}
}

// discard closes the streams that an offer opened.
func (p *Path) discard(o *offer) {
	for _, s := range o.streams {
		if s != nil && !p.isAgreed(s) {
			s.close(p)
		}
	}
}

func (p *Path) isAgreed(s *stream) bool {
	return p.agreed != nil && slices.Contains(p.agreed.streams, s)
}

func (p *Path) agreedWant() traffic {
	if p.agreed == nil {
		return traffic{}
	}
	return p.agreed.want
}

// open fills the streams of an offer: those that are agreed for the same m-line, new ones for the others.
func (p *Path) open(o *offer) error {
	media := o.doc.Media()
	o.streams = make([]*stream, len(media))
	for i, m := range media {
		if !usable(m) {
			continue
		}
		if p.agreed != nil && i < len(p.agreed.streams) {
			if s := p.agreed.streams[i]; s != nil && s.raw == !m.IsRTP() {
				o.streams[i] = s
				continue
			}
		}
		s := &stream{raw: !m.IsRTP(), audio: m.Kind() == "audio", dscp: relay.ExpeditedForwarding}
		if m.Kind() == "video" {
			s.dscp = relay.AssuredForwarding41
		}
		if err := p.bind(s, [2]uint16{}); err != nil {
			for _, s := range o.streams[:i] {
				if s != nil && !p.isAgreed(s) {
					s.close(p)
				}
			}
			return err
		}
		o.streams[i] = s
	}
	return nil
}

// bind opens the relay of a stream, on certain ports after a restart. Both parties may begin to send at once: the side
// that answers from where its signalling comes.
func (p *Path) bind(s *stream, ports [2]uint16) error {
	spec := relay.Spec{DSCP: s.dscp, Raw: s.raw}
	for side, party := range p.parties {
		if !party.Local.IsValid() || party.Local.IsUnspecified() {
			return fmt.Errorf("relay towards the %s: its side of us has no address", Side(side)) //nolint:gosec // 0 or 1
		}
		ledger := p.call.anchor.o.Ledger
		spec.Legs[side] = relay.Leg{
			Local: party.Local, Port: ports[side],
			In: ledger.Meter(party.Site, line.Up, p.call.class), Out: ledger.Meter(party.Site, line.Down, p.call.class),
		}
		if w := p.web[side]; w != nil {
			spec.Legs[side].Link = w.leg
		}
	}
	r, err := p.call.anchor.o.Relay.Open(spec)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	s.relay = r
	p.attach(s)
	for side := range p.parties {
		p.expect(s, Side(side), s.peers[side]) //nolint:gosec // 0 or 1
	}
	return nil
}

// expect tells the relay what one side said.
func (p *Path) expect(s *stream, side Side, said peer) {
	s.peers[side] = said
	r := said.relayPeer(p.parties[side].Remote)
	if e := s.sessions[side]; e != nil {
		r.Security, r.Secure = e, true
	}
	s.relay.Expect(int(side), r)
}

// close ends the relay and says so when strangers sent to it.
func (s *stream) close(p *Path) {
	if s == nil {
		return
	}
	final := s.relay.Close()
	if n := final[0].Dropped + final[1].Dropped; n > 0 {
		p.call.log.Debug("relay dropped packets of a stream", observe.Count, n)
	}
}

// rewrite makes a description fit for the side that gets it: our address and ports instead of the other side's.
func (p *Path) rewrite(doc *sdp.Document, to Side, streams []*stream, offer bool) []byte {
	if w := p.web[to]; w != nil {
		w.dress(doc, streams, p.parties[to].Local, offer)
		return doc.Marshal()
	}
	local := p.parties[to].Local
	var relayed []*sdp.Media
	for i, m := range doc.Media() {
		switch {
		case i < len(streams) && streams[i] != nil:
			port := streams[i].relay.Port(int(to))
			control := port + 1
			if m.SharesPort() {
				control = port
			}
			m.SetPort(int(port))
			m.SetRTCP(netip.AddrPortFrom(local, control))
			relayed = append(relayed, m)
		case usable(m): // answered, but not offered or not carried: must not run past us
			m.SetPort(0)
		}
	}
	if len(relayed) > 0 {
		doc.SetAddress(local, relayed...)
		doc.RemoveICE()
	}
	return doc.Marshal()
}

// usable reports whether a section takes a relay: switched on, and over datagrams.
func usable(m *sdp.Media) bool { return m.Port() != 0 && m.OverUDP() }

// audioCodec returns the first codec of the first audio section that is in use.
func audioCodec(doc *sdp.Document) string {
	for _, m := range doc.Media() {
		if m.Kind() != "audio" || m.Port() == 0 {
			continue
		}
		for _, c := range m.Codecs() {
			if !c.Auxiliary() && c.Name != "" {
				return c.Name
			}
		}
	}
	return ""
}

// Cross joins two parties that have both made an offer, because one of them picked up the call that the other one makes.
// It returns the answer to each, in the order of its own offer, and for each section of the caller's which one of the
// callee's it is joined to, or -1. On an error (as of Offer, or sdp.ErrNothingInCommon) the path is what it was.
func (p *Path) Cross(caller, callee []byte) (toCaller, toCallee []byte, pairs []int, err error) {
	a, err := sdp.Parse(caller)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("offer of the caller: %w", err)
	}
	b, err := sdp.Parse(callee)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("offer of the callee: %w", err)
	}
	p.recognise(Caller, a)
	p.recognise(Callee, b)
	if p.next == Direct {
		return p.crossDirect(a, b, caller)
	}
	for side, doc := range []*sdp.Document{a, b} {
		if err := p.undressOffer(Side(side), doc); err != nil { //nolint:gosec // 0 or 1
			return nil, nil, nil, err
		}
	}
	crossed, err := p.cross(a, b)
	if err != nil {
		return nil, nil, nil, err
	}
	if _, err = p.offerPlain(Caller, a); err != nil {
		return nil, nil, nil, err
	}
	if p.offer.ends() {
		p.offer.crossed = make([]*sdp.Media, len(crossed.Pairs))
		for i, j := range crossed.Pairs {
			if j >= 0 {
				p.offer.crossed[i] = b.Media()[j]
			}
		}
	}
	toCaller, found, err := p.answerPlain(p.offer, crossed.ToA)
	if err != nil {
		p.Rollback()
		return nil, nil, nil, err
	}
	streams, at := make([]*stream, len(b.Media())), make([]int, len(b.Media()))
	for j := range at {
		if at[j] = slices.Index(crossed.Pairs, j); at[j] >= 0 {
			streams[j] = p.offer.streams[at[j]]
		}
	}
	if p.offer.ends() {
		p.dressCrossed(crossed.ToB, b, at, found)
	}
	return toCaller, p.rewrite(crossed.ToB, Callee, streams, false), crossed.Pairs, nil
}

// crossDirect is Cross where nothing of the media comes to us.
func (p *Path) crossDirect(a, b *sdp.Document, caller []byte) (toCaller, toCallee []byte, pairs []int, err error) {
	crossed, err := sdp.Cross(a, b)
	if err != nil {
		return nil, nil, nil, err //nolint:wrapcheck // it says it all
	}
	if _, err = p.Offer(Caller, caller); err != nil {
		return nil, nil, nil, err
	}
	if toCaller, err = p.Answer(Callee, crossed.ToA.Marshal()); err != nil {
		p.Rollback()
		return nil, nil, nil, err
	}
	return toCaller, crossed.ToB.Marshal(), crossed.Pairs, nil
}

// cross joins the offers as they are, or without their security where that ends here: each side brings its own.
func (p *Path) cross(caller, callee *sdp.Document) (sdp.Crossed, error) {
	if !p.secure.ends {
		return sdp.Cross(caller, callee)
	}
	p.secure.sides[Callee] = Clear // it is offered nothing
	return sdp.Cross(undressed(caller), undressed(callee))
}
