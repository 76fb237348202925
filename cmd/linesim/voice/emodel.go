package voice

import "time"

// The E-model (ITU-T G.107) with its default parameters for a narrowband G.711 call: a rating of 93.2 less the
// impairments of delay and loss.
const (
	defaultRating = 93.2
	// G.113 table I.4: G.711 with the packet loss concealment of its appendix I, random loss.
	lossRobustness = 25.1
)

// MOS estimates the mean opinion score (1 to 4.4) of a mouth-to-ear delay and a random loss in percent.
func MOS(delay time.Duration, lossPercent float64) float64 {
	d := float64(delay) / float64(time.Millisecond)
	// The common piecewise form of the delay impairment Id (G.107 annex B simplification).
	impairment := 0.024 * d
	if d > 177.3 {
		impairment += 0.11 * (d - 177.3)
	}
	impairment += 95 * lossPercent / (lossPercent + lossRobustness)
	return fromRating(defaultRating - impairment)
}

// fromRating converts R to MOS (G.107 annex B).
func fromRating(r float64) float64 {
	switch {
	case r <= 6.5: // below, the cubic dips under 1
		return 1
	case r >= 100:
		return 4.5
	}
	return 1 + 0.035*r + r*(r-60)*(100-r)*7e-6
}
