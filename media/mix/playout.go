package mix

import (
	"slices"
	"time"

	"linehall/media/codec"
	"linehall/media/packet"
)

const (
	// slots is how many packets wait at most: 640 ms in packets of 10 ms.
	slots = 64
	// window is how many packets the delay is judged by: 2.5 s of 20 ms packets.
	window = 128
	// judgeEvery packets the target is set anew.
	judgeEvery = 16
	// late is the part of packets that may come too late: the target is the other 95 %.
	late = 0.05
	// margin is added to the jitter: samples are taken every 20 ms, a packet may just have missed that.
	margin = 20 * time.Millisecond
	// The delay stays in these bounds; beyond, a line is no good for talking.
	shortestDelay = 20 * time.Millisecond
	longestDelay  = 400 * time.Millisecond
	// The delay may be that much below or above its target before the voice is stretched or shortened. Too short is
	// heard, too long is not.
	below, above = 5 * time.Millisecond, 20 * time.Millisecond
	// firstDelay is the target before anything is known.
	firstDelay = 30 * time.Millisecond
	// silence is how long nothing comes until it counts as a pause of a speaker whose phone does not say so.
	silence = 100 * time.Millisecond
	// jump is an excess that is cut at once.
	jump = 200 * time.Millisecond
	// restart is how far a timestamp may be from the clock on the wall before the sender is taken to count anew: phones
	// that come back from hold do.
	restart = time.Second
	// ahead is what is decoded before a voice is stretched or shortened: two periods of the lowest one.
	ahead = 30 * time.Millisecond
)

// Playout turns the packets of one leg, which come unevenly, twice, too late or not at all, into an even flow of samples
// at its format's rate.
//
//	Put ──► packets in order ──► decoder ──► samples ──► stretched or shortened by a period ──► Pull
//	                             gap: concealed; pause: comfort noise
//
// A sample is played when its timestamp is as old as the target delay, counted from the fastest packet of the last
// seconds. The target is the jitter that 95 % of the packets stay below, and 20 ms.
type Playout struct {
	format  codec.Format
	decoder codec.Decoder
	conceal *codec.Concealer
	noise   codec.ComfortNoise

	ring  [slots]slot
	held  int
	fifo  []int16 // decoded, not yet played
	extra []int16 // scratch of stretch

	started bool // a packet came
	playing bool
	paused  bool // in a pause of the speaker: nothing is missing
	gap     int  // samples concealed since the last that came
	ssrc    packet.SSRC
	sequence,
	timestamp int64 // of the newest packet, extended
	next     int64 // timestamp behind the last sample of fifo
	nextSeq  int64 // sequence number behind the last packet that was decoded
	firstAt  time.Duration
	transits [window]time.Duration
	seen     int
	sorted   [window]time.Duration
	base     time.Duration // the fastest transit
	target   time.Duration

	stats PlayoutStats
}

type slot struct {
	used      bool
	noise     bool
	sequence  int64
	timestamp int64
	size      int
	payload   [largest]byte
}

// PlayoutStats is what became of the packets and samples of a leg.
type PlayoutStats struct {
	Packets   uint64        // that were played
	Late      uint64        // came after their time
	Overflow  uint64        // found no room
	Malformed uint64        // the decoder refused them
	Concealed uint64        // samples made up for packets that were missing
	Stretched uint64        // times that a period was put in
	Shortened uint64        // times that a period was left out
	Target    time.Duration // the delay it aims at
}

// plus adds what came of other packets; the target is that of the newer ones.
func (s PlayoutStats) plus(newer PlayoutStats) PlayoutStats {
	newer.Packets += s.Packets
	newer.Late += s.Late
	newer.Overflow += s.Overflow
	newer.Malformed += s.Malformed
	newer.Concealed += s.Concealed
	newer.Stretched += s.Stretched
	newer.Shortened += s.Shortened
	return newer
}

// NewPlayout returns a playout of packets in that format.
func NewPlayout(f codec.Format) *Playout {
	return &Playout{
		format: f, decoder: f.NewDecoder(), conceal: codec.NewConcealer(f.Rate), target: firstDelay,
		fifo: make([]int16, 0, 2*codec.MaxFrame), extra: make([]int16, 0, codec.MaxFrame),
	}
}

// Stats returns the sums up to now.
func (p *Playout) Stats() PlayoutStats {
	s := p.stats
	s.Target = p.target
	return s
}

