package main

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/emiago/sipgo/sip"

	"linehall/configs"
	"linehall/internal/site"
	"linehall/sfu/room"
	"linehall/sip/call"
	"linehall/sip/cdr"
	"linehall/sip/digest"
	"linehall/sip/stack"
	"linehall/sip/subscribe"
)

// subscriptions is what phones want to know: lamps, presence, messages.
type subscriptions struct {
	*subscribe.Service

	numbers *watchable
	rooms   *room.Manager
	changed chan struct{} // capacity 1: a room is another
}

// watchable is what can be watched beside extensions, and what is on whose keys.
type watchable struct{ now atomic.Pointer[numberTable] }

type numberTable struct {
	groups map[string][]string // members; none for a room
	lamps  map[string][]string
}

func numbersOf(config configs.Config) *numberTable {
	t := &numberTable{groups: map[string][]string{}, lamps: map[string][]string{}}
	if config.Dialplan.Duty != "" {
		t.groups[config.Dialplan.Duty] = config.Dialplan.DutyMembers
	}
	for _, g := range config.Dialplan.Groups {
		t.groups[g.Number] = g.Members
	}
	for _, r := range config.Conference.Rooms {
		t.groups[r.Number] = nil
	}
	for _, row := range config.Inventory() {
		t.lamps[row.Extension] = row.Lamps
	}
	return t
}

// Members implements subscribe.Numbers.
func (w *watchable) Members(number string) ([]string, bool) {
	members, known := w.now.Load().groups[number]
	return members, known
}

// Lamps implements subscribe.Numbers.
func (w *watchable) Lamps(extension string) []string { return w.now.Load().lamps[extension] }

// openSubscriptions comes before the calls are restored, whose lamps it shows.
func openSubscriptions(ctx context.Context, config configs.Config, g *ground, t *telephony, auth *digest.Authenticator) (*subscriptions, error) {
	s := &subscriptions{numbers: &watchable{}, changed: make(chan struct{}, 1)}
	s.numbers.now.Store(numbersOf(config))
	var err error
	s.Service, err = subscribe.Open(ctx, subscribe.Options{
		Stack: t.stack, Auth: auth, Locations: t.locations, Directory: g.directory, Next: g.directory.Next, Numbers: s.numbers,
		Features: featureKeys{t.features, g.directory}, Quality: qualityReports{t.records, g.log},
		Sites: g.atlas, DB: g.db, Dropped: g.dropped, Panics: g.panics, Log: g.log, Registerer: g.registry,
	})
	if err != nil {
		return nil, err
	}
	t.locations.OnChange(s.PhoneChanged)
	t.features.OnChange(s.Changed)
	return s, nil
}

// share gives the methods that calls use as well to whoever a request belongs to.
func (s *subscriptions) share(t *telephony) {
	t.stack.Handle(sip.SUBSCRIBE, func(ctx context.Context, req *stack.Request) {
		if req.InDialog() && !s.Knows(req) {
			t.calls.ServeInDialog(ctx, req) // a transfer's, or nobody's: 481
			return
		}
		s.ServeSubscribe(ctx, req)
	})
	t.share(sip.NOTIFY, s.ServeNotify)
	t.share(sip.MESSAGE, s.ServeMessage)
}

// apply takes a new configuration over: lists, groups and terminals.
func (s *subscriptions) apply(config configs.Config) {
	s.numbers.now.Store(numbersOf(config))
	s.Recheck()
}

// watchRooms lights the lamp of a room while somebody is in it.
func (s *subscriptions) watchRooms(rooms *room.Manager) {
	s.rooms = rooms
	rooms.OnChange(func() {
		select {
		case s.changed <- struct{}{}:
		default: // there is one to come anyway
		}
	})
}

// runRooms follows the rooms until ctx ends.
func (s *subscriptions) runRooms(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
		}
		for _, r := range s.rooms.Snapshot() {
			var dialogs []call.DialogInfo
			if len(r.Participants) > 0 {
				dialogs = []call.DialogInfo{{ID: "room-" + r.Number, Extension: r.Number, State: call.DialogConfirmed}}
			}
			s.Show(r.Number, dialogs)
		}
	}
}

// qualityReports keeps what phones measured with the call's record.
type qualityReports struct {
	records *cdr.Log
	log     *slog.Logger
}

// Report implements subscribe.Quality.
func (q qualityReports) Report(ctx context.Context, id, extension string, at site.ID, r subscribe.Report) error {
	if id == "" {
		return nil // of a call that we know nothing of: counted, not kept
	}
	return q.records.AddQuality(ctx, cdr.Quality{
		Call: id, Extension: extension, Site: string(at), Kind: r.Kind, MOS: r.Local.MOS(), MOSConversation: r.Local.MOSConversation,
		LossPercent: r.Local.LossPercent, DiscardPercent: r.Local.DiscardPercent, Jitter: r.Local.Jitter, RoundTrip: r.Local.RoundTrip, Codec: r.Local.Codec,
	})
}
