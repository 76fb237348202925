package phones

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"linehall/cmd/linesim/phone"
	"linehall/cmd/linesim/report"
)

// Lamps is what the phones' busy lamps showed.
type Lamps struct {
	Subscriptions int      `json:"subscriptions"`
	Notifies      int      `json:"notifies"`
	Renewals      int      `json:"renewals"` // subscriptions that the server had forgotten
	Checked       int      `json:"checked"`  // while somebody talked
	Wrong         int      `json:"wrong"`    // of those, not lit
	Stuck         int      `json:"stuck"`    // lit after all calls had ended
	DarkAfter     float64  `json:"dark_after_ms"`
	Faults        []string `json:"faults,omitempty"` // what a phone would have stumbled over
}

const (
	lampsAtOnce   = 16              // subscriptions being made at the same time
	lampSettles   = 2 * time.Second // a call that lasts less is not looked at
	lampsDarkness = 10 * time.Second
)

// lightLamps lets each phone watch the next plan.Lamps phones of the list.
func (w *world) lightLamps(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lampsAtOnce)
	for i, a := range w.actors {
		g.Go(func() error {
			for k := range min(w.plan.Lamps, len(w.actors)-1) {
				other := w.actors[(i+k+1)%len(w.actors)]
				s, err := a.phone.Subscribe(w.lampLife, "dialog", other.terminal.Extension)
				if err != nil {
					return fmt.Errorf("lamp of %s at %s: %w", other.terminal.Extension, a.terminal.Extension, err)
				}
				w.mu.Lock()
				other.watchers = append(other.watchers, s)
				w.lamps = append(w.lamps, s)
				w.mu.Unlock()
			}
			return ctx.Err()
		})
	}
	return g.Wait() // names the lamp
}

// lookAtLamps counts the lamps of a talking phone that do not show it.
func (w *world) lookAtLamps(a *actor) {
	wrong := 0
	for _, s := range a.watchers {
		if s.Lamp() != "confirmed" {
			wrong++
		}
	}
	w.tally.lampsSeen(len(a.watchers), wrong)
}

// darkness waits until every lamp is dark again and gathers what the phones saw.
func (w *world) darkness() {
	if w.plan.Lamps == 0 {
		return
	}
	began := time.Now()
	lit := func() (n int) {
		for _, s := range w.lamps {
			if s.Lamp() != "" {
				n++
			}
		}
		return n
	}
	for lit() > 0 && time.Since(began) < lampsDarkness {
		time.Sleep(10 * time.Millisecond)
	}
	took, stuck := time.Since(began), lit()
	all := make([]phone.Watched, 0, len(w.lamps))
	for _, s := range w.lamps {
		all = append(all, s.Watched())
	}
	w.tally.lampsEnd(all, stuck, took)
}

func (t *tally) lampsSeen(checked, wrong int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lamps.Checked += checked
	t.lamps.Wrong += wrong
}

func (t *tally) lampsEnd(all []phone.Watched, stuck int, took time.Duration) {
	const keep = 50
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lamps.Subscriptions, t.lamps.Stuck, t.lamps.DarkAfter = len(all), stuck, report.Milliseconds(took)
	for _, s := range all {
		t.lamps.Notifies += s.Notifies
		t.lamps.Renewals += s.Renewals
		if len(t.lamps.Faults) < keep {
			t.lamps.Faults = append(t.lamps.Faults, s.Faults...)
		}
	}
	t.result.Lamps = &t.lamps
}

func (l *Lamps) ok() bool { return l.Wrong == 0 && l.Stuck == 0 && len(l.Faults) == 0 }
