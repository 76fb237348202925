package forward

import (
	"time"
)

// forward offers a packet of a layer to the slot; true: it was written. Called on the goroutine of the layer's publisher.
func (s *Slot) forward(l *Layer, p *packet) bool {
	b := s.bound.Load()
	if b == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	format := b.payloads[p.codec]
	if !format.taken {
		return false // the receiver cannot decode it
	}
	if l != s.current || p.epoch != s.epoch || p.codec != s.codec {
		if !s.take(l, p) {
			return false
		}
	}
	if l.track.muted.Load() {
		s.note(p, true)
		return false
	}
	above, marker := s.cut(p)
	out, picture, ok := s.number(p, above)
	if !ok {
		return false
	}
	r := &s.rewrite
	if s.video {
		p.frame.rewrite(p.payload, picture, r.tl0)
	}
	h := &s.header
	h.Version, h.Marker, h.PayloadType, h.SSRC = 2, marker, format.media, b.ssrc
	h.SequenceNumber = uint16(out) //nolint:gosec // the low 16 bits are the wire's
	h.Timestamp = p.timestamp + r.timestamp
	if out > r.outSequence {
		r.outSequence, r.outTimestamp, r.outAt = out, h.Timestamp, p.arrival
		r.outPicture, r.outTL0 = p.frame.picture+picture, p.frame.tl0+r.tl0
	}
	s.sent[out%uint64(len(s.sent))] = sentPacket{
		out: out, source: p.sequence, layer: l, stamp: r.timestamp, picture: picture, tl0: r.tl0, codec: p.codec, marker: marker,
	}
	s.write(b, p)
	return true
}

// write sends the prepared header with a packet's payload, or gives it to the pacer. The caller holds mu.
func (s *Slot) write(b *binding, p *packet) {
	s.counters.packets++
	s.counters.octets += uint64(len(p.payload))
	if s.pacer == nil || !s.pacer.Send(b, &s.header, p.payload, b.octets(p.payload), s.inKeyframe(p)) {
		_, _ = b.WriteRTP(&s.header, p.payload) // the connection is closing; its owner knows
	}
}

// inKeyframe says whether the packet is of the keyframe that began last. The caller holds mu.
func (s *Slot) inKeyframe(p *packet) bool {
	if p.frame.keyframe {
		s.rewrite.keyframe = p.timestamp
	}
	return s.video && p.timestamp == s.rewrite.keyframe
}

// octetsOf is the length of the IP packet that carries a payload.
func octetsOf(payload []byte) int { return 12 + len(payload) + wireOverhead }

func (s *Slot) countWire(octets int) {
	s.octets.Add(uint64(octets)) //nolint:gosec // a length
	if m := s.meter.Load(); m != nil {
		m.Add(1, int64(octets))
	}
}

// take switches to a layer if this packet is one to begin with; the caller holds mu.
func (s *Slot) take(l *Layer, p *packet) bool {
	if l != s.target || p.late || s.video && !p.frame.keyframe {
		if l == s.target && !p.late && !l.wantsKeyframe.Load() && s.mayAsk(p) {
			l.wantsKeyframe.Store(true)
		}
		return false
	}
	if s.video && !s.mayBegin(p) {
		return false
	}
	r := &s.rewrite
	timestamp := s.align(l, p)
	old := s.current
	s.current, s.epoch, s.codec = l, p.epoch, p.codec
	r.sequence = r.outSequence + 1 - p.sequence
	r.timestamp = timestamp - p.timestamp
	r.picture = r.outPicture + 1 - p.frame.picture
	r.tl0 = r.outTL0 + 1 - p.frame.tl0
	r.from, r.newest, r.dropped, r.started = p.sequence, p.sequence-1, false, true
	if old != nil && old != l {
		old.remove(s) // same track, so this goroutine walks a snapshot of l, not of old
	}
	return true
}

// align finds the slot's timestamp for the first packet of a layer. Between layers of one camera the sender reports tell the
// distance exactly (RFC 3550 §6.4.1); otherwise time passed is time passed.
func (s *Slot) align(l *Layer, p *packet) uint32 {
	r := &s.rewrite
	if !r.started {
		return r.outTimestamp
	}
	clock := l.clockRate()
	passed := uint32(p.arrival.Sub(r.outAt) * time.Duration(clock) / time.Second) //nolint:gosec // wraps like the timestamp
	byTime := r.outTimestamp + max(passed, 1)
	old := s.current
	if old == nil || old.track != l.track {
		return byTime
	}
	from, to := old.senderInfo(), l.senderInfo()
	if from.at.IsZero() || to.at.IsZero() || old == l {
		return byTime
	}
	// The new packet's capture instant on the old layer's clock.
	apart := ntpDistance(to.ntp, from.ntp)
	onOld := from.rtp + uint32(apart*time.Duration(clock)/time.Second) + (p.timestamp - to.rtp) //nolint:gosec // wraps like the timestamp
	aligned := onOld + r.timestamp
	if ahead := int32(aligned - r.outTimestamp); ahead <= 0 || ahead > int32(clock) { //nolint:gosec // two's complement on purpose
		return byTime
	}
	return aligned
}