// time converts ticks of the RTP clock.
func (p *Playout) time(ticks int64) time.Duration {
	return time.Duration(ticks * int64(time.Second) / int64(p.format.Clock))
}

func (p *Playout) ticks(d time.Duration) int64 {
	return int64(d) * int64(p.format.Clock) / int64(time.Second)
}

// Put takes the payload of a packet that came at now; noise says that its payload type is CN. The payload is borrowed.
func (p *Playout) Put(now time.Duration, h packet.Header, noise bool, payload []byte) {
	if len(payload) > largest {
		p.stats.Malformed++
		return
	}
	if !p.started || h.SSRC != p.ssrc {
		p.begin(now, h)
	}
	sequence := p.sequence + int64(int16(h.Sequence-uint16(p.sequence)))
	timestamp := p.timestamp + int64(int32(h.Timestamp-uint32(p.timestamp)))
	if transit := now - p.time(timestamp); p.seen > 0 && (transit > p.base+restart || transit < p.base-restart) {
		p.begin(now, h)
		sequence, timestamp = p.sequence, p.timestamp
	}
	p.judge(now, timestamp)
	if sequence > p.sequence {
		p.sequence, p.timestamp = sequence, timestamp
	}
	if p.playing && (sequence < p.nextSeq || timestamp < p.next-p.ticks(longestDelay)) {
		p.stats.Late++
		return
	}
	s := &p.ring[sequence&(slots-1)]
	switch {
	case s.used && s.sequence == sequence: // twice
		return
	case s.used && s.sequence > sequence:
		p.stats.Late++
		return
	case s.used:
		p.stats.Overflow++
		p.held--
	}
	s.used, s.noise, s.sequence, s.timestamp = true, noise, sequence, timestamp
	s.size = copy(s.payload[:], payload)
	p.held++
}

// begin forgets everything: another source.
func (p *Playout) begin(now time.Duration, h packet.Header) {
	for i := range p.ring {
		p.ring[i].used = false
	}
	p.held, p.fifo, p.seen, p.gap = 0, p.fifo[:0], 0, 0
	p.started, p.playing, p.paused = true, false, false
	p.ssrc, p.sequence, p.timestamp, p.firstAt = h.SSRC, int64(h.Sequence), int64(h.Timestamp), now
}

// judge notes how long the packet took and sets the target.
func (p *Playout) judge(now time.Duration, timestamp int64) {
	transit := now - p.time(timestamp)
	if p.seen == 0 || transit < p.base {
		p.base = transit
	}
	p.transits[p.seen%window] = transit
	p.seen++
	if p.seen%judgeEvery != 0 {
		return
	}
	sorted := p.sorted[:copy(p.sorted[:], p.transits[:min(p.seen, window)])]
	slices.Sort(sorted)
	p.base = sorted[0] // a clock that drifts takes it along
	jitter := sorted[int(float64(len(sorted)-1)*(1-late))] - p.base
	p.target = min(max(jitter+margin, shortestDelay), longestDelay)
}

// delay returns how old the next sample is.
func (p *Playout) delay(now time.Duration) time.Duration {
	return now - p.base - p.time(p.next-int64(p.format.Ticks(len(p.fifo))))
}

// Pull fills out with the next samples; it is called every 20 ms with as many as last that long. It reports whether a
// voice is in them: false is silence or comfort noise.
func (p *Playout) Pull(now time.Duration, out []int16) (voice bool) {
	if !p.playing && !p.start(now) {
		clear(out)
		return false
	}
	need := len(out)
	if delay := p.delay(now); delay > p.target+jump {
		p.next += p.ticks(delay - p.target)
		p.fifo = p.fifo[:0]
	} else if delay > p.target+above || delay < p.target-below {
		need += p.format.Samples(ahead)
	}
	for len(p.fifo) < need && p.decode() {
		continue
	}
	voice = len(p.fifo) > 0
	p.adjust(now, len(out))
	if len(p.fifo) < len(out) {
		p.fill(now, len(out)-len(p.fifo))
	}
	n := copy(out, p.fifo)
	p.fifo = p.fifo[:copy(p.fifo, p.fifo[n:])]
	return voice
}

