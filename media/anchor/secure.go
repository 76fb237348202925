package anchor

import (
	"errors"

	"linehall/media/sdp"
	"linehall/media/srtp"
)

// Protection is how the media of a side runs where its SRTP ends at us.
type Protection uint8

// The protections.
const (
	Clear Protection = iota // RTP
	Keyed                   // SRTP with keys of ours (RFC 4568)
)

var (
	// ErrNoSuite is the error of Offer and Answer when SRTP ends here and a side has no key that we can use.
	ErrNoSuite = errors.New("no crypto suite in common")
	// ErrNotKeyed is the error of Answer to keys of ours that brings none.
	ErrNotKeyed = errors.New("keys were offered, and the answer has none")
)

// securing is how far the SRTP of a path ends here. Each side has then keys of its own with us, or none, and never gets
// those of the other side.
type securing struct {
	ends  bool
	sides [2]Protection // what each side said last, or shall be offered
}

// Terminate ends SRTP here from the next offer on, and says how a side shall be offered it. It makes the path a relayed
// one. The protection of who offers is what it says itself.
func (p *Path) Terminate(side Side, how Protection) {
	if p.parties[side].Web { // its keys come from elsewhere
		how = Clear
	}
	p.secure.ends, p.secure.sides[side] = true, how
	p.next = Relayed
}

// Ends reports whether SRTP ends here.
func (p *Path) Ends() bool { return p.secure.ends }

// Stale reports whether so much was received since State that the roll-over counters should be saved again.
func (p *Path) Stale() bool {
	if p.agreed == nil {
		return false
	}
	for _, w := range p.web {
		if w != nil && w.leg.Stale() {
			return true
		}
	}
	for _, s := range p.agreed.streams {
		if s == nil {
			continue
		}
		for _, e := range s.sessions {
			if e != nil && e.Stale() {
				return true
			}
		}
	}
	return false
}

// sealedSize is what the longest tag adds to a packet (RFC 7714 §14), whichever side has it.
const sealedSize = 16

// weigh adds the tags to what a path takes whose SRTP ends here.
func (p *Path) weigh(t traffic) traffic {
	if !p.secure.ends {
		return t
	}
	for i := range t {
		for side := range t[i] {
			if t[i][side].PacketsPerSecond > 0 {
				t[i][side].BytesPerPacket += sealedSize
			}
		}
	}
	return t
}

// cryptos reads what of a section we can use, in its writer's order.
func cryptos(m *sdp.Media) []srtp.Crypto {
	var out []srtp.Crypto
	for _, v := range m.Attributes("crypto") {
		if c, err := srtp.ParseCrypto(v); err == nil {
			out = append(out, c)
		}
	}
	return out
}

// wantsKeys reports whether a section is of SRTP, or leaves the choice (RFC 8643).
func wantsKeys(m *sdp.Media) bool { return m.IsRTP() && (m.IsSecure() || m.SDES()) }

// begin takes note of an offer whose SRTP ends here, and makes the keys that the other side is offered. Until they are
// agreed nothing passes on the new streams: not in clear to a side that will have keys.
func (p *Path) begin(o *offer) error {
	if !p.secure.ends {
		return nil
	}
	to := o.from.Other()
	o.keys = make([][]srtp.Crypto, len(o.streams))
	for i, m := range o.doc.Media() {
		s := o.streams[i]
		if s == nil || !m.IsRTP() {
			continue
		}
		if wantsKeys(m) && len(cryptos(m)) == 0 {
			return ErrNoSuite
		}
		if p.secure.sides[to] == Keyed {
			o.keys[i] = s.offerKeys(to)
		}
		if !p.isAgreed(s) {
			s.lock(o.from, wantsKeys(m))
			s.lock(to, p.secure.sides[to] == Keyed)
		}
	}
	return nil
}

// offerKeys is the key that a side has of us, or one in each suite.
func (s *stream) offerKeys(to Side) []srtp.Crypto {
	if e := s.sessions[to]; e != nil && e.Local().Valid() {
		return []srtp.Crypto{{Tag: 1, Key: e.Local()}}
	}
	var out []srtp.Crypto
	for i, suite := range srtp.Suites() {
		out = append(out, srtp.Crypto{Tag: i + 1, Key: srtp.NewKey(suite)})
	}
	return out
}

func (s *stream) lock(side Side, keyed bool) {
	s.sessions[side] = nil
	if keyed {
		s.sessions[side] = srtp.NewSession(srtp.Key{}, srtp.Key{})
	}
}

// dress makes a description one for the side that gets it: with keys of ours, or without.
func dress(m *sdp.Media, secure bool, keys ...srtp.Crypto) {
	m.SetSecure(secure)
	values := make([]string, len(keys))
	for i, k := range keys {
		values[i] = k.String()
	}
	m.SetCrypto(values...)
}

// dressOffer does so with an offer.
func (p *Path) dressOffer(doc *sdp.Document, o *offer) {
	if !o.ends() {
		return
	}
	for i, m := range doc.Media() {
		switch {
		case !m.IsRTP():
		case o.streams[i] == nil: // rejected; its keys are no less the other side's
			m.SetCrypto()
		default:
			dress(m, p.secure.sides[o.from.Other()] == Keyed, o.keys[i]...)
		}
	}
}

// settled is what offer and answer say about the keys of one m-line.
type settled struct {
	sessions [2]*srtp.Session
	answer   []srtp.Crypto // for the side that offered
	back     []srtp.Crypto // for the other one, where it offered too (Cross)
}

