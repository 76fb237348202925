package venue

import (
	"testing"

	"linehall/cmd/linesim/media"
)

// Whatever is commanded, an encoder keeps to it over a second, and pays back a keyframe within two.
func TestAnEncoderKeepsToItsRate(t *testing.T) {
	for _, layer := range media.Layers() {
		loop := media.Camera(1, layer)
		for _, rate := range []int{loop.BitrateBps / 2, loop.BitrateBps, 2 * loop.BitrateBps} {
			var e encoder
			var sizes []int
			at := 0
			for range 5 * media.FramesPerSecond {
				frame := loop.Frames[at]
				if frame.Temporal != uint8(at&1) {
					t.Fatal("temporal layers do not alternate")
				}
				sizes = append(sizes, e.size(frame, loop, rate))
				at = next(at, len(loop.Frames))
			}
			sum := 0
			for _, size := range sizes[2*media.FramesPerSecond : 3*media.FramesPerSecond] {
				sum += size
			}
			if bps := sum * 8; bps > rate*11/10 || bps < rate*7/10 {
				t.Errorf("%v at %d bit/s: %d in the third second", layer.RID(), rate, bps)
			}
		}
	}
}
