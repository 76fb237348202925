package mix

import "math"

const (
	// goal is the level that talkers are brought to, -20 dBm0: what ITU-T P.56 finds in good telephones, and room for
	// several at once.
	goal = 0.0493 * 32767 // RMS
	// quietest is the level below which a frame is no talk: -42 dBm0. Noise is never raised.
	quietest = 0.0039 * 32767
	// The gain stays between -10 and +15 dB.
	leastGain, mostGain = 0.316, 5.62
	// It falls by up to 0.4 dB a frame (20 dB/s), and rises by up to 0.06 (3 dB/s), so that pauses do not pump.
	fall, rise = 0.955, 1.007
	// smooth is the part of a frame in the running level: half of it is from the last 140 ms.
	smooth = 0.1
)

// Gain brings one talker to an even level. Its zero value is ready.
type Gain struct {
	gain  float64 // 0: not begun, means 1
	level float64 // mean square of talk
}

// Apply changes a frame in place. voice false holds the gain.
func (g *Gain) Apply(frame []int16, voice bool) {
	if g.gain == 0 {
		g.gain = 1
	}
	before := g.gain
	if voice {
		g.follow(frame)
	}
	step := (g.gain - before) / float64(len(frame))
	for i, s := range frame {
		before += step
		frame[i] = clip(float64(s) * before)
	}
}

// follow moves the gain towards the goal.
func (g *Gain) follow(frame []int16) {
	sum := 0.0
	for _, s := range frame {
		sum += float64(s) * float64(s)
	}
	power := sum / float64(len(frame))
	if power < quietest*quietest {
		return
	}
	if g.level == 0 {
		g.level = power
	}
	g.level += smooth * (power - g.level)
	want := min(max(goal/math.Sqrt(g.level), leastGain), mostGain)
	g.gain = min(max(want, g.gain*fall), g.gain*rise)
}

const (
	// ceiling is what the loudest sample may be: full scale less 0.5 dB.
	ceiling = 0.944 * 32767
	// release is how fast a limiter lets go: 1 dB in 100 ms.
	release = 1.0233
)

// Limiter keeps a sum of voices within 16 bits without the crackle of clipping: it lowers the frame as a whole and lets
// go slowly. Its zero value is ready.
type Limiter struct{ gain float64 } // 0: not begun, means 1

// Apply writes the limited sum to out, which is as long as sum.
func (l *Limiter) Apply(out []int16, sum []int32) {
	if l.gain == 0 {
		l.gain = 1
	}
	peak := int32(0)
	for _, s := range sum {
		peak = max(peak, s, -s)
	}
	before, after := l.gain, min(1, l.gain*release)
	if float64(peak)*after > ceiling {
		after = ceiling / float64(peak)
		before = min(before, after) // the first samples must fit as well
	}
	l.gain = after
	if before == 1 && after == 1 {
		for i, s := range sum {
			out[i] = int16(s) // within the ceiling
		}
		return
	}
	step := (after - before) / float64(len(sum))
	for i, s := range sum {
		before += step
		out[i] = clip(float64(s) * before)
	}
}

func clip(v float64) int16 {
	return int16(math.Round(min(max(v, math.MinInt16), math.MaxInt16)))
}

// quietness is how far a frame is below overload, in dB up to 127, which silence is.
func quietness(frame []int16, voice bool) uint8 {
	if !voice {
		return 127
	}
	sum := 0.0
	for _, s := range frame {
		sum += float64(s) * float64(s)
	}
	if sum == 0 {
		return 127
	}
	db := 10 * math.Log10(sum/float64(len(frame))/(32767*32767))
	return uint8(min(max(-db, 0), 127))
}