// start begins to play when the first packet has waited for the target delay.
func (p *Playout) start(now time.Duration) bool {
	if p.held == 0 || now-p.firstAt < p.target {
		return false
	}
	first := p.earliest()
	p.playing, p.next, p.nextSeq = true, first.timestamp, first.sequence
	return true
}

// earliest returns the packet with the lowest sequence number; there is one.
func (p *Playout) earliest() *slot {
	var first *slot
	for i := range p.ring {
		if s := &p.ring[i]; s.used && (first == nil || s.sequence < first.sequence) {
			first = s
		}
	}
	return first
}

// decode appends the samples of the next packet to fifo; it returns false if that has not come or is not due yet.
func (p *Playout) decode() bool {
	if p.held == 0 {
		return false
	}
	s := &p.ring[p.nextSeq&(slots-1)]
	if !s.used || s.sequence != p.nextSeq {
		s = p.earliest()
	}
	if s.timestamp > p.next {
		if s.sequence == p.nextSeq { // nothing is missing: the speaker paused
			p.paused = true
		}
		return false
	}
	s.used = false
	p.held--
	p.nextSeq = s.sequence + 1
	if s.noise {
		if p.noise.Payload(s.payload[:s.size]) != nil {
			p.stats.Malformed++
		}
		p.paused = true
		return p.held > 0
	}
	before := len(p.fifo)
	if cap(p.fifo)-before < codec.MaxFrame {
		p.fifo = p.fifo[:0] // cannot be: nobody pulls that much
		before = 0
	}
	var err error
	if p.fifo, err = p.decoder.Decode(p.fifo, s.payload[:s.size]); err != nil {
		p.stats.Malformed++
		return true // concealed as lost
	}
	end := s.timestamp + int64(p.format.Ticks(len(p.fifo)-before))
	if end <= p.next { // all of it was concealed already
		p.fifo = p.fifo[:before]
		p.stats.Late++
		return true
	}
	if skip := int(p.next-s.timestamp) * p.format.Rate / p.format.Clock; skip > 0 {
		p.fifo = append(p.fifo[:before], p.fifo[before+skip:]...)
	}
	p.stats.Packets++
	p.paused, p.gap, p.next = false, 0, end
	p.conceal.Good(p.fifo[before:])
	return true
}

// fill makes up n samples: noise in a pause, else what the voice would have said. While the delay is below its target,
// the made up samples take the place of none: what comes late is still played.
func (p *Playout) fill(now time.Duration, n int) {
	before := len(p.fifo)
	p.fifo = p.fifo[:before+n]
	made := p.fifo[before:]
	ticks := int64(p.format.Ticks(n))
	if p.paused {
		p.noise.Fill(made)
		p.conceal.Good(made)
		due := p.ticks(now-p.base-p.target) + int64(p.format.Ticks(len(p.fifo)))
		p.next = max(p.next, min(due, p.next+2*ticks)) // a pause sets the delay right, unheard
		if p.held > 0 {
			p.next = min(p.next, p.earliest().timestamp)
		}
		return
	}
	p.conceal.Conceal(made)
	p.stats.Concealed += uint64(n)
	p.gap += n
	p.paused = p.held == 0 && p.gap >= p.format.Samples(silence)
	if p.held > 0 || p.delay(now) >= p.target { // delay counts the made up samples already
		p.next += ticks
	}
}

// adjust stretches or shortens what is about to be played by one period of the voice.
func (p *Playout) adjust(now time.Duration, n int) {
	delay := p.delay(now)
	if delay <= p.target+above && delay >= p.target-below {
		return
	}
	lag := p.conceal.Period()
	switch {
	case len(p.fifo) < 2*lag || p.paused:
	case delay > p.target && len(p.fifo) >= n+lag:
		for i := range lag {
			p.fifo[i] = int16((int(p.fifo[i])*(lag-i) + int(p.fifo[i+lag])*i) / lag)
		}
		p.fifo = append(p.fifo[:lag], p.fifo[2*lag:]...)
		p.stats.Shortened++
	case delay < p.target:
		p.extra = append(p.extra[:0], p.fifo...)
		p.fifo = p.fifo[:lag]
		for i := range lag {
			p.fifo = append(p.fifo, int16((int(p.extra[lag+i])*(lag-i)+int(p.extra[i])*i)/lag))
		}
		p.fifo = append(p.fifo, p.extra[lag:]...)
		p.stats.Stretched++
	}
}
