package media_test

import (
	"testing"

	"linehall/cmd/linesim/media"
)

func TestEveryVenueHasThreeLayersThatCanBeRecognised(t *testing.T) {
	sizes := map[media.Layer][2]int{media.Low: {320, 180}, media.Middle: {640, 360}, media.High: {1280, 720}}
	for venue := range media.Venues {
		for _, layer := range media.Layers() {
			loop := media.Camera(venue, layer)
			if got := [2]int{loop.Width, loop.Height}; got != sizes[layer] {
				t.Errorf("venue %d layer %s is %v", venue, layer.RID(), got)
			}
			if len(loop.Frames) != 90 || loop.BaseBps >= loop.BitrateBps {
				t.Errorf("venue %d layer %s: %d frames, %d of %d bit/s in the base", venue, layer.RID(), len(loop.Frames), loop.BaseBps, loop.BitrateBps)
			}
			if who, ok := media.WhosePicture(loop.Frames[0].Data); !ok || who != venue {
				t.Errorf("venue %d layer %s was taken for %d (%v), colour %.0f", venue, layer.RID(), who, ok, media.Colour(venue))
			}
		}
		heard := 0
		for _, packet := range media.Voice(venue) {
			if who, ok := media.WhoseVoice(packet); ok && who == venue {
				heard++
			}
		}
		if n := len(media.Voice(venue)); heard < n*9/10 || n < 100 {
			t.Errorf("venue %d: %d of %d voice packets recognised", venue, heard, n)
		}
	}
	if _, ok := media.WhoseVoice(media.Silence()[3]); ok {
		t.Error("silence passed for a voice")
	}
}

func TestOnlyTheFirstFrameIsAKeyframe(t *testing.T) {
	for i, frame := range media.Camera(2, media.High).Frames {
		if frame.Key != (i == 0) {
			t.Errorf("frame %d: key %v", i, frame.Key)
		}
	}
}

func TestVenuesOfTheDemoDiffer(t *testing.T) {
	seen := make(map[int]string)
	for _, name := range []string{"hq", "branch1", "branch2", "branch3", "branch4", "branch5"} {
		n := media.Number(name)
		if other, ok := seen[n]; ok {
			t.Errorf("%s and %s share loops", name, other)
		}
		seen[n] = name
	}
}
