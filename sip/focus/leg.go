package focus

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/sip/dialog"
	"linehall/sip/stack"
)

// phase is how far a telephone has come.
type phase string

const (
	phaseLobby   phase = "lobby"   // it is asked for the PIN
	phaseWaiting phase = "waiting" // the chair has to let it in
	phaseInside  phase = "inside"
)

// mailboxSize bounds what waits for a leg's owner: keys and requests of one person. Full: it is dropped and counted, what
// matters is repeated.
const mailboxSize = 64

// leg is one telephone. Its fields are its owner's, the goroutine in run.
type leg struct {
	s       *Service
	log     *slog.Logger
	mailbox chan func()
	over    chan struct{} // closed by close
	ending  sync.Once
	why     string // of the end, before over is closed

	dialog     *dialog.Dialog
	invite     *stack.Request // that it sent; nil: we called it, or it was restored
	pending    *pending       // a 2xx of ours without its ACK
	asked      []byte         // an offer of ours that waits for its answer in that ACK
	room       Room
	caller     Caller
	phase      phase
	conference *conference
	sound      *sound
	seat       Seat
	keys       collector
	wrong      int // PINs
	acked      bool
	gone       bool // there is nobody to say BYE to
	kept       bool // the process ends, the call does not
	fails      int  // probes without an answer
	timers     map[string]*time.Timer
}

// pending is a 2xx that is repeated until its ACK comes (RFC 3261 §13.3.1.4).
type pending struct {
	req   *stack.Request
	res   *sip.Response
	wait  time.Duration
	until time.Time
	acked func(ack *sip.Request)
}

func (s *Service) newLeg(room Room, caller Caller) *leg {
	l := &leg{
		s: s, room: room, caller: caller, phase: phaseLobby, mailbox: make(chan func(), mailboxSize), over: make(chan struct{}),
		timers: map[string]*time.Timer{}, log: s.o.Log.With(observe.Room, room.Number),
	}
	if caller.Call != "" {
		l.log = l.log.With(observe.CallID, caller.Call)
	}
	return l
}

// open gives the leg its ports and its place in the mixer, apart from the others.
func (l *leg) open(rtpPort, rtcpPort int) error {
	l.conference = l.s.join(l.room)
	var err error
	l.sound, err = openSound(l.conference.mixer, rtpPort, rtcpPort, func(key byte) { l.post(func() { l.press(key) }) })
	if err != nil {
		l.s.leave(l.conference)
		return err
	}
	l.sound.alone = true
	l.sound.run()
	return nil
}

// shut is the other end of open.
func (l *leg) shut() {
	l.sound.close()
	l.s.leave(l.conference)
}

// post hands work to the owner; what finds no room is lost, and counted.
func (l *leg) post(f func()) {
	select {
	case l.mailbox <- f:
	default:
		l.s.o.Dropped.Count("focus", "mailbox_full")
	}
}

// end ends the leg; why is for the telephone's display. It may be called by any goroutine.
func (l *leg) end(why string) {
	l.ending.Do(func() {
		l.why = why
		close(l.over)
	})
}

// run owns the leg.
func (l *leg) run(ctx context.Context, first func()) {
	defer l.finish(context.WithoutCancel(ctx))
	defer observe.Recover(l.log, l.s.o.Panics, "leg of a meeting")
	first()
	for {
		select {
		case <-l.over:
			return
		default:
		}
		select {
		case <-ctx.Done():
			l.kept = l.acked && l.s.o.Store != nil
			return
		case <-l.over:
			return
		case f := <-l.mailbox:
			f()
		}
	}
}

// finish gives everything back and says goodbye.
func (l *leg) finish(ctx context.Context) {
	for _, t := range l.timers {
		t.Stop()
	}
	if l.seat != nil && !l.kept {
		l.seat.Leave()
	}
	l.sound.sit(nil)
	l.shut()
	if !l.kept {
		l.unsave()
		if !l.gone {
			l.bye(ctx)
		}
	}
	l.s.forget(l)
	l.log.Info("telephone has left the meeting", slog.String(observe.Reason, l.why), slog.Bool("kept", l.kept))
}

