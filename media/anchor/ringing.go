package anchor

import (
	"encoding/json"
	"fmt"

	"linehall/media/line"
	"linehall/media/sdp"
)

// The media of a call that still rings: what its phones were offered must be there after a
// restart, on the same ports.

// savedCall is a ringing call as JSON.
type savedCall struct {
	Version int            `json:"version"`
	Caller  savedParty     `json:"caller"`
	Paths   []savedRinging `json:"paths"`
}

// savedRinging is a path with an offer, answered early or not at all.
type savedRinging struct {
	Key      string         `json:"key"`
	Kind     Kind           `json:"kind"`
	Callee   savedParty     `json:"callee"`
	From     Side           `json:"from"`
	Offer    []byte         `json:"offer,omitempty"` // empty: none was made
	Answered bool           `json:"answered,omitempty"`
	Codec    string         `json:"codec,omitempty"`
	Streams  []*savedStream `json:"streams,omitempty"`
	Want     traffic        `json:"want"`
	Traffic  traffic        `json:"traffic"`
	Ends     bool           `json:"ends,omitempty"`
	Sides    [2]Protection  `json:"sides,omitzero"`
	Keys     [][]string     `json:"keys,omitempty"` // offered to the other side
	Web      [2]*savedWeb   `json:"web,omitzero"`
}

// Ringing returns what RestoreRinging needs of the open paths.
func (c *Call) Ringing() ([]byte, error) {
	saved := savedCall{Version: stateVersion, Caller: savedParty(c.caller)}
	for _, p := range c.paths {
		saved.Paths = append(saved.Paths, p.ringing())
	}
	b, err := json.Marshal(saved)
	if err != nil {
		return nil, fmt.Errorf("state of a ringing call: %w", err)
	}
	return b, nil
}

func (p *Path) ringing() savedRinging {
	out := savedRinging{Key: p.key, Kind: p.next, Callee: savedParty(p.parties[Callee]), Want: p.want, Ends: p.secure.ends, Sides: p.secure.sides, Web: p.savedWeb()}
	o := p.offer
	if p.agreed != nil { // an early answer; an offer that came after it is made again
		o = p.agreed.offer
		out.Answered, out.Codec, out.Want, out.Traffic = true, p.agreed.codec, p.agreed.want, p.agreed.traffic
	}
	if o == nil {
		return out
	}
	out.Kind, out.Keys = o.kind, o.savedOffers()
	out.From, out.Offer, out.Streams = o.from, o.doc.Marshal(), make([]*savedStream, len(o.streams))
	for i, s := range o.streams {
		if s != nil {
			out.Streams[i] = s.saved()
		}
	}
	return out
}

// RestoreRinging rebuilds a ringing call, with its paths by their keys. The reservation is not
// refused: the call was on the lines.
func (a *Anchor) RestoreRinging(h line.Holder, state []byte) (*Call, map[string]*Path, error) {
	var saved savedCall
	if err := json.Unmarshal(state, &saved); err != nil {
		return nil, nil, fmt.Errorf("state of a ringing call: %w", err)
	}
	if saved.Version != stateVersion {
		return nil, nil, fmt.Errorf("state of a ringing call: version %d", saved.Version)
	}
	c, paths := a.Open(h, Party(saved.Caller)), map[string]*Path{}
	for i := range saved.Paths {
		p, err := c.restoreRinging(&saved.Paths[i])
		if err != nil {
			c.Close()
			return nil, nil, err
		}
		paths[p.key] = p
	}
	c.lease.Reclaim(c.demands()...)
	for _, p := range c.paths {
		p.publish()
	}
	return c, paths, nil
}

func (c *Call) restoreRinging(saved *savedRinging) (*Path, error) {
	p := c.Branch(saved.Key, Party(saved.Callee))
	if len(saved.Offer) == 0 {
		return p, nil
	}
	doc, err := sdp.Parse(saved.Offer)
	if err != nil {
		return nil, fmt.Errorf("state of a ringing call: %w", err)
	}
	p.next, p.want, p.secure = saved.Kind, saved.Want, securing{saved.Ends, saved.Sides}
	if err := p.restoreWeb(saved.Web, saved.Answered); err != nil {
		return nil, err
	}
	if w := p.web[Caller]; w != nil && c.web.leg == nil {
		if leg, ok := w.leg.Share(); ok {
			c.web = party{leg: leg, lent: w.lent, foreign: w.unmet}
		}
	}
	o := &offer{from: saved.From, kind: saved.Kind, doc: doc, streams: make([]*stream, len(saved.Streams)), answered: saved.Answered}
	for i, s := range saved.Streams {
		if s == nil {
			continue
		}
		if o.streams[i], err = p.restore(s); err != nil {
			return nil, err
		}
	}
	if saved.Ends {
		if err := o.restoreOffers(saved.Keys); err != nil {
			return nil, fmt.Errorf("state of a ringing call: %w", err)
		}
	}
	p.offer = o
	if saved.Answered {
		p.agreed = &agreement{offer: o, kind: saved.Kind, codec: saved.Codec, want: saved.Want, traffic: saved.Traffic, streams: o.streams}
	}
	return p, nil
}