// number decides the sequence number and picture offset of a packet; false: it is not to be written, because it is old, was
// dropped, or lies above the limits. The caller holds mu.
func (s *Slot) number(p *packet, above bool) (out uint64, picture uint16, ok bool) {
	r := &s.rewrite
	if p.sequence <= r.newest {
		e := s.sources[p.sequence%uint64(len(s.sources))]
		if p.sequence < r.from || e.source != p.sequence || e.dropped || above || p.frame.hasTemporal && p.frame.temporal > s.temporal {
			return 0, 0, false
		}
		return p.sequence + e.sequence, e.picture, true
	}
	for missing := max(r.newest+1, p.sequence-min(p.sequence, maxMissing)); missing < p.sequence; missing++ {
		s.sources[missing%uint64(len(s.sources))] = sourcePacket{source: missing, sequence: r.sequence, picture: r.picture}
	}
	drop := s.drops(p) || above
	s.note(p, drop)
	if drop {
		return 0, 0, false
	}
	return p.sequence + r.sequence, r.picture, true
}

// note records what became of the newest packet; a dropped one leaves no gap behind. The caller holds mu.
func (s *Slot) note(p *packet, dropped bool) {
	r := &s.rewrite
	if p.sequence <= r.newest {
		return
	}
	r.newest = p.sequence
	if dropped {
		r.sequence--
	}
	s.sources[p.sequence%uint64(len(s.sources))] = sourcePacket{source: p.sequence, sequence: r.sequence, picture: r.picture, dropped: dropped}
}

// mayAsk says whether a keyframe may be asked for now. The caller holds mu.
func (s *Slot) mayAsk(p *packet) bool { return s.pacer == nil || s.pacer.Claim(p.arrival) }

// mayBegin says whether a layer may begin with this keyframe: while a picture is shown the next one waits for its turn on the
// line, and nothing begins without room. The caller holds mu.
func (s *Slot) mayBegin(p *packet) bool {
	if s.pacer == nil {
		return true
	}
	if s.current != nil && !s.pacer.Claim(p.arrival) {
		return false
	}
	_, base := s.pacer.Admit()
	return base
}

// drops says whether the packet belongs to a frame that is left out: of a temporal layer above the limit, or one for which the
// line has no time. The caller holds mu.
func (s *Slot) drops(p *packet) bool {
	if !s.video {
		return false
	}
	if p.frame.start {
		s.begin(p)
	}
	r := &s.rewrite
	if !s.starved && (!p.frame.hasTemporal || p.frame.temporal <= s.temporal) {
		r.dropped = false
		return false
	}
	if !r.dropped || r.dropping != p.timestamp {
		r.dropped, r.dropping = true, p.timestamp
		r.picture-- // picture ids go on without a gap, or the receiver waits for the missing picture
	}
	return true
}

// begin decides about a frame at its first packet: which temporal layers are forwarded from it on, and whether the line has time
// for it. The caller holds mu.
func (s *Slot) begin(p *packet) {
	wanted := s.wanted
	if s.target != nil && rank(s.target.rid) < rank(s.current.rid) {
		wanted = 0 // a line that got narrower cannot wait for the smaller layer's keyframe
	}
	all, base := true, true
	if s.pacer != nil {
		all, base = s.pacer.Admit()
	}
	switch {
	case !base:
		s.starved = s.starved || p.frame.temporal == 0
	case p.frame.keyframe:
		s.starved, s.keyless = false, false
	}
	if !all {
		wanted = 0
	}
	s.keyless = s.keyless || s.starved
	if s.keyless && all && s.mayAsk(p) {
		s.current.wantsKeyframe.Store(true)
	}
	f := &p.frame
	switch {
	case s.temporal > wanted || f.keyframe:
		s.temporal = wanted
	case f.layerSync && f.temporal > s.temporal && f.temporal <= wanted:
		s.temporal = f.temporal
	}
}

// skip takes note of a packet that carries nothing.
func (s *Slot) skip(l *Layer, p *packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l == s.current && p.epoch == s.epoch {
		s.note(p, true)
	}
}
