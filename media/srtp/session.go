package srtp

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"linehall/media/packet"
)

// mostSources bounds the table of sources of a direction. A call has one at a time; a transfer brings another.
const mostSources = 16

// mostGiven bounds how many sources are sealed under one key in all; nobody who means well comes near.
const mostGiven = 4096

// Session is our end of one medium with one party.
type Session struct {
	remote, local Key
	opener        *opener // nil: the party has said no key, and nothing of it is accepted
	sealer        *sealer // nil: nothing may be sent to it
}

// NewSession makes a session out of our key, with which we seal, and the party's. An invalid one closes its direction:
// nothing passes in clear.
func NewSession(local, remote Key) *Session {
	return (&Session{}).Rekey(local, remote)
}

// Rekey is the session under other keys. A direction whose key stays keeps its state.
func (s *Session) Rekey(local, remote Key) *Session {
	n := &Session{remote: remote, local: local}
	switch {
	case remote.Valid() && s.opener != nil && s.remote.Equal(remote):
		n.opener = s.opener
	case remote.Valid():
		n.opener = newOpener(remote)
	}
	switch {
	case local.Valid() && s.sealer != nil && s.local.Equal(local):
		n.sealer = s.sealer
	case local.Valid():
		n.sealer = newSealer(local)
	}
	return n
}

// Local returns our key, Remote the party's.
func (s *Session) Local() Key { return s.local }

// Remote returns the party's key.
func (s *Session) Remote() Key { return s.remote }

// Open checks and decrypts a datagram of the party in place and returns the length of the plain one. On false it must not
// be used: it is forged, repeated or no packet at all.
func (s *Session) Open(b []byte, rtcp bool) (n int, ok bool) {
	switch {
	case s.opener == nil:
		return 0, false
	case !rtcp:
		return s.opener.rtp(b)
	}
	if n, ok = s.opener.rtcp(b); ok && s.sealer != nil {
		s.sealer.original(b[:n])
	}
	return n, ok
}

// Seal encrypts the plain packet b[:n] in place and returns the new length; b has Overhead bytes more. On false it must
// not be sent: no packet, or one that was sealed before.
func (s *Session) Seal(b []byte, n int, rtcp bool) (int, bool) {
	switch {
	case s.sealer == nil || n+Overhead > len(b):
		return 0, false
	case rtcp:
		return s.sealer.rtcp(b, n)
	default:
		return s.sealer.rtp(b, n)
	}
}

// opener opens what a party sends.
type opener struct {
	key     Key
	tag     int
	packets protector
	again   []byte   // see first
	tried   searches // the same

	mu      sync.Mutex // guards what follows, and the writing of sources
	control protector

	sources atomic.Pointer[[]*heard] // immutable
	saved   atomic.Uint64            // packets that had come when the state was saved last
	count   atomic.Uint64
}

// heard is a source of the party.
type heard struct {
	ssrc    uint32
	began   bool // RTP came
	window  window
	highest atomic.Uint64 // of window, for others
	control window        // guarded by opener.mu
	reports bool
	used    atomic.Uint64 // opener.count when it was heard last
}

func newOpener(k Key) *opener {
	o := &opener{key: k, tag: k.Suite.parameters().tag, packets: k.protector(false), control: k.protector(true)}
	o.sources.Store(&[]*heard{})
	return o
}

func (o *opener) find(ssrc uint32) *heard {
	for _, s := range *o.sources.Load() {
		if s.ssrc == ssrc {
			return s
		}
	}
	return nil
}

// add enters a source that has proved to be the party's; the one that was silent longest makes room. o.mu is held.
func (o *opener) add(ssrc uint32) *heard {
	if s := o.find(ssrc); s != nil {
		return s
	}
	s := &heard{ssrc: ssrc}
	s.used.Store(o.count.Load())
	old := *o.sources.Load()
	list := make([]*heard, 0, len(old)+1)
	oldest := -1
	for i, other := range old {
		if len(old) >= mostSources && (oldest < 0 || other.used.Load() < old[oldest].used.Load()) {
			oldest = i
		}
	}
	for i, other := range old {
		if i != oldest {
			list = append(list, other)
		}
	}
	list = append(list, s)
	o.sources.Store(&list)
	return s
}

