package forward

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/pion/rtcp"
)

// senderInfo is what the newest sender report said (RFC 3550 §6.4.1): the same instant on the publisher's wall clock and on the
// stream's clock.
type senderInfo struct {
	ntp uint64
	rtp uint32
	at  time.Time // when it came
}

// ntpEpoch is 1900-01-01 in Unix seconds.
const ntpEpoch = 2208988800

func toNTP(t time.Time) uint64 {
	return uint64(t.Unix()+ntpEpoch)<<32 | uint64(t.Nanosecond())<<32/1e9 //nolint:gosec // positive until 2036, wraps after as NTP does
}

// ntpDistance is a-b.
func ntpDistance(a, b uint64) time.Duration {
	d := int64(a - b) //nolint:gosec // two's complement on purpose
	return time.Duration(d>>32)*time.Second + time.Duration((d&0xffffffff)*1e9>>32)
}

// RTCP returns the function for reports about, or of, one stream of the publisher.
func (u *Uplink) RTCP(ssrc uint32) func([]byte) {
	return func(b []byte) { u.receiveReport(ssrc, b, time.Now()) }
}

func (u *Uplink) receiveReport(ssrc uint32, b []byte, now time.Time) {
	// Read by hand, not with package rtcp: a sender report is the only thing of interest, and comes every second per layer.
	if len(b) < 28 || b[1] != 200 || binary.BigEndian.Uint32(b[4:]) != ssrc {
		return
	}
	u.mu.Lock()
	s := u.streams[ssrc]
	u.mu.Unlock()
	if s == nil || s.repair {
		return
	}
	info := senderInfo{ntp: binary.BigEndian.Uint64(b[8:]), rtp: binary.BigEndian.Uint32(b[16:]), at: now}
	for _, t := range u.tracks {
		for _, l := range t.streams() {
			l.mu.Lock()
			if l.ssrc == ssrc {
				l.report = info
			}
			l.mu.Unlock()
		}
	}
}

// clockShift is our clock minus the publisher's: the smallest seen, which is the one with the least delay on the way.
func (u *Uplink) clockShift(info senderInfo) time.Duration {
	shift := ntpDistance(toNTP(info.at), info.ntp)
	for {
		old := u.shift.Load()
		if old != 0 && time.Duration(old) <= shift && shift-time.Duration(old) < time.Second {
			return time.Duration(old)
		}
		if u.shift.CompareAndSwap(old, int64(shift)) {
			return shift
		}
	}
}

// senderInfo returns the newest sender report.
func (l *Layer) senderInfo() senderInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.report
}

// LayerStats is what a layer did since the last report.
type LayerStats struct {
	Kind         Kind
	RID          string
	Height       int
	BitrateBps   int64 // on the wire, IP included
	LossFraction float64
	Lost         uint64
	JitterMs     float64
	Recovered    uint64
	KeyRequests  uint64
	Keyframes    uint64
	Temporal     uint8 // highest temporal layer seen

	arrived, missed int // since the last report, before repair
}

// Report sends the receiver reports of all live layers to the publisher and returns their figures. Call it once a second.
func (u *Uplink) Report(now time.Time) []LayerStats {
	var blocks []rtcp.ReceptionReport
	var stats []LayerStats
	arrived, lost := 0, 0
	for _, t := range u.tracks {
		for _, l := range t.streams() {
			if !l.Live(now) {
				continue
			}
			block, s := l.account(now)
			blocks = append(blocks, block)
			stats = append(stats, s)
			arrived, lost = arrived+s.arrived, lost+s.missed
		}
	}
	if o := u.observer.Load(); o != nil && len(blocks) > 0 {
		o.Count(arrived, lost, now)
	}
	if len(blocks) > 0 {
		u.send(&rtcp.ReceiverReport{SSRC: senderSSRC, Reports: blocks})
	}
	return stats
}

