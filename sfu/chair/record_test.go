package chair_test

import (
	"encoding/json"
	"errors"
	"testing"

	"linehall/sfu/chair"
)

// The chair records, or who may revoke it; nobody else. A restart carries the same recording on, and one that ended by itself
// is over for the meeting.
func TestRecording(t *testing.T) {
	x := sit(t)
	start := chair.Act{Name: chair.StartRecord, On: true}
	if _, err := x.m.Do(start, chair.Actor{Member: "a", Name: name("a")}, x.now); !errors.Is(err, chair.ErrNotChair) {
		t.Errorf("a venue records: %v", err)
	}
	operator := chair.Actor{Member: "user:anna", MayRevoke: true}
	out, err := x.m.Do(start, operator, x.now)
	if err != nil || len(out.Minutes) != 1 || out.Minutes[0].Action != chair.StartRecord {
		t.Fatalf("%+v %v", out, err)
	}
	if _, err := x.m.Do(start, operator, x.now); !errors.Is(err, chair.ErrRecording) {
		t.Errorf("twice: %v", err)
	}
	before := *x.m.State().Recording
	text, err := json.Marshal(x.m.Clone())
	if err != nil {
		t.Fatal(err)
	}
	var s chair.State
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	again := chair.Restore(s, x.now)
	if r := again.State().Recording; r == nil || r.ID != before.ID || !r.Tracks || r.By != "user:anna" {
		t.Fatalf("after a restart: %+v", r)
	}
	if out := again.RecordingLost("another", "disk_full", x.now); len(out.Minutes) != 0 || again.State().Recording == nil {
		t.Errorf("another one's end: %+v", out)
	}
	if out := again.RecordingLost(before.ID, "disk_full", x.now); len(out.Minutes) != 1 || out.Minutes[0].Detail != "disk_full" || again.State().Recording != nil {
		t.Errorf("its end: %+v", out)
	}
	if _, err := again.Do(chair.Act{Name: chair.StopRecord}, operator, x.now); !errors.Is(err, chair.ErrNotNow) {
		t.Errorf("stop of nothing: %v", err)
	}
}
