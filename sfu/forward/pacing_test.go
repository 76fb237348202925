package forward

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"linehall/sfu/pace"
)

// fullLine is a queue whose answers the test sets. It passes on what it takes at once.
type fullLine struct {
	all, base, claim bool
	keyframes        int // packets of them
}

func (l *fullLine) Admit() (all, base bool)                           { return l.all, l.base }
func (l *fullLine) Claim(time.Time) bool                              { return l.claim }
func (l *fullLine) Repair(pace.Writer, *rtp.Header, []byte, int) bool { return false }
func (l *fullLine) Send(to pace.Writer, h *rtp.Header, payload []byte, _ int, keyframe bool) bool {
	if keyframe {
		l.keyframes++
	}
	_, _ = to.WriteRTP(h, payload) // of the test
	return true
}

// A line without time leaves out whole frames up to the next keyframe. The receiver sees no gap, and a keyframe is asked for when
// there is time again, and when it is this picture's turn.
func TestALineWithoutTimeLeavesOutFramesUpToAKeyframe(t *testing.T) {
	b := newBench()
	e := &encoder{ssrc: 20, rid: "l", height: 180}
	now := time.Now() // Follow looks at the clock itself
	slot, out := b.slot(t, true, true)
	queue := &fullLine{all: true, base: true, claim: true}
	slot.SetPacer(queue)
	feed := func(key bool, temporal uint8, n int) (written int) {
		now = now.Add(600 * time.Millisecond) // beyond the pause between two requests
		before := len(out.packets)
		for _, p := range e.frame(key, temporal, n) {
			b.uplink.receive(b.uplink.stream(20), p, now)
		}
		return len(out.packets) - before
	}
	asked := func() (n int) {
		for _, p := range b.asked {
			if _, ok := p.(*rtcp.PictureLossIndication); ok {
				n++
			}
		}
		b.asked = nil
		return n
	}
	feed(true, 0, 1)
	slot.Follow(b.uplink.Track(Camera).Layer("l"))
	for i, step := range []struct {
		all, base, claim bool
		key              bool
		temporal         uint8
		written, asked   int
	}{
		{true, true, true, true, 0, 3, 1}, // asked for by Follow
		{true, true, true, false, 1, 3, 0},
		{false, true, true, false, 1, 0, 0}, // thin: the base only
		{false, true, true, false, 0, 3, 0},
		{false, false, true, false, 0, 0, 0}, // no time
		{false, true, true, false, 0, 0, 0},  // the base again, but it refers to what was left out
		{true, true, false, false, 0, 0, 0},  // time, but another picture's keyframe is on the line
		{true, true, true, false, 0, 0, 1},
		{true, true, true, true, 0, 3, 0},
		{true, true, true, false, 0, 3, 0},
	} {
		queue.all, queue.base, queue.claim = step.all, step.base, step.claim
		if written, asked := feed(step.key, step.temporal, 3), asked(); written != step.written || asked != step.asked {
			t.Errorf("frame %d: %d packets written and %d keyframes asked for, want %d and %d", i, written, asked, step.written, step.asked)
		}
	}
	for i := 1; i < len(out.packets); i++ {
		var d, last frame
		d.parse(VP8, out.packets[i].Payload)
		last.parse(VP8, out.packets[i-1].Payload)
		if out.packets[i].SequenceNumber != out.packets[i-1].SequenceNumber+1 || d.picture-last.picture > 1 {
			t.Errorf("packet %d: number %d after %d, picture %d after %d", i, out.packets[i].SequenceNumber, out.packets[i-1].SequenceNumber, d.picture, last.picture)
		}
	}
	if queue.keyframes != 6 {
		t.Errorf("%d packets of keyframes, want 6", queue.keyframes)
	}
}

// While a picture is shown, the switch to another layer waits until no other keyframe is on the line; a picture that is asked
// for by its receiver waits too.
func TestAKeyframeWaitsForAnother(t *testing.T) {
	b := newBench()
	low, high := &encoder{ssrc: 20, rid: "l", height: 180}, &encoder{ssrc: 22, rid: "h", height: 720}
	now := time.Now() // Follow looks at the clock itself
	slot, _ := b.slot(t, true, true)
	queue := &fullLine{all: true, base: true, claim: true}
	slot.SetPacer(queue)
	feed := func(key bool) {
		now = now.Add(600 * time.Millisecond)
		for _, e := range []*encoder{low, high} {
			for _, p := range e.frame(key, 0, 1) {
				b.uplink.receive(b.uplink.stream(e.ssrc), p, now)
			}
		}
	}
	feed(true)
	camera := b.uplink.Track(Camera)
	slot.Follow(camera.Layer("l"))
	feed(true)
	b.asked = nil
	queue.claim = false
	slot.Follow(camera.Layer("h"))
	slot.RequestKeyframe()
	feed(false)
	feed(true) // somebody else's
	if current, _ := slot.Following(); current != camera.Layer("l") || len(b.asked) > 0 {
		t.Errorf("switched, or asked %d times, while another keyframe was on the line", len(b.asked))
	}
	queue.claim = true
	feed(false)
	if len(b.asked) == 0 {
		t.Error("no keyframe is asked for when it may be")
	}
	feed(true)
	if current, _ := slot.Following(); current != camera.Layer("h") {
		t.Error("no switch when it may be")
	}
}
