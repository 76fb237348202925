package record

import (
	"encoding/binary"
	"math"

	"linehall/media/codec"
	"linehall/media/dtmf"
	"linehall/media/packet"
)

// A track lays what one party sent on the time line of the recording. RTP timestamps say how packets follow each other,
// the times at which they came say where the stream as a whole is: a stream is anchored where its first packet came, and
// moved when it comes later or earlier than that for seconds (the clocks of telephones are up to 100 ppm apart), when its
// timestamps jump, and when another source begins. What nothing came for is silence.

const (
	// reorder is how many packets wait for one that is late.
	reorder = 8
	// patience is how long they do, in microseconds.
	patience = 200_000
	// strayed is how far timestamps and times may be apart before the stream is anchored anew, in seconds.
	strayed = 0.3
	// drift is looked at over so many packets: the earliest of them says how late the stream is.
	driftWindow = 250
	// A stream is moved when it is later than that, or earlier; in seconds.
	tooLate, tooEarly = 0.04, 0.01
)

type track struct {
	rate  int
	uses  [128]use
	clock [128]int
	name  [128]string

	queue []queued

	started   bool
	ssrc      packet.SSRC
	highest   uint16 // played last
	base      int64  // sample at which baseTime plays
	baseTime  uint32
	earliest  int64 // least lateness in the window, in samples
	seen      int
	decoder   codec.Decoder
	decodes   packet.PayloadType
	resampler *codec.Resampler
	from      int // rate of the resampler's input
	native    []int16
	wide      []int16

	out   []int16 // samples from begin on
	begin int64
}

type queued struct {
	at     int64
	header packet.Header
	body   []byte
}

func newTrack(rate int) *track { return &track{rate: rate} }

func (t *track) describe(formats []Format) {
	t.uses, t.decoder = [128]use{}, nil
	for _, f := range formats {
		n := f.Type & 0x7f
		t.uses[n], t.clock[n], t.name[n] = useOf(f), f.Clock, f.Name
	}
}

// put takes a packet that came at that time, in microseconds; it is copied.
func (t *track) put(at int64, b []byte) {
	h, ok := packet.Parse(b)
	if !ok {
		return
	}
	q := queued{at, h, append([]byte(nil), b[h.Payload:h.End]...)}
	n := len(t.queue)
	for n > 0 && t.queue[n-1].header.SSRC == h.SSRC && packet.Newer(t.queue[n-1].header.Sequence, h.Sequence) {
		n--
	}
	t.queue = append(t.queue, queued{})
	copy(t.queue[n+1:], t.queue[n:])
	t.queue[n] = q
	t.play(at)
}

// play plays those that wait for nobody.
func (t *track) play(now int64) {
	for len(t.queue) > 0 {
		q := &t.queue[0]
		next := t.started && q.header.SSRC == t.ssrc && q.header.Sequence == t.highest+1
		if !next && len(t.queue) <= reorder && now-q.at < patience {
			return
		}
		t.lay(q)
		t.queue = t.queue[1:]
	}
}

// flush plays everything.
func (t *track) flush() { t.play(math.MaxInt64) }

func (t *track) lay(q *queued) {
	h := &q.header
	what, clock := t.uses[h.Type], t.clock[h.Type]
	if t.started && h.SSRC == t.ssrc && !packet.Newer(h.Sequence, t.highest) {
		return // twice, or far too late
	}
	if t.ssrc != h.SSRC || !t.started {
		t.started, t.decoder = false, nil
	}
	t.ssrc, t.highest = h.SSRC, h.Sequence
	if clock == 0 || what == useUnknown || what == useNoise {
		return
	}
	pos := t.place(q, clock)
	t.started = true
	if what == useEvent {
		t.key(pos, q.body, clock)
		return
	}
	t.write(pos, t.decode(h.Type, q.body))
}

// place returns the sample at which a packet plays.
func (t *track) place(q *queued, clock int) int64 {
	came := q.at * int64(t.rate) / 1_000_000
	if !t.started {
		return t.anchor(came, q.header.Timestamp)
	}
	pos := t.base + int64(int32(q.header.Timestamp-t.baseTime))*int64(t.rate)/int64(clock)
	late := came - pos
	if float64(abs(late)) > strayed*float64(t.rate) {
		if t.uses[q.header.Type] == useEvent && late > 0 { // repeats its first timestamp for as long as the key is held
			return pos
		}
		return t.anchor(came, q.header.Timestamp)
	}
	if t.seen == 0 || late < t.earliest {
		t.earliest = late
	}
	if t.seen++; t.seen < driftWindow {
		return pos
	}
	t.seen = 0
	if e := float64(t.earliest); e > tooLate*float64(t.rate) || e < -tooEarly*float64(t.rate) {
		t.base += t.earliest
		pos += t.earliest
	}
	// The anchor follows, so that differences of timestamps stay small.
	t.base, t.baseTime = pos, q.header.Timestamp
	return pos
}

func (t *track) anchor(at int64, timestamp uint32) int64 {
	t.base, t.baseTime, t.seen = at, timestamp, 0
	return at
}

func abs(n int64) int64 { return max(n, -n) }

// decode returns samples at the track's rate.
func (t *track) decode(pt packet.PayloadType, body []byte) []int16 {
	f, ok := codec.Find(t.name[pt], t.clock[pt])
	if !ok {
		return nil
	}
	if t.decoder == nil || t.decodes != pt {
		t.decoder, t.decodes = f.NewDecoder(), pt
	}
	var err error
	if t.native, err = t.decoder.Decode(t.native[:0], body); err != nil {
		return nil
	}
	if f.Rate == t.rate {
		return t.native
	}
	if t.resampler == nil || t.from != f.Rate {
		t.resampler, t.from = codec.NewResampler(f.Rate, t.rate), f.Rate
	}
	t.wide = t.resampler.Resample(t.wide[:0], t.native)
	return t.wide
}

// key plays the tones of a key, as far as an event says that it has been held.
func (t *track) key(pos int64, body []byte, clock int) {
	if len(body) < 4 || int(body[0]) >= len("0123456789*#ABCD") {
		return
	}
	long := int(binary.BigEndian.Uint16(body[2:])) * t.rate / clock
	lower, upper := dtmf.Frequencies("0123456789*#ABCD"[body[0]])
	samples := make([]int16, min(long, t.rate))
	for i := range samples {
		x := 2 * math.Pi * float64(i) / float64(t.rate)
		samples[i] = int16(4000 * (math.Sin(x*lower) + math.Sin(x*upper)))
	}
	t.write(pos, samples)
}

// write lays samples on the time line; what has been taken is over.
func (t *track) write(pos int64, samples []int16) {
	if pos < t.begin {
		skip := min(t.begin-pos, int64(len(samples)))
		pos, samples = pos+skip, samples[skip:]
	}
	if len(samples) == 0 {
		return
	}
	end := int(pos-t.begin) + len(samples)
	for len(t.out) < end {
		t.out = append(t.out, 0)
	}
	copy(t.out[pos-t.begin:], samples)
}

// takeUntil moves what is before a sample to every second place of dst, silence where nothing is.
func (t *track) takeUntil(end int64, dst []int16, channel int) {
	n := int(end - t.begin)
	have := min(n, len(t.out))
	for i := range n {
		v := int16(0)
		if i < have {
			v = t.out[i]
		}
		dst[2*i+channel] = v
	}
	t.out = append(t.out[:0], t.out[have:]...)
	t.begin = end
}
