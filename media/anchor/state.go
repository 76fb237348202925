package anchor

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"linehall/internal/site"
	"linehall/media/line"
	"linehall/media/relay"
	"linehall/media/rtcp"
	"linehall/media/sdp"
	"linehall/media/srtp"
)

// stateVersion changes with the format of a saved path.
const stateVersion = 1

// savedPath is an agreed path as JSON.
type savedPath struct {
	Version int            `json:"version"`
	Key     string         `json:"key"`
	Kind    Kind           `json:"kind"`
	Parties [2]savedParty  `json:"parties"`
	Codec   string         `json:"codec"`
	Streams []*savedStream `json:"streams"` // by m-line
	Want    traffic        `json:"want"`
	Traffic traffic        `json:"traffic,omitempty"`
	Ends    bool           `json:"ends,omitempty"` // SRTP ends here
	Sides   [2]Protection  `json:"sides,omitzero"`
	Web     [2]*savedWeb   `json:"web,omitzero"`
}

type savedParty struct {
	Site    site.ID    `json:"site"`
	Remote  netip.Addr `json:"remote"`
	Local   netip.Addr `json:"local"`
	Outside bool       `json:"outside,omitempty"`
	Web     bool       `json:"web,omitempty"`
}

type savedStream struct {
	Ports [2]uint16     `json:"ports"`
	Raw   bool          `json:"raw,omitempty"`
	Audio bool          `json:"audio,omitempty"`
	DSCP  uint8         `json:"dscp"`
	Peers [2]peer       `json:"peers"`
	Base  [2]savedCount `json:"counted"`
	Own   [2]savedCount `json:"own"` // part of Base: what the relay's present stream has counted
	// SRTP holds keys: who stores a state encrypts it.
	SRTP [2]*srtp.State `json:"srtp,omitzero"`
}

type savedCount struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	Lost    uint64 `json:"lost"`
}

// ErrNotAgreed is the error of State before the first answer: there is nothing to restore.
var ErrNotAgreed = errors.New("path is not agreed")

// State returns what Restore needs: ports, peers, latches, the reservation, and what was counted so far. An offer that
// is not answered yet is not part of it.
func (p *Path) State() ([]byte, error) {
	if p.agreed == nil {
		return nil, ErrNotAgreed
	}
	saved := savedPath{
		Version: stateVersion, Key: p.key, Kind: p.agreed.kind, Codec: p.agreed.codec, Want: p.agreed.want, Traffic: p.agreed.traffic,
		Streams: make([]*savedStream, len(p.agreed.streams)), Ends: p.secure.ends, Sides: p.secure.sides, Web: p.savedWeb(),
	}
	for side, party := range p.parties {
		saved.Parties[side] = savedParty(party)
	}
	for i, s := range p.agreed.streams {
		if s != nil {
			saved.Streams[i] = s.saved()
		}
	}
	b, err := json.Marshal(saved)
	if err != nil {
		return nil, fmt.Errorf("state of a path: %w", err)
	}
	return b, nil
}

func (s *stream) saved() *savedStream {
	out := &savedStream{Raw: s.raw, Audio: s.audio, DSCP: s.dscp, Peers: s.peers, SRTP: s.savedKeys()}
	now := s.relay.Stats()
	for side := range out.Ports {
		out.Ports[side] = s.relay.Port(side)
		out.Peers[side].LatchedRTP, out.Peers[side].LatchedRTCP = s.relay.Latched(side)
		out.Own[side] = savedCount{Packets: now[side].Packets, Bytes: now[side].Bytes, Lost: now[side].Lost}
		out.Base[side] = savedCount{
			Packets: s.base[side].Packets + now[side].Packets, Bytes: s.base[side].Bytes + now[side].Bytes,
			Lost: s.base[side].Lost + now[side].Lost,
		}
	}
	return out
}

// Restore rebuilds an established call from a saved state: the same ports, the same peers, and the reservation, which
// is never refused here, because the call is on the line already.
func (a *Anchor) Restore(h line.Holder, state []byte) (*Call, *Path, error) {
	var saved savedPath
	if err := json.Unmarshal(state, &saved); err != nil {
		return nil, nil, fmt.Errorf("state of a path: %w", err)
	}
	if saved.Version != stateVersion || saved.Kind != Direct && saved.Kind != Relayed {
		return nil, nil, fmt.Errorf("state of a path: version %d, kind %q", saved.Version, saved.Kind)
	}
	c := a.Open(h, Party(saved.Parties[Caller]))
	p := newPath(c, saved.Key, Party(saved.Parties[Callee]))
	p.next, p.secure = saved.Kind, securing{saved.Ends, saved.Sides}
	c.paths, c.kept = []*Path{p}, p
	if err := p.restoreWeb(saved.Web, true); err != nil {
		c.Close()
		return nil, nil, err
	}
	p.agreed = &agreement{kind: saved.Kind, codec: saved.Codec, want: saved.Want, traffic: saved.Traffic, streams: make([]*stream, len(saved.Streams))}
	for i, s := range saved.Streams {
		if s == nil {
			continue
		}
		restored, err := p.restore(s)
		if err != nil {
			c.Close()
			return nil, nil, err
		}
		p.agreed.streams[i] = restored
	}
	p.rate()
	p.want = p.agreed.want
	c.lease.Reclaim(c.demands()...)
	p.publish()
	return c, p, nil
}

func (p *Path) restore(saved *savedStream) (*stream, error) {
	for side, port := range saved.Ports {
		if (port == 0) != (p.web[side] != nil) {
			return nil, errors.New("state of a path: a stream without ports")
		}
	}
	s := &stream{raw: saved.Raw, audio: saved.Audio, dscp: saved.DSCP, peers: saved.Peers}
	for side, n := range saved.Base {
		s.base[side] = relay.Stats{Stats: rtcp.Stats{Packets: n.Packets, Bytes: n.Bytes, Lost: n.Lost}}
	}
	if err := s.restoreKeys(saved.SRTP); err != nil {
		return nil, fmt.Errorf("state of a path: %w", err)
	}
	if err := p.bind(s, saved.Ports); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	for side, own := range saved.Own {
		if s.relay.Adopted(side) { // its counts begin where the stream began, not where the state was saved
			b := &s.base[side]
			b.Packets, b.Bytes, b.Lost = b.Packets-min(b.Packets, own.Packets), b.Bytes-min(b.Bytes, own.Bytes), b.Lost-min(b.Lost, own.Lost)
		}
	}
	for side := range s.peers { // a latch is restored once; from here on the relay knows better
		s.peers[side].LatchedRTP, s.peers[side].LatchedRTCP = netip.AddrPort{}, netip.AddrPort{}
	}
	return s, nil
}

// MarshalJSON keeps the field names of a stream out of the saved state.
func (t traffic) MarshalJSON() ([]byte, error) {
	flat := make([][2][2]int, len(t))
	for i, m := range t {
		for side, s := range m {
			flat[i][side] = [2]int{s.PacketsPerSecond, s.BytesPerPacket}
		}
	}
	return json.Marshal(flat)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *traffic) UnmarshalJSON(b []byte) error {
	var flat [][2][2]int
	if err := json.Unmarshal(b, &flat); err != nil {
		return err
	}
	*t = make(traffic, len(flat))
	for i, m := range flat {
		for side, s := range m {
			(*t)[i][side] = sdp.Stream{PacketsPerSecond: s[0], BytesPerPacket: s[1]}
		}
	}
	return nil
}