func (o *opener) rtp(b []byte) (int, bool) {
	h, ok := packet.ParseSecure(b)
	if !ok || len(b)-h.Payload < o.tag+o.key.mki {
		return 0, false
	}
	s := o.find(uint32(h.SSRC))
	var n int
	var index uint64
	if s == nil || !s.began {
		n, index, ok = o.first(b, h)
	} else if index, ok = estimate(s.window.highest, h.Sequence); ok && s.window.check(index) == fresh {
		n, ok = o.packets.openRTP(b, h.Payload, uint32(h.SSRC), index)
	} else {
		return 0, false
	}
	if !ok {
		return 0, false
	}
	if s == nil {
		o.mu.Lock()
		s = o.add(uint32(h.SSRC))
		o.mu.Unlock()
	}
	if !s.began {
		s.began, s.window = true, window{highest: index, used: 1}
	} else {
		s.window.use(index)
	}
	s.highest.Store(s.window.highest)
	s.used.Store(o.count.Add(1))
	return n, true
}

// mostTurns is how many values of the roll-over counter are tried for a source that was not heard before: almost six hours
// of a call.
const mostTurns = 16

// mostSearches bounds how many packets a second are tried with more than the first of them: a forged one would cost as much as
// sixteen. As many as a voice sends, so that without a flood of them a source waits for nothing; in one it gets its share.
const mostSearches = 50

// searches counts those of the second that began last.
type searches struct {
	began time.Time
	count int
}

// take reports whether one more may be made.
func (s *searches) take(now time.Time) bool {
	if now.Sub(s.began) >= time.Second {
		s.began, s.count = now, 0
	}
	s.count++
	return s.count <= mostSearches
}

// first opens the first packet of a source. Its roll-over counter should be zero (RFC 3711 §3.3.1), but it may have come
// around before: its packets were lost, or came before its key, or not so many that the state was saved before a crash
// (stale); or the party goes on with its key in another call, after a transfer. The tag tells which it is.
func (o *opener) first(b []byte, h packet.Header) (n int, index uint64, ok bool) {
	o.again = append(o.again[:0], b...) // what fails under AES-GCM is spoilt
	for turn := range uint64(mostTurns) {
		if turn == 1 && !o.tried.take(time.Now()) {
			break
		}
		index = turn<<16 | uint64(h.Sequence)
		if n, ok = o.packets.openRTP(b, h.Payload, uint32(h.SSRC), index); ok {
			return n, index, true
		}
		copy(b, o.again)
	}
	return 0, 0, false
}

func (o *opener) rtcp(b []byte) (int, bool) {
	index, ok := o.key.controlIndex(b)
	if !ok {
		return 0, false
	}
	ssrc := binary.BigEndian.Uint32(b[4:])
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.find(ssrc)
	if s != nil && s.reports && s.control.check(uint64(index)) != fresh {
		return 0, false
	}
	n, ok := o.control.openRTCP(b)
	if !ok {
		return 0, false
	}
	if s == nil {
		s = o.add(ssrc)
	}
	if !s.reports {
		s.reports, s.control = true, window{highest: uint64(index), used: 1}
	} else {
		s.control.use(uint64(index))
	}
	return n, true
}

// sealer seals what a party gets.
type sealer struct {
	packets protector

	mu      sync.Mutex // guards what follows, and the writing of sources
	control protector
	given   map[uint32]bool // SSRCs under this key, never given twice

	sources atomic.Pointer[[]*given] // immutable
}

// given is a source that is sealed: what its sender calls it, and what the party hears.
type given struct {
	inner, outer uint32

	began  bool
	window window
	stray  uint16 // the sequence number after the last one that was too old
	strays bool

	reports uint32 // the next index of SRTCP; guarded by sealer.mu
}

func newSealer(k Key) *sealer {
	s := &sealer{packets: k.protector(false), control: k.protector(true), given: map[uint32]bool{}}
	s.sources.Store(&[]*given{})
	return s
}