// bye hangs up and waits for the answer, so that it is repeated until then.
func (l *leg) bye(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, byeTime)
	defer cancel()
	req := l.dialog.Request(sip.BYE)
	req.AppendHeader(sip.NewHeader("Reason", `SIP;cause=200;text="`+l.why+`"`))
	tx, err := l.s.stack.Request(ctx, req, stack.InsideFlow().Reverse())
	if err != nil {
		return // the stack is closed: so is the call core's
	}
	for res := range tx.Responses() {
		if !res.IsProvisional() {
			return
		}
	}
}

// after does something later, unless it is asked to do so again before; 0: never.
func (l *leg) after(name string, d time.Duration, f func()) {
	if t := l.timers[name]; t != nil {
		t.Stop()
		delete(l.timers, name)
	}
	if d <= 0 {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		l.post(func() {
			if l.timers[name] == t {
				delete(l.timers, name)
				f()
			}
		})
	})
	l.timers[name] = t
}

// begin is the first moment at which the telephone can hear us.
func (l *leg) begin() {
	l.probe(probeTime)
	if l.seat == nil && l.phase == phaseLobby && !l.needsPIN() {
		l.enter()
		return
	}
	l.greet()
}

// greet lets the telephone hear where it is.
func (l *leg) greet() {
	switch l.phase {
	case phaseLobby:
		l.sound.play(l.s.tones.pin)
		l.after("remind", remindTime, l.greet)
		l.after("patience", lobbyTime, func() { l.end("no PIN was entered") })
	case phaseWaiting:
		l.sound.play(l.s.tones.waiting)
		l.after("remind", remindTime, l.greet)
	case phaseInside:
		l.sound.apart(false)
		l.sound.play(l.s.tones.entered)
	}
	l.save()
}

const (
	// remindTime is between two tones for somebody who waits; lobbyTime is how long somebody may take to enter a PIN.
	remindTime = 10 * time.Second
	lobbyTime  = time.Minute
)

func (l *leg) needsPIN() bool {
	return l.room.NeedsPIN && !l.caller.Chair && !l.caller.Invited && l.caller.Member == ""
}

// enter goes into the room, or ends the call and says why.
func (l *leg) enter() {
	if err := l.take(); err != nil {
		l.refuse(err)
		return
	}
	l.greet()
}

// take gets a seat.
func (l *leg) take() error {
	ctx, cancel := context.WithTimeout(context.Background(), joinTime)
	defer cancel()
	l.phase = phaseInside // the room may say at once that it waits
	seat, err := l.s.o.Rooms.Join(ctx, l.room.Number, l.caller, hears{l})
	if err != nil {
		l.phase = phaseLobby
		l.s.metrics.joins.WithLabelValues("refused").Inc()
		return err //nolint:wrapcheck // in words already
	}
	l.seat, l.caller.Member = seat, seat.Member()
	l.s.metrics.joins.WithLabelValues("entered").Inc()
	l.sound.sit(seat)
	l.log.Info("telephone in a meeting", slog.String(observe.Extension, l.caller.Number), slog.Bool("chair", l.caller.Chair), slog.Bool("invited", l.caller.Invited))
	return nil
}

// refuse ends a call that was answered.
func (l *leg) refuse(err error) {
	l.log.Info("telephone refused", slog.Any(observe.Err, err))
	l.sound.play(l.s.tones.refused)
	l.after("remind", 0, nil)
	l.after("end", long(l.s.tones.refused)+hearTime, func() { l.end(wordsOf(err)) })
}

// hearTime is what a tone needs to reach an ear before the call ends.
const hearTime = 400 * time.Millisecond