// account makes a reception report block (RFC 3550 A.3).
func (l *Layer) account(now time.Time) (rtcp.ReceptionReport, LayerStats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	expected := l.highest - l.base + 1
	expectedNow, packetsNow := expected-l.expectedBefore, l.packets-l.packetsBefore
	l.expectedBefore, l.packetsBefore = expected, l.packets
	l.lossFraction = 0
	if expectedNow > packetsNow {
		l.lossFraction = float64(expectedNow-packetsNow) / float64(expectedNow)
	}
	recoveredNow := l.recovered - l.recoveredBefore
	l.recoveredBefore = l.recovered
	missed := max(0, int(expectedNow)-int(packetsNow)+int(recoveredNow)) //nolint:gosec // of one second
	l.lostTotal = 0
	if expected > l.packets {
		l.lostTotal = expected - l.packets
	}
	octets := l.received.Load()
	if d := now.Sub(l.reportedAt); !l.reportedAt.IsZero() && d > 0 {
		l.bitrate = int64(float64(octets-l.octetsAtReport) * 8 / d.Seconds())
		l.weighTemporal(d.Seconds())
	}
	l.octetsAtReport, l.reportedAt = octets, now
	block := rtcp.ReceptionReport{
		SSRC: l.ssrc, FractionLost: uint8(l.lossFraction * 255), TotalLost: uint32(min(l.lostTotal, 0x7fffff)), //nolint:gosec // bounded
		LastSequenceNumber: uint32(l.highest), Jitter: uint32(l.jitter), //nolint:gosec // the low 32 bits are the wire's
	}
	if !l.report.at.IsZero() {
		block.LastSenderReport = uint32(l.report.ntp >> 16)              //nolint:gosec // the middle 32 bits are the wire's
		block.Delay = uint32(now.Sub(l.report.at) * 65536 / time.Second) //nolint:gosec // seconds to days
	}
	return block, LayerStats{
		Kind: l.track.kind, RID: l.rid, Height: l.Height(), BitrateBps: l.bitrate, LossFraction: l.lossFraction, Lost: l.lostTotal,
		JitterMs: l.jitter * 1000 / float64(l.clockRate()), Recovered: l.recovered, KeyRequests: l.keyRequests,
		Keyframes: l.keyframes, Temporal: l.highestTemporal, arrived: max(0, int(packetsNow)-int(recoveredNow)), missed: missed, //nolint:gosec // of one second
	}
}

// restart begins a new stream in the layer: the publisher's encoder or page was made anew.
func (l *Layer) restart(ssrc uint32) {
	l.mu.Lock()
	l.ssrc = ssrc
	if l.started {
		// Numbers go on above all old ones, so that what slots and history remember stays unambiguous.
		l.started = false
		l.epoch = (l.highest>>16 + 2) << 16
		l.packets, l.packetsBefore, l.expectedBefore, l.transit = 0, 0, 0, 0
		l.report = senderInfo{}
	}
	l.mu.Unlock()
	l.nacks.list = l.nacks.list[:0]
	l.lastKeyRequest.Store(0)
	if len(*l.slots.Load()) > 0 {
		l.wantsKeyframe.Store(true)
	}
}

// temporalSmoothing is how much of the newest second counts: one keyframe, which is all base, must not change the picture much.
const temporalSmoothing = 0.25

func (l *Layer) weighTemporal(seconds float64) {
	for t := range l.temporal {
		octets := l.temporal[t].Load()
		bps := float64(octets-l.temporalBefore[t]) * 8 / seconds
		l.temporalBefore[t] = octets
		l.temporalBps[t] += (bps - l.temporalBps[t]) * temporalSmoothing
	}
}

// TemporalShares are the parts of the layer's rate that its temporal layers take, up to each of them: ascending, the last is 1.
// nil: it has one, or it is not known yet.
func (l *Layer) TemporalShares() []float64 {
	l = l.root()
	l.mu.Lock()
	defer l.mu.Unlock()
	sum := 0.0
	for _, bps := range l.temporalBps {
		sum += bps
	}
	if l.highestTemporal == 0 || sum == 0 {
		return nil
	}
	shares := make([]float64, 0, len(l.temporalBps))
	part := 0.0
	for _, bps := range l.temporalBps[:l.highestTemporal+1] {
		part += bps
		// In steps of a twentieth, upwards: what is planned with them must not change with every second.
		shares = append(shares, min(1, math.Ceil(part/sum*20)/20))
	}
	shares[len(shares)-1] = 1
	return shares
}
