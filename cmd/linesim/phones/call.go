package phones

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/cmd/linesim/phone"
)

// scenario is one planned call.
type scenario struct {
	caller, callee *actor
	kind           kind
	hold           time.Duration // talking time
	giveUp         time.Duration // the caller cancels after this time (noAnswer)
	reaction       phone.Reaction
	music          time.Duration // put on hold for this long in the middle, 0 for not at all
	byCallee       bool          // who hangs up
}

type kind uint8

const (
	talk kind = iota
	busy
	noAnswer
)

var (
	errSilence  = errors.New("tone not heard")
	errLoss     = errors.New("too much loss")
	errNoCallee = errors.New("the callee's phone never rang")
	errNoBye    = errors.New("the other phone was not told that the call ended")
	errDropped  = errors.New("ended early by the other side")
	errUnheld   = errors.New("hold did not reach the other phone")
)

// converse starts calls until the plan is fulfilled and waits for them.
func (w *world) converse(ctx context.Context) error {
	stop := ctx
	if w.plan.Duration > 0 {
		var cancel context.CancelFunc
		stop, cancel = context.WithTimeout(ctx, w.plan.Duration)
		defer cancel()
	}
	slots := make(chan struct{}, max(w.plan.Calls, 1))
	finished := make(chan struct{}, cap(slots))
	var pace <-chan time.Time
	if w.plan.Rate > 0 {
		ticker := time.NewTicker(time.Duration(float64(time.Second) / w.plan.Rate))
		defer ticker.Stop()
		pace = ticker.C
	}
	running := 0
	for n := 0; (w.plan.Total == 0 || n < w.plan.Total) && stop.Err() == nil; {
		if pace != nil {
			select {
			case <-pace:
			case <-stop.Done():
				continue
			}
		}
		select {
		case slots <- struct{}{}:
		case <-stop.Done():
			continue
		}
		s, ok := w.next()
		if !ok { // everybody is talking: wait for somebody to hang up
			<-slots
			if !w.pause(stop, finished, &running) {
				return fmt.Errorf("%w: no two idle phones fit the plan", errNobody)
			}
			continue
		}
		n++
		running++
		w.tally.start()
		go func() {
			w.play(ctx, s)
			<-slots
			finished <- struct{}{}
		}()
		for drained := false; !drained; {
			select {
			case <-finished:
				running--
			default:
				drained = true
			}
		}
	}
	for ; running > 0; running-- {
		<-finished
	}
	return nil
}

// pause waits until a call has finished; false when there is none to wait for.
func (w *world) pause(ctx context.Context, finished <-chan struct{}, running *int) bool {
	if *running == 0 {
		return false
	}
	select {
	case <-finished:
		*running--
	case <-ctx.Done():
	}
	return true
}

// next draws a scenario with two idle phones and reserves them.
func (w *world) next() (scenario, bool) {
	w.mu.Lock()
	caller, callee, ok := w.pair(rand.Float64() < w.plan.Across)
	w.mu.Unlock()
	if !ok {
		return scenario{}, false
	}
	s := scenario{
		caller: caller, callee: callee, hold: w.plan.Hold, byCallee: rand.IntN(2) == 0,
		reaction: phone.Reaction{RingFor: w.plan.Ring, Sound: w.sound(callee, caller)},
	}
	if w.plan.Demo {
		s.improvise()
	}
	return s, true
}

// improvise makes the demo's calls differ, in the shares that an office has.
func (s *scenario) improvise() {
	s.reaction.RingFor = 2*time.Second + time.Duration(rand.Int64N(int64(5*time.Second)))
	s.hold = 8*time.Second + time.Duration(rand.ExpFloat64()*float64(35*time.Second))
	s.hold = min(s.hold, 4*time.Minute)
	switch draw := rand.Float64(); {
	case draw < 0.08:
		s.kind = busy
		s.reaction.RingFor, s.reaction.Code = 0, sip.StatusBusyHere
	case draw < 0.18:
		s.kind = noAnswer
		s.reaction.RingFor = -1
		s.giveUp = 8*time.Second + time.Duration(rand.Int64N(int64(10*time.Second)))
	case draw < 0.30 && s.hold > 20*time.Second:
		s.music = 5 * time.Second
	}
}

