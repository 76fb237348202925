package webrtc

import "maps"

// Class says how a media packet is marked on its way out.
type Class uint8

// The classes that a stream can be announced with. Unknown streams are marked as camera video, the most frequent case.
const (
	Video   Class = iota // camera video, AF41
	Audio                // conference audio, EF
	Content              // shared screen, AF31
	Signal               // STUN and DTLS, CS3
)

// Type-of-service octets: the DSCP shifted by the two ECN bits (RFC 2474, values of RFC 4594).
const (
	tosEF   = 46 << 2
	tosAF41 = 34 << 2
	tosAF31 = 26 << 2
	tosCS3  = 24 << 2
)

func (c Class) tos() uint8 {
	switch c {
	case Audio:
		return tosEF
	case Content:
		return tosAF31
	case Signal:
		return tosCS3
	case Video:
		return tosAF41
	}
	return tosAF41
}

// tosOf chooses the octet from the first bytes of a datagram (RFC 7983): RTP by its SSRC's class, the reports like video,
// STUN and DTLS like signalling.
func (p *Plane) tosOf(b []byte) uint8 {
	if len(b) < 12 || b[0] < 128 || b[0] > 191 {
		return tosCS3
	}
	if b[1] >= 192 && b[1] <= 223 { // RFC 5761 §4: RTCP
		return tosAF41
	}
	ssrc := uint32(b[8])<<24 | uint32(b[9])<<16 | uint32(b[10])<<8 | uint32(b[11])
	if class, ok := (*p.classes.Load())[ssrc]; ok {
		return class.tos()
	}
	return tosAF41
}

// Announce sets the class of an outgoing stream until [Plane.Withdraw]. SSRCs of different connections share one table: they
// are random 32-bit numbers, and the worst of a collision is a packet in a neighbouring class.
func (p *Plane) Announce(ssrc uint32, class Class) {
	p.editClasses(func(m map[uint32]Class) { m[ssrc] = class })
}

// Withdraw forgets outgoing streams.
func (p *Plane) Withdraw(ssrcs ...uint32) {
	p.editClasses(func(m map[uint32]Class) {
		for _, ssrc := range ssrcs {
			delete(m, ssrc)
		}
	})
}

// editClasses replaces the table by an edited copy, so that the send path reads it without a lock.
func (p *Plane) editClasses(edit func(map[uint32]Class)) {
	p.tables.Lock()
	defer p.tables.Unlock()
	old := *p.classes.Load()
	next := make(map[uint32]Class, len(old)+1)
	maps.Copy(next, old)
	edit(next)
	p.classes.Store(&next)
}
