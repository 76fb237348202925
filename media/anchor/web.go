package anchor

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"linehall/media/gateway"
	"linehall/media/sdp"
)

var (
	// ErrNoGateway is the error of Offer and Answer where media between browsers and others is not served.
	ErrNoGateway = errors.New("no gateway between browsers and other phones")
	// ErrNotWeb is the error of an answer of a browser that is none.
	ErrNotWeb = errors.New("the answer has no ICE or no DTLS")
	// ErrNoSpeech is the error of an offer between a browser and another phone without a codec of telephones.
	ErrNoSpeech = errors.New("no codec of telephones")
)

// web is a side that is a browser: its leg, and what its own descriptions say beside the media.
type web struct {
	leg     *gateway.Hold
	mids    []string // by section
	protos  []string // by section
	bundled bool     // its last offer has a bundle; one of ours has
	lent    bool     // another call has the browser until this path is kept
	unmet   bool     // it does not know of the other side yet, see Path.Meet
}

// party is what a call has of its caller's browser for all its paths.
type party struct {
	leg     *gateway.Hold // nil: no path has needed one yet
	lent    bool          // another call has the browser until a path is kept
	foreign bool          // it comes from another call
}

// Browser names the leg of a side that is a browser, for Adopt; "": it has none.
func (p *Path) Browser(side Side) string {
	if w := p.web[side]; w != nil {
		return w.leg.Name()
	}
	return ""
}

// Adopt gives the caller the leg that it has in another call, which keeps it until a path of this call is kept. Without the
// leg, because it has ended or never was, the caller gets one of its own.
func (c *Call) Adopt(browser string) {
	if leg, ok := c.anchor.adopt(browser); ok && c.web.leg == nil {
		c.web = party{leg: leg, lent: true, foreign: true}
	}
}

// Adopt is Call.Adopt for a callee that is on the phone in another call.
func (p *Path) Adopt(browser string) {
	if p.next == Direct || p.web[Callee] != nil {
		return
	}
	if leg, ok := p.call.anchor.adopt(browser); ok {
		p.carry(Callee, &web{leg: leg, lent: true})
	}
}

// Meet says that a caller from another call has been told of the callee. What its browser says passes only then: until it is
// told it speaks the codec of the other call, and there are phones that do not get over that. It hears the callee before.
func (p *Path) Meet() {
	w := p.web[Caller]
	if w == nil || !w.unmet {
		return
	}
	w.unmet = false
	if p.agreed != nil {
		for _, s := range p.agreed.streams {
			if s != nil {
				p.attach(s)
			}
		}
	}
}

func (a *Anchor) adopt(browser string) (*gateway.Hold, bool) {
	if a.o.Gateway == nil || browser == "" {
		return nil, false
	}
	return a.o.Gateway.Adopt(browser)
}

// runs is the kind of path that an offer makes.
func (p *Path) runs(kind Kind) Kind {
	if kind != Direct && p.web != [2]*web{} {
		return Gateway
	}
	return kind
}

// Lost says why a browser of the path is not to be reached any more; "": it may be.
func (p *Path) Lost() string {
	for _, w := range p.web {
		if w != nil {
			if why := w.leg.Lost(); why != "" {
				return why
			}
		}
	}
	return ""
}

// carried is the section that a gateway carries: the first one of audio.
func carried(doc *sdp.Document) (*sdp.Media, int) {
	for i, m := range doc.Media() {
		if m.Kind() == "audio" && m.IsRTP() {
			return m, i
		}
	}
	return nil, -1
}

// recognise takes from its first description whether a side is a browser, which its transport only lets expect.
func (p *Path) recognise(from Side, doc *sdp.Document) {
	m, _ := carried(doc)
	if p.agreed != nil || p.web[from] != nil || m == nil || m.Web() == p.parties[from].Web {
		return
	}
	p.parties[from].Web = m.Web()
	if !p.local() {
		p.next = Relayed
	}
}

// undressOffer makes a plain offer out of one from or to a browser, and opens the legs that it needs.
func (p *Path) undressOffer(from Side, doc *sdp.Document) error {
	m, _ := carried(doc)
	to := from.Other()
	for side := range p.parties {
		if p.parties[side].Web && p.web[side] == nil {
			if err := p.admit(Side(side)); err != nil { //nolint:gosec // 0 or 1
				return err
			}
		}
	}
	if p.web == [2]*web{} {
		return nil
	}
	if err := p.undress(from, doc, true); err != nil {
		return err
	}
	for _, o := range doc.Media() {
		if o != m && o.Port() != 0 {
			o.SetPort(0)
		}
	}
	if m != nil && m.Port() != 0 && (p.web[from] == nil || p.web[to] == nil) && !m.Speech() {
		return ErrNoSpeech
	}
	return nil
}

// admit gives a browser a leg: the caller that of the call, whichever path it takes.
func (p *Path) admit(side Side) error {
	if side == Callee {
		leg, err := p.call.anchor.leg()
		if err == nil {
			p.carry(side, &web{leg: leg})
		}
		return err
	}
	c := p.call
	if c.web.leg == nil {
		leg, err := c.anchor.leg()
		if err != nil {
			return err
		}
		c.web.leg = leg
	}
	leg, ok := c.web.leg.Share()
	if !ok {
		return gateway.ErrClosed
	}
	p.carry(side, &web{leg: leg, lent: c.web.lent, unmet: c.web.foreign})
	return nil
}

func (a *Anchor) leg() (*gateway.Hold, error) {
	if a.o.Gateway == nil {
		return nil, ErrNoGateway
	}
	leg, err := a.o.Gateway.Open()
	if err != nil {
		return nil, err //nolint:wrapcheck // it says it all
	}
	if len(leg.Local().Candidates) == 0 { // nowhere to be sent to: no interface is up
		leg.Close()
		return nil, ErrNoGateway
	}
	return leg, nil
}

