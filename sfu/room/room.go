package room

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"linehall/internal/auth"
	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/sfu/signal"
)

var errRoomClosed = errors.New("the room was closed")

const (
	mailboxSize = 256 // messages of all participants; full: the sender's message is refused
	tick        = 200 * time.Millisecond
	slowTicks   = 5 // ticks between looks at what changes by itself: layers, figures, lines
	// resumeTime is how long a participant without a connection keeps its place.
	resumeTime = 10 * time.Second
)

// Room is one meeting room. All fields below owned belong to the goroutine in run.
type Room struct {
	manager *Manager
	log     *slog.Logger
	mailbox chan func()
	done    chan struct{}
	cancel  context.CancelCauseFunc // set before run
	peers   sync.WaitGroup

	// owned
	ctx          context.Context //nolint:containedctx // of run, for the peers started in it
	config       RoomConfig
	venues       []VenueConfig
	opened       time.Time
	participants []*participant // in order of joining
	sites        map[site.ID]*share
	dirty        bool // what is shown to whom has to be decided anew
	ticks        int
	speaking     []string

	snapshots snapshots
}

func newRoom(m *Manager, c RoomConfig, venues []VenueConfig) *Room {
	r := &Room{
		manager: m, log: m.options.Log.With(observe.Room, c.Number), mailbox: make(chan func(), mailboxSize),
		done: make(chan struct{}), config: c, venues: venues, sites: map[site.ID]*share{},
	}
	r.snapshots.store(r.snapshot())
	m.present.WithLabelValues(c.Number).Set(0)
	return r
}

// post hands work to the owner; false: the mailbox is full, the work is refused.
func (r *Room) post(f func()) bool {
	select {
	case r.mailbox <- f:
		return true
	default:
		r.manager.options.Dropped.Count("room", "mailbox_full")
		return false
	}
}

// run owns the room until ctx ends; it returns when all peers have ended.
func (r *Room) run(ctx context.Context) {
	defer close(r.done)
	r.ctx = ctx
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			r.dismissAll(ctx)
			r.peers.Wait()
			return
		case f := <-r.mailbox:
			r.guard(f)
		case now := <-ticker.C:
			if len(r.participants) > 0 {
				r.guard(func() { r.onTick(now) })
			}
		}
		if r.dirty {
			r.guard(r.decide)
		}
	}
}

// guard is the edge of the owner: a panic in one piece of work does not end the meeting.
func (r *Room) guard(f func()) {
	defer observe.Recover(r.log, r.manager.options.Panics, "room")
	f()
}

func (r *Room) onTick(now time.Time) {
	r.ticks++
	r.updateVoices(now)
	if r.ticks%slowTicks != 0 {
		return
	}
	for _, p := range slices.Clone(r.participants) {
		if p.client == nil && now.Sub(p.brokenAt) > resumeTime {
			r.log.Info("participant lost", observe.Participant, p.id)
			r.remove(p, "")
			continue
		}
		p.refresh(now)
	}
	r.dirty = true
	r.publishSnapshot()
}

func (r *Room) dismissAll(ctx context.Context) {
	reason := signal.Shutdown
	if errors.Is(context.Cause(ctx), errRoomClosed) {
		reason = signal.RoomClosed
	}
	for _, p := range slices.Clone(r.participants) {
		r.remove(p, reason)
	}
}

// join admits somebody.
func (r *Room) join(who auth.Principal, join signal.Request, client signal.Client) (signal.Member, error) {
	if join.Resume != "" {
		for _, p := range r.participants {
			if p.resume == join.Resume && p.venueID() == who.Venue {
				return r.resume(p, client), nil
			}
		}
	}
	var venue *VenueConfig
	if who.Venue != "" {
		i := slices.IndexFunc(r.venues, func(v VenueConfig) bool { return v.ID == who.Venue })
		if i < 0 {
			return nil, signal.ErrForbidden
		}
		venue = &r.venues[i]
		for _, p := range slices.Clone(r.participants) {
			if p.venueID() == who.Venue {
				r.remove(p, signal.Replaced)
			}
		}
	}
	if len(r.participants) >= MaxVenues {
		return nil, signal.ErrFull
	}
	p := newParticipant(r, venue, who, join, client)
	if err := p.reserve(); err != nil {
		return nil, fmt.Errorf("%w: %w", signal.ErrFull, err)
	}
	if len(r.participants) == 0 {
		r.opened = time.Now()
	}
	r.participants = append(r.participants, p)
	p.welcome()
	p.start()
	r.log.Info("participant joined", observe.Participant, p.id, observe.Site, string(p.site), "kind", p.kind)
	r.listChanged()
	return &seat{room: r, participant: p, client: client}, nil
}

// resume gives a participant its place back.
func (r *Room) resume(p *participant, client signal.Client) signal.Member {
	if p.client != nil {
		p.client.End(signal.Replaced)
	}
	p.attach(client)
	p.welcome()
	p.sent = sentState{}
	if err := p.peer.RestartSubscribe(); err != nil {
		p.refuse("join", err)
	}
	r.log.Info("participant resumed", observe.Participant, p.id)
	r.listChanged()
	return &seat{room: r, participant: p, client: client}
}

// remove ends a participation; with a reason the client is told.
func (r *Room) remove(p *participant, reason string) {
	i := slices.Index(r.participants, p)
	if i < 0 {
		return
	}
	r.participants = slices.Delete(r.participants, i, i+1)
	if p.client != nil {
		p.client.End(reason)
	}
	p.end()
	r.log.Info("participant left", observe.Participant, p.id, "reason", reason)
	r.listChanged()
}

// listChanged tells everyone who is there.
func (r *Room) listChanged() {
	r.manager.present.WithLabelValues(r.config.Number).Set(float64(len(r.participants)))
	list := make([]signal.Participant, len(r.participants))
	for i, p := range r.participants {
		list[i] = p.public()
	}
	for _, p := range r.participants {
		p.send(signal.Participants{Type: "participants", List: list})
	}
	r.dirty = true
	r.publishSnapshot()
}

func (r *Room) find(id string) *participant {
	for _, p := range r.participants {
		if p.id == id {
			return p
		}
	}
	return nil
}

func newID() string { return "p" + rand.Text()[:8] }
