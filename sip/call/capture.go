package call

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"linehall/media/anchor"
	"linehall/media/capture"
)

// Media in the capture file of a call (media/capture): switched on by an operator for a call that is answered, until that
// ends. It looks on beside a recording and takes the call out of the kernel for as long.

// Why the media of a call is not captured.
var (
	ErrNotHere   = errors.New("the media of the call does not pass the appliance")
	ErrEncrypted = errors.New("the media of the call is encrypted")
)

// msgCapture begins or ends it; answer has room.
type msgCapture struct {
	on     bool
	by     string
	answer chan error
}

func (msgCapture) isMessage() {}

// capturing is the capture of the owner's call.
type capturing struct {
	capture        *capture.Capture
	path           *anchor.Path
	caller, callee []byte // the descriptions that it knows
}

// CaptureMedia begins or ends the capture of a call's media.
func (s *Service) CaptureMedia(ctx context.Context, id string, on bool, by string) error {
	s.mu.Lock()
	c := s.calls[id]
	s.mu.Unlock()
	if c == nil {
		return fmt.Errorf("call %s: %w", id, ErrUnknownCall)
	}
	answer := make(chan error, 1)
	return c.ask(ctx, msgCapture{on: on, by: by, answer: answer}, answer)
}

func (c *call) onCapture(m msgCapture) {
	if !m.on {
		c.endCapture()
		m.answer <- nil
		return
	}
	m.answer <- c.beginCapture(m.by)
}

func (c *call) beginCapture(by string) error {
	switch {
	case c.s.o.Captures == nil:
		return capture.ErrFull
	case c.pair == nil || !c.talks():
		return ErrNotAnswered
	case c.captured != nil:
		return nil
	}
	if err := c.showable(); err != nil {
		return err
	}
	k, err := c.s.o.Captures.Begin(c.id)
	if err != nil {
		return err
	}
	c.captured = &capturing{capture: k, path: c.pair.branch.path}
	c.describeCapture()
	c.pair.branch.path.Watch(k)
	c.log.Info("media is captured", slog.String("by", by))
	return nil
}

// showable says why the media may not be seen: it is not here, or encrypted, if only up to us.
func (c *call) showable() error {
	here, clear := c.pair.branch.path.Audible()
	switch {
	case !here:
		return ErrNotHere
	case !clear, (c.pair.caller.Secure || c.pair.callee.Secure) && !c.s.o.Captures.Encrypted():
		return ErrEncrypted
	}
	return nil
}

// recapture keeps it up to date after every change of the call.
func (c *call) recapture() {
	k := c.captured
	switch {
	case k == nil:
	case c.pair == nil || k.path != c.pair.branch.path || c.showable() != nil:
		c.endCapture()
	case !sameBytes(k.caller, c.pair.caller.Agreed) || !sameBytes(k.callee, c.pair.callee.Agreed):
		c.describeCapture()
	}
}

func (c *call) describeCapture() {
	k := c.captured
	k.caller, k.callee = c.pair.caller.Agreed, c.pair.callee.Agreed
	k.capture.Describe(k.caller, k.callee)
	c.locateCapture()
}

// locateCapture says where the packets run: parties latch after they have been described.
func (c *call) locateCapture() {
	for _, s := range []side{caller, callee} {
		var e capture.Ends
		e.Party, e.Local = c.captured.path.Reaches(s)
		c.captured.capture.Locate(int(s), e)
	}
}

// endCapture stops it; what was captured can be had for a while.
func (c *call) endCapture() {
	if k := c.captured; k != nil {
		c.locateCapture()
		c.captured = nil
		k.path.Watch(nil)
		k.capture.Close()
	}
}
