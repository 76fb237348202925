package call

import "time"

// savedTimes is when the ringing ends: of the turn, of the stage, of the whole call.
type savedTimes struct {
	Wave  time.Time     `json:"wave,omitzero"`
	Every time.Duration `json:"every,omitempty"` // between two turns
	Stage time.Time     `json:"stage,omitzero"`
	Setup time.Time     `json:"setup,omitzero"`
}

func (c *call) times() savedTimes {
	at := func(kind string) time.Time {
		if t := c.timers[timerName{kind: kind}]; t != nil {
			return t.at
		}
		return time.Time{}
	}
	t := savedTimes{Wave: at("wave"), Stage: at("ring"), Setup: at("setup")}
	if c.m.Stage != nil && !t.Wave.IsZero() {
		ring := c.m.Stage.Ring
		if ring <= 0 {
			ring = c.s.limits.Ring
		}
		t.Every = ring / time.Duration(max(1, len(c.turns(0))))
	}
	return t
}

// turns are the waves of the present stage that have not begun before from.
func (c *call) turns(from progress) map[int]bool {
	waves := map[int]bool{}
	for i := range c.m.Branches {
		if b := &c.m.Branches[i]; b.Stage == c.m.Stages && (from == 0 || b.Progress == from) {
			waves[b.Wave] = true
		}
	}
	return waves
}

// takeUpTimers goes on with the time that is left.
func (c *call) takeUpTimers(t savedTimes) {
	if !t.Stage.IsZero() {
		c.arm(timerName{kind: "ring"}, time.Until(t.Stage), func() { c.step(evStageTime{}) })
	}
	if !t.Setup.IsZero() {
		c.arm(timerName{kind: "setup"}, time.Until(t.Setup), func() { c.step(evRingTimeout{}) })
	}
	if left := len(c.turns(branchWaiting)); left > 0 && !t.Wave.IsZero() && t.Every > 0 {
		c.arm(timerName{kind: "wave"}, time.Until(t.Wave), func() {
			if left > 1 {
				c.armWave(t.Every, left-1)
			}
			c.step(evWaveTimeout{})
		})
	}
}
