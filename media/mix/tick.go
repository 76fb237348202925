package mix

import (
	"context"
	"time"

	"linehall/media/codec"
)

// mostBehind is how far a tick may be late before what was missed is given up instead of made up for.
const mostBehind = 5 * codec.Frame

// Tick calls frame every 20 ms until ctx ends or frame returns false; now counts from the call of Tick's start, which is
// the clock that Ear.Put is given. Ticks that are late are made up for, so that a stream keeps its pace, unless they are
// late by more than 100 ms.
func Tick(ctx context.Context, start time.Time, frame func(now time.Duration) bool) {
	next := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if !frame(time.Since(start)) {
			return
		}
		next = next.Add(codec.Frame)
		if behind := time.Since(next); behind > mostBehind {
			next = next.Add(behind)
		}
		timer.Reset(time.Until(next))
	}
}
