package rtcp

import (
	"math"
	"strings"
	"time"
)

// Quality is what a listener gets, as far as the network knows.
type Quality struct {
	Codec string        // name of the rtpmap
	Loss  float64       // share of packets that did not arrive, 0..1
	Burst float64       // ratio of G.107: 1 is random loss, above 1 comes in bursts; 0 counts as 1
	Delay time.Duration // mouth to ear, one way
}

const (
	// baseRating is R with every default of G.107 (table 3): Ro − Is.
	baseRating = 93.2
	// worstLoss is what Ie,eff grows towards (G.107 equation 7-29).
	worstLoss = 95.0
)

// Rating returns the transmission rating R of the E-model (ITU-T G.107), 0..93.2, on the narrowband scale:
//
//	R = 93.2 − Idd(delay) − Ie,eff(codec, loss)
//
// Echo terms (Idte, Idle) are left out: IP phones are four-wire and cancel their acoustic echo. The advantage factor
// is 0. Wideband codecs are rated like the best narrowband one: the scale ends there.
func Rating(q Quality) float64 {
	return min(baseRating, max(0, baseRating-delayImpairment(q.Delay)-lossImpairment(q)))
}

// delayImpairment is Idd of G.107 equations 7-27 and 7-28: none up to 100 ms.
func delayImpairment(delay time.Duration) float64 {
	ms := float64(delay) / float64(time.Millisecond)
	if ms <= 100 {
		return 0
	}
	x := math.Log2(ms / 100)
	return 25 * (math.Pow(1+math.Pow(x, 6), 1.0/6) - 3*math.Pow(1+math.Pow(x/3, 6), 1.0/6) + 2)
}

// lossImpairment is Ie,eff of G.107 equation 7-29; loss in percent.
func lossImpairment(q Quality) float64 {
	e, percent, burst := codec(q.Codec), 100*min(1, max(0, q.Loss)), max(1, q.Burst)
	if percent == 0 {
		return e.ie
	}
	return e.ie + (worstLoss-e.ie)*percent/(percent/burst+e.bpl)
}

// MOS returns the mean opinion score for a rating (G.107 annex B), 1..4.5. The G.711 maximum on this scale is 4.41.
func MOS(rating float64) float64 {
	switch r := rating; {
	case r <= 0:
		return 1
	case r >= 100:
		return 4.5
	default:
		return max(1, 1+0.035*r+r*(r-60)*(100-r)*7e-6) // annex B dips below 1 for R under 6.5
	}
}

// equipment is the impairment of a codec without loss, and how well it stands loss: both from ITU-T G.113 appendix I.
type equipment struct{ ie, bpl float64 }

// fragile is the Bpl of codecs that G.113 gives none for: the lowest it has for a codec with concealment (GSM-EFR).
const fragile = 10.0

// codec returns the values for an rtpmap name:
//
//	table I.3 (Ie and Bpl)    G.711 with appendix I concealment 0/25.1, G.723.1+VAD 15/16.1, G.729A+VAD 11/19.0,
//	                          GSM-EFR 5/10.0
//	table I.1 (Ie only)       G.726 at 32 and 40 kbit/s 7 and 2, at 24 and 16 kbit/s 25 and 50, G.728 7, GSM-FR 20
//	ours                      wideband codecs and Opus 0, as nothing on this scale is better; AMR 12.2 is GSM-EFR;
//	                          iLBC like G.729A; unknown ones like G.729A
func codec(name string) equipment {
	switch strings.ToUpper(name) {
	case "PCMU", "PCMA":
		return equipment{0, 25.1}
	case "OPUS", "G722", "G7221", "AMR-WB", "L16", "EVS", "SILK":
		return equipment{0, fragile}
	case "G723":
		return equipment{15, 16.1}
	case "GSM-EFR", "AMR":
		return equipment{5, 10}
	case "GSM":
		return equipment{20, fragile}
	case "G726-40":
		return equipment{2, fragile}
	case "G726-32", "G721", "G728":
		return equipment{7, fragile}
	case "G726-24":
		return equipment{25, fragile}
	case "G726-16":
		return equipment{50, fragile}
	default: // G729 and its annexes, iLBC, unknown ones
		return equipment{11, 19}
	}
}
