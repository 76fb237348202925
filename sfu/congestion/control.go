package congestion

import "time"

const (
	// A standing queue of mostQueue is congestion: voice is heard late, and the next burst later still. Below calmQueue there is
	// none: probes wait for that, and succeed by that.
	mostQueue = 60 * time.Millisecond
	calmQueue = 15 * time.Millisecond
	// mostProbed ends a probe: the queue is the probe's.
	mostProbed = 25 * time.Millisecond
	// mostLoss over two seconds is congestion where a line polices instead of queueing. calmLoss lets probes begin.
	mostLoss = 0.08
	calmLoss = 0.05
	// backOff of what got through, less for a long queue, lets the queue run empty; then fullOff of it is proven.
	backOff   = 0.85
	mostDrain = 0.25
	fullOff   = 0.93
	// draining is a queue that runs empty; obeyed is what counts as sending no more than the limit.
	draining = -0.03
	obeyed   = 1.05
	// unchanged is what we send as long as nobody has followed a cut.
	unchanged = 0.95
	// mostGrowth of a delay is believed: a line that was cut shows more.
	mostGrowth = 0.7
	// leastLimit is what stays: the voices of a meeting.
	leastLimit = 100_000
	// settleTime is how long it takes until a limit shows: the room decides, encoders follow, the queue runs empty.
	settleTime = 2 * time.Second
	// A cut that lowered what we send by lessSent, and left proof of the queue or the loss, was in vain: neither is ours.
	lessSent = 0.75
	proof    = 0.7
	// trustTime is how long a judgement in vain keeps the limit away.
	trustTime = 30 * time.Second
	// silentTime without feedback, although we send, halves once. forgetTime without it forgets the limit.
	silentTime = 2 * time.Second
	forgetTime = 10 * time.Minute

	probeTime   = 500 * time.Millisecond
	probeEcho   = 300 * time.Millisecond // for the feedback to come back
	probeStep   = 1.08                   // half a second of so much too much is a queue of 40 ms, and it is noticed before
	probeLeast  = 50_000
	probeSoon   = time.Second      // somebody wants more
	probeLater  = 20 * time.Second // nobody does
	probeFailed = 2 * time.Second  // the first wait after a failure; doubles
	probeRare   = 64 * time.Second
	graceTime   = 1500 * time.Millisecond
	nearly      = 0.97 // of what failed is not worth a try either
	// A probe without padding lets the room send more: that takes a keyframe and an encoder.
	probeByRoom = 3 * time.Second

	// A line whose limit stays below fullShare of what the contract gives for slowTime is slower than its contract. One that
	// loses lossyShare for as long is faulty.
	fullShare  = 0.9
	slowTime   = 10 * time.Second
	lossyShare = 0.02
)

// Unlimited is the limit of a line that does what its contract says.
const Unlimited = int64(0)

// signal is what all paths of one direction say together.
type signal struct {
	known  bool          // there was enough to judge a queue
	queue  time.Duration // that stands on the line
	growth float64
	lost   bool // there was enough to judge losses
	loss   float64
	recent float64 // the loss of the last moments
	silent bool    // we send, and no receiver that spoke before says anything
	gone   bool    // there is no receiver any more
	capped int64   // REMB: a receiver says that it gets so much less than we send, bit/s; 0: nobody says so
}

// input is one look at a direction.
type input struct {
	now     time.Time
	signal  signal
	offered int64 // bit/s of ours on the wire in the last second
	given   int64 // what may be sent, as far as it was given out
	ceiling int64 // what the contract gives us
	wanted  bool  // somebody would send more if the limit were higher
	pads    bool  // there is somebody to send padding to
}

// state of a direction.
type state uint8

const (
	calm    state = iota // the contract counts
	settled              // a limit counts
	probing
)

// Control decides over one direction of one line. The zero value is a line that does what its contract says.
type Control struct {
	state   state
	limit   int64 // bit/s, 0: none
	cut     cut
	carried int64 // bit/s that got through at the last cut; 0: known no more
	before  int64 // the limit before silence; -1: no silence
	quiet   bool
	trusted time.Time // until then delay and loss are not taken for ours
	excused float64   // loss that is not ours
	rebase  bool      // the paths shall take their delay for their own

	target  int64 // of the probe
	padding int64 // bit/s
	since   time.Time
	next    time.Time     // earliest probe
	again   time.Time     // earliest probe above failed
	wait    time.Duration // the last one for that
	failed  int64
	grace   time.Time     // until then a queue is that of the last probe
	worst   time.Duration // queue during the probe
	lastOne time.Time     // when anything was heard

	overused int // looks in a row with too much
	slow     time.Time
	lossy    time.Time
	alarm    Alarm
	loss     float64 // smoothed over seconds
	last     signal
}

// cut remembers how things were when the limit was lowered.
type cut struct {
	at      time.Time
	obeyed  time.Time // since when we send no more than the limit
	offered int64
	queue   time.Duration
	loss    float64
	capped  bool  // a receiver's REMB said so
	limit   int64 // before
}

