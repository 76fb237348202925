package anchor

import (
	"time"

	"linehall/media/relay"
	"linehall/media/rtcp"
)

// view is what other goroutines may see of a path. It is immutable; the streams in it keep counting.
type view struct {
	kind    Kind
	codec   string
	streams []*stream
	web     [2]*web
}

// publish makes the present state visible to Stats and Codec.
func (p *Path) publish() {
	v := &view{kind: p.next}
	switch {
	case p.agreed != nil:
		v.kind = p.agreed.kind
		v.codec, v.streams = p.agreed.codec, p.agreed.streams
	case p.offer != nil:
		v.streams = p.offer.streams
	}
	if v.kind != Direct {
		if v.web = p.web; v.web != [2]*web{} {
			v.kind = Gateway
		}
	}
	v.streams = append([]*stream(nil), v.streams...)
	p.view.Store(v)
}

// Carrier says how the media runs at this moment: Kind, or Kernel while the kernel carries any direction of a relayed
// stream.
func (p *Path) Carrier() Kind {
	v := p.view.Load()
	for _, s := range v.streams {
		if s != nil && s.relay.InKernel() {
			return Kernel
		}
	}
	return v.kind
}

// Codec returns the agreed audio codec, "" before the answer.
func (p *Path) Codec() string { return p.view.Load().codec }

// Stats returns what arrived from the caller and from the callee: of the audio, or of the first medium if there is no
// audio. After Close it returns the last values.
func (p *Path) Stats() [2]LegStats {
	v := p.view.Load()
	out := [2]LegStats{
		{Side: Caller, Site: p.parties[Caller].Site, Codec: v.codec},
		{Side: Callee, Site: p.parties[Callee].Site, Codec: v.codec},
	}
	s := v.main()
	if s == nil {
		return out
	}
	legs := s.relay.Stats()
	for i := range out {
		l := &out[i]
		l.Remote, l.RTT, l.Jitter = legs[i].Remote, legs[i].RTT, legs[i].Jitter
		if w := v.web[i]; w != nil {
			l.Remote = w.leg.Remote()
		}
		l.Packets = s.base[i].Packets + legs[i].Packets
		l.Bytes = s.base[i].Bytes + legs[i].Bytes
		l.Lost = s.base[i].Lost + legs[i].Lost
		l.MOS, l.Seconds, l.Heard = mos(v.codec, *l, legs[i].Stats, legs), legs[i].Seconds, legs[i].Heard
	}
	return out
}

// main returns the stream that stands for the call.
func (v *view) main() *stream {
	var first *stream
	for _, s := range v.streams {
		if s == nil {
			continue
		}
		if s.audio {
			return s
		}
		if first == nil {
			first = s
		}
	}
	return first
}

// mos rates what one side sent since the call began, as it passed here.
func mos(codec string, l LegStats, own rtcp.Stats, legs [2]relay.Stats) float64 {
	if l.Packets == 0 || codec == "" {
		return 0
	}
	own.Packets, own.Lost = l.Packets, l.Lost
	return relay.Score(codec, own, [2]time.Duration{legs[0].RTT, legs[1].RTT})
}
