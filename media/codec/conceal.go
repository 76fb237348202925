package codec

import "time"

const (
	// The pitch of a voice: 66 to 400 Hz.
	longestPitch  = 15 * time.Millisecond
	shortestPitch = 2500 * time.Microsecond
	// pitchWindow is what is compared to find it.
	pitchWindow = 20 * time.Millisecond
	// A gap is filled at full level for fadeAfter and is silent after fadeOut, as G.711 appendix I does it.
	fadeAfter = 10 * time.Millisecond
	fadeOut   = 60 * time.Millisecond
	// blend is how long the sound before a gap, and the one after it, take over.
	blend = 4 * time.Millisecond
)

// Concealer fills the gaps that lost packets leave in one stream of samples: it repeats the last period of the voice
// and fades it out, and blends into what comes after the gap. In the manner of G.711 appendix I, without its delay. It
// allocates in NewConcealer only.
type Concealer struct {
	rate    int
	history []int16 // the last samples that were played, oldest first
	period  []int16 // what is repeated, empty before the first loss
	at      int     // in period
	gap     int     // samples concealed since the last good one
	step    int32   // difference at the beginning of the gap
}

// NewConcealer returns a concealer for samples at rate.
func NewConcealer(rate int) *Concealer {
	return &Concealer{
		rate:    rate,
		history: make([]int16, span(rate, longestPitch+pitchWindow)),
		period:  make([]int16, 0, span(rate, longestPitch)),
	}
}

func span(rate int, d time.Duration) int { return int(int64(rate) * int64(d) / int64(time.Second)) }

// Good notes samples that came. The first ones after a gap are blended with its filling, in place.
func (c *Concealer) Good(samples []int16) {
	if c.gap > 0 {
		n := min(len(samples), span(c.rate, blend))
		for i := range n {
			fill := int(c.next())
			samples[i] = int16((fill*(n-i) + int(samples[i])*i) / n)
		}
		c.gap = 0
	}
	c.note(samples)
}

// Conceal fills samples with what stands in for those that did not come.
func (c *Concealer) Conceal(samples []int16) {
	if c.gap == 0 {
		c.begin()
	}
	for i := range samples {
		samples[i] = c.next()
	}
	c.note(samples)
}

// Period returns the period of the voice in what was noted last, in samples.
func (c *Concealer) Period() int { return Pitch(c.history, c.rate) }

// note keeps the last samples.
func (c *Concealer) note(samples []int16) {
	if len(samples) >= len(c.history) {
		copy(c.history, samples[len(samples)-len(c.history):])
		return
	}
	copy(c.history, c.history[len(samples):])
	copy(c.history[len(c.history)-len(samples):], samples)
}

// begin takes the last period. Its last quarter turns into what came before its first sample, so that the repetition
// has no edge.
func (c *Concealer) begin() {
	lag, end := c.Period(), len(c.history)
	c.period = append(c.period[:0], c.history[end-lag:]...)
	before := c.history[end-2*lag : end-lag]
	quarter := lag / 4
	for i := range quarter {
		at := lag - quarter + i
		c.period[at] = int16((int(c.period[at])*(quarter-i) + int(before[at])*i) / quarter)
	}
	c.step = int32(c.history[end-1]) - int32(before[lag-1])
	c.at, c.gap = 0, 0
}

// next returns the next sample of the filling.
func (c *Concealer) next() int16 {
	v := int32(c.period[c.at])
	if c.at++; c.at == len(c.period) {
		c.at = 0
	}
	if n := span(c.rate, blend); c.gap < n { // the end of what was heard and the period meet without a step
		v = saturate(v + c.step*int32(n-c.gap)/int32(n))
	}
	full, silent := span(c.rate, fadeAfter), span(c.rate, fadeOut)
	if c.gap > full {
		v = v * int32(max(0, silent-c.gap)) / int32(silent-full)
	}
	if c.gap < silent {
		c.gap++
	}
	return int16(v)
}

// Pitch returns the period of the sound at the end of samples, 2.5 to 15 ms, by the highest normalised correlation. It
// needs 35 ms; with less, it returns the longest period that fits.
func Pitch(samples []int16, rate int) int {
	shortest, longest, window := span(rate, shortestPitch), span(rate, longestPitch), span(rate, pitchWindow)
	if len(samples) < longest+window {
		return max(1, min(longest, len(samples)/2))
	}
	// coarsely at 8 kHz, then around the best
	step := max(1, rate/8_000)
	best := bestLag(samples, shortest, longest, window, step)
	return bestLag(samples, max(shortest, best-step), min(longest, best+step), window, 1)
}

func bestLag(samples []int16, from, to, window, step int) int {
	end := len(samples)
	best, bestScore := from, -1.0
	for lag := from; lag <= to; lag += step {
		var cross, energy int64
		for i := end - window; i < end; i += step {
			past := int64(samples[i-lag])
			cross += past * int64(samples[i])
			energy += past * past
		}
		if cross > 0 {
			if score := float64(cross) / float64(energy+1) * float64(cross); score > bestScore {
				best, bestScore = lag, score
			}
		}
	}
	return best
}