// Alarm says that the line is not what the contract says.
type Alarm struct {
	Reason string // Slow or Lossy; "": none
	Since  time.Time
}

// The reasons of an alarm.
const (
	Slow  = "slow"
	Lossy = "lossy"
)

// look decides anew.
func (c *Control) look(in input) {
	c.last = in.signal
	c.rebase = false
	c.measureLoss(in)
	switch {
	case in.signal.gone:
		c.idle(in)
	case in.signal.silent:
		c.silence(in)
	default:
		c.lastOne = in.now
		c.listen(in)
	}
	if c.limit >= in.ceiling {
		c.limit, c.state = Unlimited, calm
	}
	c.judge(in)
}

func (c *Control) measureLoss(in input) {
	if in.signal.lost {
		c.loss += (in.signal.loss - c.loss) / 20 // a look each tenth of a second: two seconds, on top of those of the signal
	}
	c.excused = min(c.excused, c.loss*1.5)
}

// idle forgets in the end what nobody can prove any more.
func (c *Control) idle(in input) {
	c.stopProbe(in.now, probeSoon)
	c.before, c.quiet, c.overused = 0, false, 0
	c.loss -= c.loss / 20
	if c.limit != Unlimited && !c.lastOne.IsZero() && in.now.Sub(c.lastOne) > forgetTime {
		c.limit, c.state = Unlimited, calm
	}
}

// silence halves once: a line that carries no feedback may be full, or cut; more would make it slow to come back.
func (c *Control) silence(in input) {
	if c.quiet {
		return
	}
	c.stopProbe(in.now, probeSoon)
	c.quiet, c.before = true, c.limit
	c.lower(in, max(leastLimit, in.offered/2))
}

func (c *Control) listen(in input) {
	if c.quiet {
		c.quiet = false
		c.limit, c.state = c.before, settled // whatever the line does now shows in the next looks
		if c.limit == Unlimited {
			c.state = calm
		}
		c.next = in.now.Add(probeSoon)
	}
	if !c.tooMuch(in) {
		c.overused = 0
		c.ease(in)
		return
	}
	c.overused++
	if c.overused < 2 || in.now.Before(c.trusted) {
		return
	}
	c.reduce(in)
}

// tooMuch says whether the line shows that it gets more than it carries.
func (c *Control) tooMuch(in input) bool {
	s := in.signal
	return s.known && s.queue > mostQueue || s.lost && s.loss > mostLoss+c.excused || s.capped > 0
}

// through is what the line carried of what we offered: a queue that grows has not carried it yet.
func through(in input) int64 {
	share := 1.0
	if in.signal.growth > 0 { // of the delay, by the clock of the arrivals
		share -= min(in.signal.growth, mostGrowth)
	}
	if in.signal.lost {
		share *= 1 - in.signal.loss
	}
	return int64(float64(in.offered)*share) - in.signal.capped
}

// reduce lowers the limit to a little less than what gets through, or finds that lowering it is in vain.
func (c *Control) reduce(in input) {
	if c.state == probing {
		c.fail(in)
	}
	if in.now.Before(c.grace) {
		return // the queue is the probe's, and runs empty
	}
	since := in.now.Sub(c.cut.at)
	switch {
	case c.cut.at.IsZero():
		c.cut = cut{offered: in.offered, queue: in.signal.queue, loss: in.signal.loss, capped: in.signal.capped > 0, limit: c.limit}
	case since < settleTime:
		if c.cut.obeyed.IsZero() && float64(in.offered) > unchanged*float64(c.cut.offered) {
			c.apply(in) // nothing has changed yet, and we know better what gets through
		}
		return
	case float64(in.offered) > obeyed*float64(c.limit):
		if since < 2*settleTime {
			return // the room or its publishers have not followed yet
		}
	case c.cut.obeyed.IsZero():
		c.cut.obeyed = in.now
		return
	case in.now.Sub(c.cut.obeyed) < lossSlots*slotTime+slotTime || in.signal.growth < draining:
		return // what is seen is of before, or on its way to be well
	case c.inVain(in):
		c.acquit(in)
		return
	}
	c.cut.at, c.cut.obeyed = in.now, time.Time{}
	c.postpone(in.now, max(c.limit, through(in)))
	c.carried = 0
	c.cut.offered = max(c.cut.offered, in.offered)
	c.apply(in)
}

// apply lowers the limit to what lets the queue run empty.
func (c *Control) apply(in input) {
	if carried := through(in); c.carried == 0 || carried < c.carried {
		c.carried = carried
	}
	share := backOff - min(mostDrain, in.signal.queue.Seconds()/2)
	if in.signal.capped > 0 {
		share = 1 // the receiver has lowered it already
	}
	c.lower(in, int64(float64(c.carried)*share))
}

