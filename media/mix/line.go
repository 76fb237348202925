package mix

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"linehall/media/codec"
	"linehall/media/dtmf"
	"linehall/media/packet"
)

const (
	// Rate is the rate of samples in Hear, Say and the mixer.
	Rate = 16_000
	// FrameSamples are 20 ms.
	FrameSamples = Rate / 50
)

// Line is what was negotiated with a party.
type Line struct {
	Format codec.Format
	Type   packet.PayloadType // of Format, as we send it
	Event  packet.PayloadType // of telephone-event at Format.Clock; 0: none, keys come as tones
	Noise  packet.PayloadType // of comfort noise, usually 13; 0: none
	// Others are more formats that the party may change to without a word (RFC 3264 §5.1); an Ear follows it.
	Others []Voice
}

// Voice is a format and its payload type.
type Voice struct {
	Format codec.Format
	Type   packet.PayloadType
}

// Ear hears one party.
type Ear struct {
	line     Line
	inbox    Inbox
	playout  *Playout
	resample *codec.Resampler
	events   dtmf.Receiver
	tones    *dtmf.Detector
	buffer   [largest]byte
	native   []int16
	keys     []byte
	strange  uint64       // packets of other types
	before   PlayoutStats // of formats before
}

// NewEar returns an ear for what the party sends.
func NewEar(l Line) *Ear {
	e := &Ear{line: l, keys: make([]byte, 0, 16)}
	e.line.Others = slices.Clone(l.Others) // it changes
	e.tune(Voice{l.Format, l.Type})
	return e
}

// tune hears that format from now on.
func (e *Ear) tune(v Voice) {
	if e.playout != nil {
		e.before = e.before.plus(e.playout.Stats())
	}
	e.line.Format, e.line.Type = v.Format, v.Type
	e.playout, e.resample = NewPlayout(v.Format), codec.NewResampler(v.Format.Rate, Rate)
	e.native = make([]int16, v.Format.Samples(codec.Frame))
	if e.line.Event == 0 {
		e.tones = dtmf.NewDetector(v.Format.Rate)
	}
}

// follow tunes to the format of a packet that is of another one than those before; false: it is none of the party's.
func (e *Ear) follow(t packet.PayloadType) bool {
	for i, v := range e.line.Others {
		if v.Type == t {
			e.line.Others[i] = Voice{e.line.Format, e.line.Type}
			e.tune(v)
			return true
		}
	}
	return false
}

// Put takes a datagram that came at now; it is borrowed. It may be called by another goroutine.
func (e *Ear) Put(now time.Duration, datagram []byte) { e.inbox.Put(now, datagram) }

// Hear fills frame, 20 ms at Rate, and returns the keys that were pressed; they are valid until the next call. voice is
// false for silence and comfort noise.
func (e *Ear) Hear(now time.Duration, frame []int16) (voice bool, keys []byte) {
	e.keys = e.keys[:0]
	for {
		at, datagram, ok := e.inbox.Take(&e.buffer)
		if !ok {
			break
		}
		e.take(at, datagram)
	}
	voice = e.playout.Pull(now, e.native)
	if e.tones != nil {
		e.keys = e.tones.Samples(e.keys, e.native)
	}
	e.resample.Resample(frame[:0], e.native)
	return voice, e.keys
}

func (e *Ear) take(at time.Duration, datagram []byte) {
	h, ok := packet.Parse(datagram)
	if !ok {
		e.strange++
		return
	}
	payload := datagram[h.Payload:h.End]
	switch {
	case h.Type == e.line.Type:
		e.playout.Put(at, h, false, payload)
	case h.Type == e.line.Noise && h.Type != 0:
		e.playout.Put(at, h, true, payload)
	case h.Type == e.line.Event && h.Type != 0:
		if key, ok := e.events.Packet(h.Timestamp, payload); ok && len(e.keys) < cap(e.keys) {
			e.keys = append(e.keys, key)
		}
	case e.follow(h.Type):
		e.playout.Put(at, h, false, payload)
	default:
		e.strange++
	}
}

// Stats returns what became of the packets.
func (e *Ear) Stats() PlayoutStats {
	s := e.before.plus(e.playout.Stats())
	s.Overflow += e.inbox.Dropped()
	return s
}

// Mouth speaks to one party.
type Mouth struct {
	line      Line
	encoder   codec.Encoder
	resample  *codec.Resampler
	native    []int16
	packet    []byte
	sequence  uint16
	timestamp uint32
	marker    bool
	key       *dtmf.Sender
	keyAt     uint32
	packets   uint32
	octets    uint32
}

// NewMouth returns a mouth; the line's format must be one that can be encoded.
func NewMouth(l Line) *Mouth {
	m := &Mouth{
		line: l, encoder: l.Format.NewEncoder(), resample: codec.NewResampler(Rate, l.Format.Rate),
		native: make([]int16, 0, l.Format.Samples(codec.Frame)+1), packet: make([]byte, packet.HeaderSize, 400),
		sequence: uint16(rand.Uint32()), timestamp: rand.Uint32(), marker: true, // RFC 3550 §5.1: random
	}
	m.packet[0] = 2 << 6
	packet.SetSSRC(m.packet, packet.SSRC(rand.Uint32()))
	return m
}

// Press sends a key for that long, in place of the sound, if the party takes events; else it does nothing.
func (m *Mouth) Press(key byte, length time.Duration) {
	if m.line.Event != 0 && m.key == nil && dtmf.Valid(key) {
		m.key, m.keyAt = dtmf.NewSender(key, length, m.line.Format.Clock, m.step()), m.timestamp
	}
}

func (m *Mouth) step() uint32 { return m.line.Format.Ticks(m.line.Format.Samples(codec.Frame)) }

// Say returns the packet of a frame, 20 ms at Rate; it is valid until the next call.
func (m *Mouth) Say(frame []int16) []byte {
	m.native = m.resample.Resample(m.native[:0], frame)
	m.packet = m.packet[:packet.HeaderSize]
	payloadType, marker, timestamp := m.line.Type, m.marker, m.timestamp
	if m.key != nil {
		more := false
		m.packet, marker, more = m.key.Append(m.packet)
		payloadType, timestamp = m.line.Event, m.keyAt
		if !more {
			m.key = nil
		}
	} else {
		m.packet = m.encoder.Encode(m.packet, m.native)
		m.marker = false
	}
	m.packet[1] = byte(payloadType)
	if marker {
		m.packet[1] |= 0x80
	}
	binary.BigEndian.PutUint16(m.packet[2:], m.sequence)
	binary.BigEndian.PutUint32(m.packet[4:], timestamp)
	m.sequence++
	m.timestamp += m.step()
	m.packets++
	m.octets += uint32(len(m.packet) - packet.HeaderSize) //nolint:gosec // 20 ms
	return m.packet
}

// Pause lets a frame pass in silence: time goes on, and whoever hears the next packet knows that nothing is missing (RFC 3551 §4.1).
func (m *Mouth) Pause() {
	m.timestamp += m.step()
	m.marker = true
}

// Said is what the mouth has said so far, for reports: its source, the timestamp of the next packet, packets and octets of payload.
func (m *Mouth) Said() (source packet.SSRC, timestamp, packets, octets uint32) {
	return packet.SSRC(binary.BigEndian.Uint32(m.packet[8:])), m.timestamp, m.packets, m.octets
}