// carry makes a side a browser with a leg. Whatever the other side has of SRTP ends here too.
func (p *Path) carry(side Side, w *web) {
	p.parties[side].Web, p.web[side] = true, w
	p.secure.ends, p.secure.sides[side] = true, Clear
}

// undress takes a browser's transport out of its own description; others stay as they are.
func (p *Path) undress(from Side, doc *sdp.Document, offer bool) error {
	w := p.web[from]
	if w == nil {
		return nil
	}
	m, _ := carried(doc)
	if m != nil && m.Port() != 0 {
		if !m.Web() {
			return ErrNotWeb
		}
		e := m.WebEnd()
		if err := w.leg.Hear(gateway.Remote{Fragment: e.Fragment, Fingerprints: e.Fingerprints, Setup: e.Setup}, offer); err != nil {
			return err //nolint:wrapcheck // it says it all
		}
	}
	if offer {
		w.mids, w.protos = nil, nil
		for _, m := range doc.Media() {
			mid, _ := m.Attribute("mid")
			w.mids, w.protos = append(w.mids, mid), append(w.protos, m.Proto())
		}
		group, _ := doc.Attribute("group")
		w.bundled = strings.HasPrefix(group, "BUNDLE")
	}
	doc.Plain(p.parties[from].Remote)
	return nil
}

// stream and track name what the browser hears, for its page (RFC 8830).
const webStream = "linehall audio"

// dress turns a plain description into one of a browser's.
func (w *web) dress(doc *sdp.Document, streams []*stream, local netip.Addr, offer bool) {
	mine := w.leg.Local()
	e := sdp.WebEnd{Fragment: mine.Fragment, Password: mine.Password, Fingerprints: []string{mine.Fingerprint}, Setup: "actpass", Stream: webStream}
	if !offer {
		if e.Setup = "passive"; w.leg.Active() {
			e.Setup = "active"
		}
	}
	at := mine.Candidates[0]
	for i, c := range mine.Candidates {
		if c.Addr() == local {
			at = c
		}
		e.Candidates = append(e.Candidates, fmt.Sprintf("%d 1 udp %d %s %d typ host", i+1, gateway.Priority(i), c.Addr(), c.Port()))
	}
	bundle := ""
	for i, m := range doc.Media() {
		mid := w.mid(i)
		switch {
		case i < len(streams) && streams[i] != nil:
			m.Dress(e, at)
			if offer || w.bundled {
				bundle = mid
			}
		case offer:
			m.SetPort(0)
		default:
			m.Reject()
			if i < len(w.protos) {
				m.Undress(w.protos[i])
			}
		}
		if mid != "" {
			m.Name(mid)
		}
	}
	doc.Lite(bundle, at.Addr())
}

// mid is the name of a section: the browser's, or else one of ours.
func (w *web) mid(i int) string {
	for len(w.mids) <= i {
		n := len(w.mids)
		name := strconv.Itoa(n)
		for slices.Contains(w.mids, name) {
			name += "x"
		}
		w.mids = append(w.mids, name)
	}
	return w.mids[i]
}

// attach leads what the browsers of the path send to a stream.
func (p *Path) attach(s *stream) {
	for side, w := range p.web {
		if w != nil && !w.unmet {
			r := s.relay
			w.leg.Attach(func(b []byte, n int) { r.Take(side, b, n) })
		}
	}
}

// connect expects the browsers from now on.
func (p *Path) connect() {
	for _, s := range p.agreed.streams {
		if s != nil {
			p.attach(s)
		}
	}
	for _, w := range p.web {
		if w != nil {
			w.leg.Begin()
			if !w.lent {
				w.leg.Grab()
			}
		}
	}
}

// keep takes the browsers over that other calls have had.
func (c *Call) keep(p *Path) {
	c.web.lent = false
	if p.next == Direct && c.web.leg != nil {
		c.web.leg.Close()
		c.web.leg = nil
	}
	for _, w := range p.web {
		if w != nil && w.lent {
			w.lent = false
			w.leg.Grab()
		}
	}
}

// hangUp lets go of the legs of browsers.
func (p *Path) hangUp() {
	for _, w := range p.web {
		if w != nil {
			w.leg.Close()
		}
	}
}

// savedWeb is a browser's side as JSON. It holds keys.
type savedWeb struct {
	Leg     *gateway.State `json:"leg"`
	Mids    []string       `json:"mids"`
	Protos  []string       `json:"protos"`
	Bundled bool           `json:"bundled"`
	Lent    bool           `json:"lent,omitempty"`
	Unmet   bool           `json:"unmet,omitempty"`
}

func (p *Path) savedWeb() (out [2]*savedWeb) {
	for side, w := range p.web {
		if w != nil {
			out[side] = &savedWeb{w.leg.State(), w.mids, w.protos, w.bundled, w.lent, w.unmet}
		}
	}
	return out
}

func (p *Path) restoreWeb(saved [2]*savedWeb, agreed bool) error {
	for side, s := range saved {
		if s == nil {
			continue
		}
		if p.call.anchor.o.Gateway == nil || s.Leg == nil {
			return ErrNoGateway
		}
		leg, err := p.call.anchor.o.Gateway.Restore(s.Leg)
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		if agreed || s.Leg.SRTP != nil {
			leg.Begin()
		}
		if !s.Lent {
			leg.Grab()
		}
		p.web[side] = &web{leg: leg, mids: s.Mids, protos: s.Protos, bundled: s.Bundled, lent: s.Lent, unmet: s.Unmet}
	}
	return nil
}