// inVain says that we send much less than before the cut and see the same.
func (c *Control) inVain(in input) bool {
	if c.cut.capped || float64(in.offered) > lessSent*float64(c.cut.offered) {
		return false
	}
	if c.cut.queue > mostQueue && float64(in.signal.queue) < proof*float64(c.cut.queue) {
		return false
	}
	return c.cut.loss <= mostLoss || in.signal.loss > proof*c.cut.loss
}

// acquit takes back a limit that was in vain, and takes delay and loss as they are for the path's own.
func (c *Control) acquit(in input) {
	c.rebase = true
	c.excused = in.signal.loss
	c.limit, c.trusted = c.cut.limit, in.now.Add(trustTime)
	c.cut, c.carried, c.overused = cut{}, 0, 0
	if c.limit == Unlimited {
		c.state = calm
	}
}

func (c *Control) lower(in input, limit int64) {
	limit = min(max(limit, leastLimit), in.ceiling)
	if c.limit != Unlimited {
		limit = min(limit, c.limit)
	}
	c.limit, c.state = limit, settled
}

func (c *Control) slowSince(now time.Time) {
	if c.slow.IsZero() {
		c.slow = now
	}
}

// ease probes whether there is more, when the line is calm.
func (c *Control) ease(in input) {
	switch {
	case c.state == calm:
	case c.state == probing:
		c.watch(in)
	case in.signal.known && in.signal.queue > calmQueue, in.signal.lost && in.signal.loss > calmLoss+c.excused:
	case in.now.Sub(c.cut.at) < settleTime:
	case c.carried > 0:
		c.limit, c.carried, c.cut = max(c.limit, int64(fullOff*float64(c.carried))), 0, cut{}
	case in.now.Before(c.next), in.now.Before(c.again) && float64(c.step(in)) > nearly*float64(c.failed):
	default:
		c.probe(in)
	}
}

// step is the next limit to try.
func (c *Control) step(in input) int64 {
	return min(in.ceiling, max(int64(float64(c.limit)*probeStep), c.limit+probeLeast))
}

// probe asks the line for a little more: by padding above what is sent, or by letting the room send it.
func (c *Control) probe(in input) {
	c.state, c.since, c.worst = probing, in.now, 0
	c.target = c.step(in)
	c.padding = 0
	if in.pads {
		c.padding = max(0, c.target-max(in.offered, in.given)) // what was given out may come any moment
	} else {
		c.limit = c.target // the room may send it now; a cut takes it back
	}
}

func (c *Control) watch(in input) {
	c.worst = max(c.worst, in.signal.queue)
	passed := in.now.Sub(c.since)
	if in.pads && (c.worst > mostProbed || in.signal.recent > calmLoss+c.loss+c.excused) {
		c.fail(in)
		return
	}
	if c.padding > 0 && passed >= probeTime {
		c.padding = 0
	}
	length := probeTime + probeEcho
	if !in.pads {
		length = probeByRoom
	}
	if passed < length {
		return
	}
	if c.target >= c.failed {
		c.wait, c.failed = 0, 0
	}
	c.limit, c.state = c.target, settled
	pause := probeSoon
	if !in.wanted {
		pause = probeLater
	}
	c.next = in.now.Add(pause)
}

// fail ends a probe that showed that there is not more.
func (c *Control) fail(in input) {
	if !in.pads && c.limit == c.target {
		c.limit = int64(float64(c.target) / probeStep)
	}
	c.state, c.padding = settled, 0
	c.limit = max(min(c.limit, int64(fullOff*float64(through(in)))), leastLimit) // room for the queue to run empty
	c.grace = in.now.Add(graceTime)
	c.postpone(in.now, c.target)
}

// postpone keeps the limit below what was too much, the longer the more often that was seen.
func (c *Control) postpone(now time.Time, tooMuch int64) {
	c.wait = min(max(2*c.wait, probeFailed), probeRare)
	c.again, c.next = now.Add(c.wait), now.Add(probeSoon)
	c.failed = tooMuch
}

func (c *Control) stopProbe(now time.Time, pause time.Duration) {
	if c.state != probing {
		return
	}
	c.state, c.padding, c.next = settled, 0, now.Add(pause)
}

// judge raises and clears the alarm.
func (c *Control) judge(in input) {
	if c.limit == Unlimited || float64(c.limit) >= fullShare*float64(in.ceiling) || c.quiet {
		c.slow = time.Time{}
	} else {
		c.slowSince(in.now)
	}
	if c.loss < lossyShare {
		c.lossy = time.Time{}
	} else if c.lossy.IsZero() {
		c.lossy = in.now
	}
	was := c.alarm
	c.alarm = Alarm{}
	for _, a := range []Alarm{{Slow, c.slow}, {Lossy, c.lossy}} {
		if c.alarm.Reason == "" && !a.Since.IsZero() && in.now.Sub(a.Since) >= slowTime {
			c.alarm = Alarm{a.Reason, in.now}
			if was.Reason != "" {
				c.alarm.Since = was.Since
			}
		}
	}
}