func (s *sealer) find(inner uint32) *given {
	for _, g := range *s.sources.Load() {
		if g.inner == inner {
			return g
		}
	}
	return nil
}

// add gives a source an SSRC that this key has not seen, in place of the one it had before. When the table is full, the
// oldest goes: if it ever speaks again it gets another SSRC. It returns nil when the key has served too many.
func (s *sealer) add(inner uint32) *given {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.given) >= mostGiven {
		return nil
	}
	g := &given{inner: inner}
	for b := [4]byte{}; g.outer == 0 || s.given[g.outer]; g.outer = binary.BigEndian.Uint32(b[:]) {
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	}
	s.given[g.outer] = true
	list := make([]*given, 0, mostSources)
	old := *s.sources.Load()
	if len(old) >= mostSources {
		old = old[1:]
	}
	for _, other := range old {
		if other.inner != inner {
			list = append(list, other)
		}
	}
	list = append(list, g)
	s.sources.Store(&list)
	return g
}

func (s *sealer) rtp(b []byte, n int) (int, bool) {
	h, ok := packet.ParseSecure(b[:n])
	if !ok {
		return 0, false
	}
	g := s.find(uint32(h.SSRC))
	if g == nil {
		if g = s.add(uint32(h.SSRC)); g == nil {
			return 0, false
		}
	}
	index := uint64(h.Sequence)
	if g.began {
		index, ok = estimate(g.window.highest, h.Sequence)
		switch {
		case ok && g.window.check(index) == fresh:
			g.window.use(index)
		case ok && g.window.check(index) == repeated:
			return 0, false
		case g.strays && g.stray == h.Sequence: // two in order, as in RFC 3550 A.1: its sender began anew
			if g = s.add(uint32(h.SSRC)); g == nil {
				return 0, false
			}
			index = uint64(h.Sequence)
		default:
			g.strays, g.stray = true, h.Sequence+1
			return 0, false
		}
	}
	if !g.began {
		g.began, g.window = true, window{highest: index, used: 1}
	}
	packet.SetSSRC(b, packet.SSRC(g.outer))
	return s.packets.sealRTP(b, h.Payload, n, g.outer, index), true
}

func (s *sealer) rtcp(b []byte, n int) (int, bool) {
	if n < controlHeader || b[0]>>6 != 2 {
		return 0, false
	}
	inner := binary.BigEndian.Uint32(b[4:])
	g := s.find(inner)
	if g == nil {
		if g = s.add(inner); g == nil {
			return 0, false
		}
	}
	each(b[:n], func(p []byte) { // who speaks stands at the same place in each
		if binary.BigEndian.Uint32(p[4:]) == inner {
			binary.BigEndian.PutUint32(p[4:], g.outer)
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.reports >= encrypted-1 { // RFC 3711 §9.2
		return 0, false
	}
	g.reports++
	return s.control.sealRTCP(b, n, g.outer, g.reports), true
}

// Packet types whose contents name other sources (RFC 3550 §6.4, RFC 4585 §6.1).
const (
	senderReport   = 200
	receiverReport = 201
	transportFB    = 205
	payloadFB      = 206
)

// original puts the SSRCs of the senders into the party's reports, which names what it hears.
func (s *sealer) original(b []byte) {
	each(b, func(p []byte) {
		count, at := int(p[0]&0x1f), controlHeader
		switch p[1] {
		case senderReport:
			at += 20
		case receiverReport:
		case transportFB, payloadFB:
			count = 1
		default:
			return
		}
		for ; count > 0 && at+4 <= len(p); count, at = count-1, at+24 {
			heard := binary.BigEndian.Uint32(p[at:])
			for _, g := range *s.sources.Load() {
				if g.outer == heard {
					binary.BigEndian.PutUint32(p[at:], g.inner)
				}
			}
		}
	})
}

// each walks the packets of a compound that name a sender.
func each(b []byte, do func(p []byte)) {
	for len(b) >= controlHeader {
		size := 4 * (int(binary.BigEndian.Uint16(b[2:])) + 1)
		if size > len(b) {
			return
		}
		if size >= controlHeader {
			do(b[:size])
		}
		b = b[size:]
	}
}
