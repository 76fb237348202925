package call

import (
	"math"
	"time"

	"linehall/media/anchor"
	"linehall/media/rtcp"
	"linehall/sip/cdr"
)

// quality writes down how the voices of a call's parties reached us, and what they said of each other's.
func (c *call) quality(stats [2]anchor.LegStats, now time.Time) {
	c.rec.MOSCaller, c.rec.MOSCallee = c.mos(stats[anchor.Caller]), c.mos(stats[anchor.Callee])
	c.rec.SecondsCaller, c.rec.SecondsCallee = secondsOf(stats[anchor.Caller].Seconds), secondsOf(stats[anchor.Callee].Seconds)
	c.rec.HeardByCaller, c.rec.HeardByCallee = heardBy(stats[anchor.Caller].Heard, now), heardBy(stats[anchor.Callee].Heard, now)
}

func (c *call) mos(s anchor.LegStats) *float64 {
	if s.MOS <= 0 {
		return nil
	}
	c.s.metrics.mos.Observe(s.MOS)
	return &s.MOS
}

// secondsOf is nil when nothing was rated.
func secondsOf(s rtcp.Seconds) *cdr.Seconds {
	if s.Rated == 0 {
		return nil
	}
	out := &cdr.Seconds{Rated: int(s.Rated), Mean: hundredths(s.Mean()), Worst: hundredths(s.Worst), WorstAt: int(s.WorstAt)}
	for i, n := range s.Bands {
		out.Kinds[i] = int(n)
	}
	if rtcp.Band(s.Worst) > 0 {
		out.Step = int(s.Step)
		for _, lowest := range s.Lowest[:s.Slots] {
			out.Lowest = append(out.Lowest, lowest.Score())
		}
	}
	return out
}

// heardBy is nil when the party sent no extended report.
func heardBy(m rtcp.VoIPMetrics, now time.Time) *cdr.Heard {
	if !m.Given() {
		return nil
	}
	return &cdr.Heard{
		At: now, MOS: m.MOSListening, MOSConversation: m.MOSConversing, R: m.R,
		LossPercent: hundredths(100 * m.Loss), DiscardPercent: hundredths(100 * m.Discard),
		BurstPercent: hundredths(100 * m.BurstDensity), Burst: m.Burst, GapPercent: hundredths(100 * m.GapDensity), Gap: m.Gap,
		RoundTrip: m.RoundTrip, EndSystem: m.EndSystem,
	}
}

func hundredths(v float64) float64 { return math.Round(100*v) / 100 }