// wordsOf is an error for a display.
func wordsOf(err error) string {
	for _, known := range []error{ErrNoRoom, ErrLocked, ErrDropped, ErrFull} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "the meeting cannot be joined now"
}

// press takes a key.
func (l *leg) press(key byte) {
	switch now := time.Now(); l.phase {
	case phaseLobby:
		l.pressPIN(key)
	case phaseInside:
		if a := l.keys.code(key, now); a != 0 && l.seat != nil {
			l.seat.Press(a)
		}
	case phaseWaiting:
	}
}

func (l *leg) pressPIN(key byte) {
	pin, try, whole := l.keys.pin(key, l.room.PINDigits)
	l.after("pin", 0, nil)
	switch {
	case pin == "":
	case try && l.tryPIN(pin):
	case whole:
		l.wrongPIN()
	default:
		l.after("pin", pinPause, l.wrongPIN)
	}
}

// tryPIN goes in if the PIN is right.
func (l *leg) tryPIN(pin string) bool {
	role := l.s.o.Rooms.Check(l.room.Number, pin)
	if role == Nobody {
		return false
	}
	l.s.metrics.pins.WithLabelValues("right").Inc()
	l.keys.clear()
	l.caller.Chair = role == Chair
	l.after("patience", 0, nil)
	l.after("remind", 0, nil)
	l.enter()
	return true
}

// wrongPIN counts a wrong one; the third ends the call.
func (l *leg) wrongPIN() {
	l.keys.clear()
	l.wrong++
	l.s.metrics.pins.WithLabelValues("wrong").Inc()
	l.s.pins.failed(l.pinKey(), time.Now())
	l.log.Warn("wrong PIN of a meeting", slog.String(observe.Extension, l.caller.Number), slog.Int(observe.Count, l.wrong))
	l.sound.play(l.s.tones.wrong)
	if l.wrong < pinTries && !l.s.pins.blocked(l.pinKey(), time.Now()) {
		l.after("remind", remindTime, l.greet)
		return
	}
	l.phase = phaseWaiting // further keys count for nothing
	l.after("remind", 0, nil)
	l.after("end", long(l.s.tones.wrong)+hearTime, func() { l.end("the PIN was wrong too often") })
}

// pinKey is by whom wrong PINs are counted.
func (l *leg) pinKey() string { return l.s.pinKey(l.caller) }

func (s *Service) pinKey(c Caller) string {
	if !c.Outside && s.o.Ours(c.Number) {
		return c.Number
	}
	return outside
}

// hears is a leg as its room speaks to it.
type hears struct{ l *leg }

// Tell implements Listener.
func (h hears) Tell(e Event) { h.l.post(func() { h.l.told(e) }) }

// Over implements Listener.
func (h hears) Over(why string) {
	h.l.post(func() {
		l := h.l
		l.seat = nil // the room has taken it back
		l.sound.sit(nil)
		l.sound.apart(true)
		l.sound.play(l.s.tones.over)
		l.after("end", long(l.s.tones.over)+hearTime, func() { l.end(why) })
	})
}

// told follows an event of the room.
func (l *leg) told(e Event) {
	t := &l.s.tones
	switch e {
	case Waiting:
		l.s.metrics.joins.WithLabelValues("waited").Inc()
		l.phase = phaseWaiting
		l.sound.apart(true)
		l.greet()
	case Entered:
		l.after("remind", 0, nil)
		if l.phase != phaseInside {
			l.phase = phaseInside
			l.greet()
		}
	case Muted, Unmuted:
		l.sound.mute(e == Muted)
		l.sound.play(map[bool][]int16{true: t.muted, false: t.unmuted}[e == Muted])
	case HandUp:
		l.sound.play(t.handUp)
	case HandDown:
		l.sound.play(t.handDown)
	case Done:
		l.sound.play(t.done)
	case Refused:
		l.sound.play(t.refused)
	case Interrupts:
		l.seat = nil // it comes back with the room
		l.sound.sit(nil)
		l.sound.apart(true)
	}
}
