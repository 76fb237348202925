package room_test

import (
	"context"
	"log/slog"
	"testing"
	"time"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// patience is how long a condition may take on a machine that is busy with other things; a quiet one takes milliseconds.
const patience = time.Minute

// until polls a condition that no message announces.
func until(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			tb.Fatalf("never: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestTwoVenuesSeeAndHearEachOther(t *testing.T) {
	w := newWorld(t, worldOptions{})
	a := w.join(t, "hq", "", nil)
	b := w.join(t, "branch1", "", nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, c := range []*client{a, b} {
		c.await("welcome", func() bool { return c.welcome.Participant != "" })
		c.startPublish(map[string]int{"": 720})
		go c.film(ctx, 4)
	}
	for _, c := range []*client{a, b} {
		c.await("two participants with picture", func() bool {
			return len(c.people) == 2 && c.people[0].HasVideo && c.people[1].HasVideo && c.people[0].HasAudio
		})
		c.watch(720)
	}
	for _, pair := range [][2]*client{{a, b}, {b, a}} {
		until(t, "25 whole frames", func() bool { _, n := pair[0].of(pair[1].id()).count(); return n > 25 })
		until(t, "voice", func() bool {
			pair[0].mu.Lock()
			defer pair[0].mu.Unlock()
			for _, s := range pair[0].slots.Audio {
				if s.Participant == pair[1].id() {
					n, _ := pair[0].received[s.MID].count()
					return n > 25
				}
			}
			return false
		})
	}
	if s := w.manager.Snapshot(); len(s) != 1 || len(s[0].Participants) != 2 || !s[0].Venues[0].Present {
		t.Errorf("snapshot: %+v", s)
	}
	a.close()
	b.await("alone", func() bool { return len(b.people) == 1 })
	b.close()
}
