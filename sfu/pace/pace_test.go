package pace_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp"

	"linehall/sfu/pace"
)

type noBatch struct{}

func (noBatch) Begin() {}
func (noBatch) End()   {}

// line notes what leaves, and when. Only the pacer's goroutine writes.
type line struct {
	start time.Time
	left  []departure
}

type departure struct {
	At     time.Duration
	SSRC   uint32
	Octets int
}

const extra = 68 // what the tests count per packet beside the payload

func (l *line) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	l.left = append(l.left, departure{time.Since(l.start), h.SSRC, len(payload) + extra})
	return len(payload), nil
}

type world struct {
	line line
	site *pace.Site
	stop func()
}

// begin runs a pacer with one site; call it in a synctest bubble.
func begin(t *testing.T, bps int64) *world {
	t.Helper()
	p := pace.New(noBatch{}, nil)
	w := &world{line: line{start: time.Now()}, site: p.Site()}
	w.site.SetRate(bps, 0, true)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.Run(ctx); close(done) }()
	w.stop = func() { cancel(); <-done }
	return w
}

// frame queues a frame of n full packets.
func (w *world) frame(f *pace.Flow, ssrc uint32, n int, key bool) {
	payload := make([]byte, 1200)
	for i := range n {
		f.Send(&w.line, &rtp.Header{SSRC: ssrc, Marker: i == n-1}, payload, len(payload)+extra, key)
	}
}

func (w *world) order() (list []uint32) {
	for _, d := range w.line.left {
		list = append(list, d.SSRC)
	}
	return list
}

// In no second does more leave than the rate, however much is asked for at once; and no more than a burst of it at one instant.
func TestNoSecondHasMoreThanTheRate(t *testing.T) {
	for _, bps := range []int64{300_000, 2_000_000, 20_000_000} {
		synctest.Test(t, func(t *testing.T) {
			w := begin(t, bps)
			f := w.site.Flow()
			for range 30 {
				w.frame(f, 1, int(bps/8/1268/10), true)
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(2 * time.Second)
			w.stop()
			most := int(bps/8) + max(1500, int(bps/8/250)) + 1268
			from, sum, all := 0, 0, 0
			for i, d := range w.line.left {
				sum += d.Octets
				all += d.Octets
				for d.At-w.line.left[from].At >= time.Second {
					sum -= w.line.left[from].Octets
					from++
				}
				if sum > most {
					t.Fatalf("%d bit/s: %d octets in the second before packet %d, %d are allowed", bps, sum, i, most)
				}
			}
			if want := 30 * int(bps/8/1268/10) * 1268; all != want {
				t.Errorf("%d bit/s: %d octets of %d left", bps, all, want)
			}
		})
	}
}

func TestOneKeyframeDoesNotStopTheOtherPictures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, 1_000_000)
		large, small := w.site.Flow(), w.site.Flow()
		w.frame(large, 1, 50, true) // half a second of the line
		time.Sleep(50 * time.Millisecond)
		before := time.Since(w.line.start)
		w.frame(small, 2, 1, false)
		time.Sleep(time.Second)
		w.stop()
		for _, d := range w.line.left {
			if d.SSRC == 2 && d.At-before > 30*time.Millisecond {
				t.Errorf("the small frame left after %v", d.At-before)
			}
		}
	})
}

func TestRetransmissionsThenContentThenVideo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, 1_000_000)
		camera, screen := w.site.Flow(), w.site.Flow()
		screen.SetContent(true)
		w.frame(camera, 1, 4, false)
		synctest.Wait() // the first packet of the burst is gone
		w.frame(screen, 2, 2, false)
		camera.Repair(&w.line, &rtp.Header{SSRC: 3}, make([]byte, 1200), 1268)
		time.Sleep(time.Second)
		w.stop()
		if d := cmp.Diff([]uint32{3, 2, 2, 1, 1}, w.order()[len(w.order())-5:]); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}

// Frames are refused before they are numbered: first those that nobody needs, then all, until the line has time again.
func TestAFullQueueThinsOutAndThenRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, 1_000_000)
		f := w.site.Flow()
		type verdict struct{ All, Base bool }
		var got []verdict
		ask := func() {
			all, base := f.Admit()
			got = append(got, verdict{all, base})
		}
		ask()
		w.frame(f, 1, 40, true) // 406 ms
		ask()
		w.frame(f, 1, 70, true)
		ask()
		time.Sleep(time.Second)
		ask()
		w.site.SetRate(0, 0, true)
		ask()
		w.site.SetRate(10_000_000, 0, true)
		time.Sleep(time.Second)
		ask()
		w.stop()
		want := []verdict{{true, true}, {false, true}, {false, false}, {true, true}, {false, false}, {true, true}}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}

func TestOneKeyframeIsOnItsWayAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t, 1_000_000)
		a, b := w.site.Flow(), w.site.Flow()
		for range 2 {
			if !a.Claim(time.Now()) {
				t.Error("the first flow may not ask")
			}
		}
		if b.Claim(time.Now()) {
			t.Error("two flows may ask at once")
		}
		w.frame(a, 1, 30, true) // 305 ms
		time.Sleep(100 * time.Millisecond)
		if b.Claim(time.Now()) {
			t.Error("the second may ask while the keyframe is on the line")
		}
		time.Sleep(300 * time.Millisecond)
		if !b.Claim(time.Now()) {
			t.Error("the second may not ask after it")
		}
		time.Sleep(2 * time.Second) // its keyframe never comes
		if !a.Claim(time.Now()) {
			t.Error("a claim to a keyframe that does not come never ends")
		}
		a.Close()
		if !b.Claim(time.Now()) {
			t.Error("the claim of a flow that is gone never ends")
		}
		w.stop()
	})
}

func TestWithoutALineNothingIsHeldBack(t *testing.T) {
	w := pace.New(noBatch{}, nil).Site()
	f := w.Flow()
	if f.Send(&line{}, &rtp.Header{}, nil, 40, false) || f.Repair(&line{}, &rtp.Header{}, nil, 40) {
		t.Error("a packet is queued")
	}
	if all, base := f.Admit(); !all || !base || !f.Claim(time.Now()) {
		t.Error("a frame is refused")
	}
}
