package voice

import (
	"encoding/binary"
	"math"
	"time"

	"linehall/cmd/linesim/report"
	"linehall/cmd/linesim/tone"
)

// Stats is what one end of a call heard, and how much it said.
type Stats struct {
	Sent       uint64
	Received   uint64
	Lost       uint64 // sequence numbers that never came
	Duplicates uint64
	Reordered  uint64
	Foreign    uint64 // packets from a second source, not counted above
	Other      uint64 // packets of another payload type (events, comfort noise)
	Jitter     time.Duration
	Delay      report.Histogram // one way, only from senders of the same process
	MaxGap     time.Duration    // longest silence between two packets
	Heard      bool             // the expected tone
	HeardParts int              // windows of 100 ms with the expected tone
	Windows    int
	FirstAt    time.Time // first packet
	RemoteRTCP uint64    // sender or receiver reports that came in
	ReportLost uint8     // worst fraction lost the other end reported about us, of 256
	MOS        float64
}

// receiver keeps RFC 3550 appendix A statistics of the first source it hears.
type receiver struct {
	law      tone.Law
	expect   float64
	detector *tone.Detector
	frozen   bool
	follows  bool // another authentic source takes the place of the one before, as in a phone

	ssrc     uint32
	sender   *Stream // nil when the source lives in another process
	known    bool
	first    int64  // extended sequence number
	highest  int64  // extended
	window   uint64 // bit i: highest-i has arrived
	before   int64  // packets of sources before this one
	received uint64
	dup      uint64
	late     uint64
	foreign  uint64
	other    uint64

	lastAt     int64
	firstAt    int64
	lastTS     uint32
	jitter     float64 // RTP ticks
	maxGap     int64
	delay      report.Histogram
	reports    uint64
	reportLost uint8
}

func (r *receiver) listen(law tone.Law, expect float64) {
	r.frozen = false
	r.lastAt = 0 // a pause that both sides agreed on (hold) is no gap
	if r.detector == nil || r.law != law || r.expect != expect {
		r.detector = tone.NewDetector(law, expect)
	}
	r.law, r.expect = law, expect
}

func (r *receiver) freeze() { r.frozen = true }

// packet counts one arrival; it runs under the stream's lock.
func (r *receiver) packet(e *Engine, a arrival) {
	p := a.data
	if r.frozen || len(p) < rtpHeader || p[0]>>6 != 2 {
		return
	}
	header := rtpHeader + 4*int(p[0]&0x0f)
	if p[0]&0x10 != 0 && len(p) >= header+4 {
		header += 4 + 4*int(binary.BigEndian.Uint16(p[header+2:]))
	}
	if len(p) < header {
		return
	}
	if r.detector == nil || p[1]&0x7f != byte(r.law) {
		r.other++
		return
	}
	ssrc := binary.BigEndian.Uint32(p[8:])
	if !r.known || r.follows && ssrc != r.ssrc {
		r.source(e, ssrc, int64(binary.BigEndian.Uint16(p[2:])), a.at)
	}
	if ssrc != r.ssrc {
		r.foreign++
		return
	}
	seq := r.extend(binary.BigEndian.Uint16(p[2:]))
	if !r.count(seq) {
		return
	}
	r.timing(a.at, binary.BigEndian.Uint32(p[4:]))
	if r.sender != nil {
		if sent := r.sender.sentAt[seq%sendHistory].Load(); sent != 0 {
			r.delay.Record(time.Duration(a.at - sent))
		}
	}
	r.detector.Write(p[header:])
}

// source begins to listen to a source.
func (r *receiver) source(e *Engine, ssrc uint32, first, at int64) {
	if r.known {
		r.before += r.highest - r.first + 1
	} else {
		r.firstAt = at
	}
	r.known, r.ssrc, r.sender = true, ssrc, e.source(ssrc)
	r.first, r.highest, r.window = first, first-1, 0
}

// extend widens a 16-bit sequence number to the one nearest to the highest seen (RFC 3550 A.1).
func (r *receiver) extend(seq uint16) int64 {
	return r.highest + int64(int16(seq-uint16(r.highest)))
}

// count files a sequence number; false for a duplicate or one from before the beginning.
func (r *receiver) count(seq int64) bool {
	switch ahead := seq - r.highest; {
	case ahead > 0:
		if ahead < 64 {
			r.window = r.window<<ahead | 1
		} else {
			r.window = 1
		}
		r.highest = seq
	case seq < r.first:
		r.late++
		return false
	case -ahead < 64 && r.window>>(-ahead)&1 == 1:
		r.dup++
		return false
	default:
		r.late++
		if -ahead < 64 {
			r.window |= 1 << (-ahead)
		}
	}
	r.received++
	return true
}

// timing updates interarrival jitter (RFC 3550 §6.4.1, A.8) and the longest gap.
func (r *receiver) timing(at int64, ts uint32) {
	if r.lastAt != 0 {
		gap := at - r.lastAt
		r.maxGap = max(r.maxGap, gap)
		d := float64(gap)*tone.SampleRate/1e9 - float64(int32(ts-r.lastTS))
		r.jitter += (math.Abs(d) - r.jitter) / 16
	}
	r.lastAt, r.lastTS = at, ts
}

func (r *receiver) lost() uint64 {
	if !r.known {
		return 0
	}
	expected := r.before + r.highest - r.first + 1
	return uint64(max(expected-int64(r.received), 0))
}

func (r *receiver) stats(sent uint64) Stats {
	s := Stats{
		Sent: sent, Received: r.received, Lost: r.lost(), Duplicates: r.dup, Reordered: r.late, Foreign: r.foreign, Other: r.other,
		Jitter: time.Duration(r.jitter * 1e9 / tone.SampleRate), Delay: r.delay, MaxGap: time.Duration(r.maxGap),
		RemoteRTCP: r.reports, ReportLost: r.reportLost,
	}
	if r.firstAt != 0 {
		s.FirstAt = time.Unix(0, r.firstAt)
	}
	if r.detector != nil {
		s.HeardParts, _, s.Windows = r.detector.Counts()
		s.Heard = r.detector.Heard()
	}
	if r.received > 0 {
		s.MOS = MOS(s.Delay.Mean()+FrameTime+2*s.Jitter, report.Percent(s.Lost, s.Lost+s.Received))
	}
	return s
}
