package room_test

import (
	"bytes"
	"image"
	"image/jpeg"
	"testing"

	"linehall/media/line"
	"linehall/sfu/signal"
)

// Where a line carries no picture at all its viewer gets stills, as long as it does not, and only when the publisher was asked.
func TestALineThatCarriesNoPictureGetsStills(t *testing.T) {
	t.Parallel()
	var ledger *line.Ledger
	w := newWorld(t, worldOptions{sites: narrow(2_000_000, 2_000_000), ledger: &ledger})
	a := w.filming(t.Context(), t, "hq", map[string]int{"l": 180, "m": 360, "h": 720})
	defer a.close()
	b := w.join(t, "branch1", "", nil)
	defer b.close()
	var picture bytes.Buffer
	if err := jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 320, 180)), nil); err != nil {
		t.Fatal(err)
	}
	still := map[string]any{"type": "still", "jpeg": picture.Bytes()}
	b.await("the list", func() bool { return b.sees(a) })
	b.watch(720)
	b.await("a picture", func() bool { return len(b.slots.Video) > 0 && b.slots.Video[0].RID != "" })
	a.send(still)
	a.await("a refusal of what nobody asked for", func() bool { return len(a.errors) == 1 && a.errors[0].Request == "still" })

	// Three voices are reserved; calls leave 40 kbit/s beside them, less than the lowest layer's least.
	rate := int64(2_000_000 - 3*50*(144+18)*8 - 40_000)
	lease, err := ledger.Reserve(line.Voice, line.Demand{Site: "branch1", Rate: line.Rate{Up: rate, Down: rate}})
	if err != nil {
		t.Fatal(err)
	}
	a.await("the order", func() bool {
		return a.ordered.Active && a.ordered.MaxOctets == signal.MaxStill && a.ordered.IntervalMs >= 2000
	})
	b.await("no picture, and why", func() bool { return b.slots.Video[0].RID == "" && b.slots.Video[0].Reason == signal.ReasonLine })
	a.send(still)
	b.await("the still", func() bool {
		return len(b.stills) == 1 && b.stills[0].Participant == a.welcome.Participant && bytes.Equal(b.stills[0].JPEG, picture.Bytes())
	})
	for _, s := range ledger.Snapshot() {
		if s.Site == "branch1" && s.Direction == line.Down && s.Elastic < 15_000 {
			t.Errorf("%d bit/s of the line are given out while stills cross it", s.Elastic)
		}
	}
	a.send(still) // at once
	a.await("a refusal of too many", func() bool { return len(a.errors) == 2 && a.errors[1].Code == signal.TooOften })
	a.send(map[string]any{"type": "still", "jpeg": []byte("no picture")})
	a.await("a refusal of what is no picture", func() bool { return len(a.errors) == 3 && a.errors[2].Code == "bad_message" })

	lease.Release()
	a.await("the end of the order", func() bool { return !a.ordered.Active })
	b.await("the picture again", func() bool { return b.slots.Video[0].RID != "" })
	if len(b.stills) != 1 {
		t.Errorf("%d stills came", len(b.stills))
	}
}