// pair takes two idle phones, of one site or of two; the caller holds w.mu.
func (w *world) pair(across bool) (caller, callee *actor, ok bool) {
	type choice struct {
		site string
		n    int
	}
	var one, two []choice
	for site, actors := range w.idle {
		if len(actors) >= 1 {
			two = append(two, choice{site, len(actors)})
		}
		if len(actors) >= 2 {
			one = append(one, choice{site, len(actors)})
		}
	}
	draw := func(from []choice) string {
		total := 0
		for _, c := range from {
			total += c.n
		}
		pick := rand.IntN(total)
		for _, c := range from {
			if pick -= c.n; pick < 0 {
				return c.site
			}
		}
		return from[0].site
	}
	switch {
	case across && len(two) >= 2 || len(one) == 0 && len(two) >= 2:
		from := draw(two)
		rest := two[:0:0]
		for _, c := range two {
			if c.site != from {
				rest = append(rest, c)
			}
		}
		return w.take(from), w.take(draw(rest)), true
	case len(one) > 0:
		site := draw(one)
		return w.take(site), w.take(site), true
	}
	return nil, nil, false
}

// take removes a random idle phone of a site; the caller holds w.mu.
func (w *world) take(site string) *actor {
	actors := w.idle[site]
	i := rand.IntN(len(actors))
	a := actors[i]
	actors[i] = actors[len(actors)-1]
	w.idle[site] = actors[:len(actors)-1]
	return a
}

func (w *world) release(actors ...*actor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range actors {
		w.idle[a.terminal.Site] = append(w.idle[a.terminal.Site], a)
	}
}

// play carries one scenario out and files its outcome. The end of ctx ends the talk early, not the tidy hang-up.
func (w *world) play(ctx context.Context, s scenario) {
	defer w.release(s.caller, s.callee)
	select {
	case <-s.callee.incoming: // a leftover of a call from outside the plan
	default:
	}
	s.callee.react(&s.reaction)
	defer s.callee.react(nil)
	o := outcome{
		From: s.caller.terminal.Extension, To: s.callee.terminal.Extension,
		FromSite: s.caller.terminal.Site, ToSite: s.callee.terminal.Site, kind: s.kind,
	}
	dial, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.kind == noAnswer {
		dial, cancel = context.WithTimeout(ctx, s.giveUp)
		defer cancel()
	}
	call, err := s.caller.phone.Call(dial, s.callee.terminal.Extension, w.sound(s.caller, s.callee))
	if err != nil {
		o.judge(ctx, err)
		w.tally.file(o)
		return
	}
	o.setUp(call, s.reaction.RingFor)
	far, err := s.callee.take(ctx, call)
	if err != nil {
		o.err = errors.Join(err, call.Hangup(context.WithoutCancel(ctx)))
		w.tally.file(o)
		return
	}
	o.err = w.talk(ctx, s, call, far)
	o.measure(call, far, s.hold > 500*time.Millisecond && ctx.Err() == nil, w.plan.MaxLoss)
	w.tally.file(o)
}

// take waits for the callee's end of the call.
func (a *actor) take(ctx context.Context, call *phone.Call) (*phone.Call, error) {
	const patience = 5 * time.Second
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case far := <-a.incoming:
		return far, nil
	case <-timer.C:
		return nil, errNoCallee
	case <-call.Done():
		return nil, errDropped
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// talk lets the call last, holds it in the middle if planned, hangs up and checks that the other side was told.
func (w *world) talk(ctx context.Context, s scenario, call, far *phone.Call) error {
	first := s.hold
	if s.music > 0 {
		first /= 2
	}
	if err := linger(ctx, first, call, far); err != nil {
		return err
	}
	if s.music > 0 && ctx.Err() == nil {
		if err := onHold(ctx, s.music, call, far); err != nil {
			return errors.Join(err, call.Hangup(context.WithoutCancel(ctx)))
		}
		if err := linger(ctx, s.hold-first, call, far); err != nil {
			return err
		}
	}
	if s.hold >= lampSettles && ctx.Err() == nil {
		w.lookAtLamps(s.caller)
		w.lookAtLamps(s.callee)
	}
	call.Mute()
	far.Mute()
	ender, other := call, far
	if s.byCallee {
		ender, other = far, call
	}
	if err := ender.Hangup(context.WithoutCancel(ctx)); err != nil {
		return err // says BYE already
	}
	select {
	case <-other.Done():
		return nil
	case <-time.After(5 * time.Second):
		return errors.Join(errNoBye, other.Hangup(context.WithoutCancel(ctx)))
	}
}

func linger(ctx context.Context, d time.Duration, calls ...*phone.Call) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return nil
	case <-calls[0].Done():
		return fmt.Errorf("%w (caller's end)", errDropped)
	case <-calls[1].Done():
		return fmt.Errorf("%w (callee's end)", errDropped)
	}
}

func onHold(ctx context.Context, d time.Duration, call, far *phone.Call) error {
	if err := call.Hold(ctx, true); err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	if !far.Held() {
		return errUnheld
	}
	if err := linger(ctx, d, call, far); err != nil {
		return err
	}
	if err := call.Hold(context.WithoutCancel(ctx), false); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	return nil
}