// settle finds the keys of both sides in an answer, before anything changes.
func (p *Path) settle(o *offer, answer *sdp.Document) ([]settled, error) {
	if !o.ends() {
		return nil, nil
	}
	out := make([]settled, len(o.streams))
	media, from := answer.Media(), o.from.Other()
	for i, m := range o.doc.Media() {
		s := o.streams[i]
		if s == nil || !m.IsRTP() || i >= len(media) || !usable(media[i]) {
			continue
		}
		var err error
		if wantsKeys(m) {
			if out[i].sessions[o.from], out[i].answer, err = s.answerKeys(o.from, m); err != nil {
				return nil, err
			}
		}
		if x := o.theirs(i); x != nil && wantsKeys(x) {
			if out[i].sessions[from], out[i].back, err = s.answerKeys(from, x); err != nil {
				return nil, err
			}
		}
		if len(o.keys[i]) == 0 {
			continue
		}
		local, remote, err := chosen(o.keys[i], media[i])
		if err != nil {
			return nil, err
		}
		out[i].sessions[from] = s.session(from).Rekey(local, remote)
	}
	return out, nil
}

// answerKeys takes the first key of an offer that we can use (RFC 4568 §5.1.2: in the offerer's order), and answers it
// with one of ours, which stays while the suite does.
func (s *stream) answerKeys(side Side, m *sdp.Media) (*srtp.Session, []srtp.Crypto, error) {
	all := cryptos(m)
	if len(all) == 0 {
		return nil, nil, ErrNoSuite
	}
	e := s.session(side)
	local := e.Local()
	if local.Suite != all[0].Key.Suite {
		local = srtp.NewKey(all[0].Key.Suite)
	}
	return e.Rekey(local, all[0].Key), []srtp.Crypto{{Tag: all[0].Tag, Key: local}}, nil
}

// session is the stream's one for a side, or an empty one.
func (s *stream) session(side Side) *srtp.Session {
	if s.sessions[side] == nil {
		return srtp.NewSession(srtp.Key{}, srtp.Key{})
	}
	return s.sessions[side]
}

// chosen finds which of our keys an answer took, by its tag, and the one it brings (RFC 4568 §5.1.3).
func chosen(offered []srtp.Crypto, m *sdp.Media) (local, remote srtp.Key, err error) {
	answered := cryptos(m)
	if len(answered) == 0 {
		return local, remote, ErrNotKeyed
	}
	for _, k := range offered {
		if k.Tag == answered[0].Tag && k.Key.Suite == answered[0].Key.Suite {
			return k.Key, answered[0].Key, nil
		}
	}
	return local, remote, ErrNoSuite
}

// conclude installs what settle found; the relay hears of it with the peers.
func (p *Path) conclude(o *offer, found []settled) {
	if !o.ends() {
		return
	}
	p.secure.sides = [2]Protection{}
	for i, s := range o.streams {
		if s == nil {
			continue
		}
		s.sessions = found[i].sessions
		for side, e := range s.sessions {
			if e != nil {
				p.secure.sides[side] = Keyed
			}
		}
	}
}

// dressAnswer makes an answer one for the side that offered: its own profile, its own tag, and a key of ours.
func (p *Path) dressAnswer(doc *sdp.Document, o *offer, found []settled) {
	if !o.ends() {
		return
	}
	offers := o.doc.Media()
	for i, m := range doc.Media() {
		if i < len(offers) && m.IsRTP() {
			var keys []srtp.Crypto
			if i < len(found) {
				keys = found[i].answer
			}
			dress(m, offers[i].IsSecure(), keys...)
		}
	}
}

// dressCrossed does so with the answer to the callee's own offer; at says which of our m-lines a section is joined to.
func (p *Path) dressCrossed(doc, offered *sdp.Document, at []int, found []settled) {
	media, offers := doc.Media(), offered.Media()
	for j, i := range at {
		if !media[j].IsRTP() {
			continue
		}
		var keys []srtp.Crypto
		if i >= 0 {
			keys = found[i].back
		}
		dress(media[j], offers[j].IsSecure(), keys...)
	}
}

// ends reports whether the offer was made with SRTP that ends here.
func (o *offer) ends() bool { return o.keys != nil }

// theirs is the callee's section that an m-line is joined to, where both sides offered.
func (o *offer) theirs(i int) *sdp.Media {
	if i >= len(o.crossed) {
		return nil
	}
	return o.crossed[i]
}

// undressed is a copy of an offer without its security.
func undressed(doc *sdp.Document) *sdp.Document {
	out := doc.Clone()
	for _, m := range out.Media() {
		if m.IsRTP() {
			dress(m, false)
		}
	}
	return out
}

// savedKeys are the sessions of a stream, by side.
func (s *stream) savedKeys() [2]*srtp.State {
	var out [2]*srtp.State
	for side, e := range s.sessions {
		if e != nil {
			st := e.State()
			out[side] = &st
		}
	}
	return out
}

func (s *stream) restoreKeys(saved [2]*srtp.State) error {
	for side, st := range saved {
		if st == nil {
			continue
		}
		e, err := srtp.Restore(*st)
		if err != nil {
			return err
		}
		s.sessions[side] = e
	}
	return nil
}

// savedOffers and restoreOffers keep the keys of an offer that waits for its answer.
func (o *offer) savedOffers() [][]string {
	out := make([][]string, len(o.keys))
	for i, keys := range o.keys {
		for _, k := range keys {
			out[i] = append(out[i], k.String())
		}
	}
	return out
}

func (o *offer) restoreOffers(saved [][]string) error {
	o.keys = make([][]srtp.Crypto, len(o.streams))
	for i, keys := range saved {
		for _, v := range keys {
			c, err := srtp.ParseCrypto(v)
			if err != nil || i >= len(o.keys) {
				return errors.Join(ErrNoSuite, err)
			}
			o.keys[i] = append(o.keys[i], c)
		}
	}
	return nil
}
