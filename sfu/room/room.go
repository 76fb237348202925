package room

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"linehall/internal/auth"
	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/sfu/chair"
	"linehall/sfu/signal"
)

var (
	errRoomClosed = errors.New("the room was closed")
	errAdmission  = errors.New("admission failed")
)

const (
	mailboxSize = 256 // messages of all participants; full: the sender's message is refused
	tick        = 200 * time.Millisecond
	slowTicks   = 5 // ticks between looks at what changes by itself: layers, figures, lines
	// resumeTime is how long a participant without a connection keeps its place.
	resumeTime = 10 * time.Second
	// farewellTime is how long the end of a room waits for pages that do not take their last message.
	farewellTime = 3 * time.Second
)

// Room is one meeting room. All fields below owned belong to the goroutine in run.
type Room struct {
	manager *Manager
	log     *slog.Logger
	mailbox chan func()
	done    chan struct{}
	cancel  context.CancelCauseFunc // set before run
	peers   sync.WaitGroup
	renewed chan struct{}           // something was stored in newest
	newest  atomic.Pointer[renewal] // of a reload; nil when taken over

	// owned
	ctx          context.Context //nolint:containedctx // of run, for the peers started in it
	config       Settings
	venues       []VenueConfig
	opened       time.Time
	participants []*participant // in order of joining
	sites        map[site.ID]*share
	dirty        bool // what is shown to whom has to be decided anew
	ticks        int
	speaking     []string
	meeting      *chair.Meeting // nil: there is none
	session
	standbys []*standby // pages that wait to be called
	agenda
	pins    pinBook
	speaker speaker
	taping  *taping                // nil: nothing is recorded
	ears    []*Ears                // of those who mix for telephones
	asks    atomic.Pointer[string] // the PIN of now, for those outside of the owner; up to a second old
	dials   []*dial                // telephones that are called

	snapshots snapshots
}

func newRoom(m *Manager, c Settings, venues []VenueConfig) *Room {
	r := &Room{
		manager: m, log: m.options.Log.With(observe.Room, c.Number), mailbox: make(chan func(), mailboxSize), renewed: make(chan struct{}, 1),
		done: make(chan struct{}), config: c, venues: venues, sites: map[site.ID]*share{}, pins: pinBook{},
	}
	r.snapshots.store(r.snapshot())
	r.askFor(time.Now())
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
	r.guard(func() { r.restoreMeeting(time.Now()) })
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			clients := r.dismissAll(ctx)
			r.peers.Wait()
			farewell(clients)
			return
		case <-r.renewed:
			r.guard(r.renew)
		case f := <-r.mailbox:
			r.guard(f)
		case now := <-ticker.C:
			r.guard(func() { r.onTick(now) }) //nolint:contextcheck // a participant lives as long as the room
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
	if r.ticks%slowTicks == 1 {
		r.askFor(now)
	}
	if r.ticks%slowTicks == 0 {
		r.followSchedule(now)
	}
	if len(r.participants) == 0 && r.meeting == nil {
		return
	}
	r.updateVoices(now)
	r.tickMeeting(now)
	if r.ticks%slowTicks != 0 {
		return
	}
	for _, p := range slices.Clone(r.participants) {
		if p.client == nil && p.watch == nil && now.Sub(p.brokenAt) > resumeTime {
			r.log.Info("participant lost", observe.Participant, p.id)
			r.remove(p, "")
			continue
		}
		p.refresh(now)
	}
	r.followRecording(now)
	r.dirty = true
	r.publishSnapshot()
}

// dismissAll ends every participation at once and returns the connections whose pages are being told.
func (r *Room) dismissAll(ctx context.Context) []signal.Client {
	reason := signal.Shutdown
	if errors.Is(context.Cause(ctx), errRoomClosed) {
		reason = signal.RoomClosed
	}
	r.endTaping(reason)
	leaving := r.participants
	r.participants = nil
	clients := make([]signal.Client, 0, len(leaving))
	for _, p := range leaving {
		if p.client != nil {
			p.client.End(reason)
			clients = append(clients, p.client)
		}
	}
	for _, g := range r.guests {
		g.client.End(reason)
		clients = append(clients, g.client)
	}
	r.guests = nil
	for _, s := range r.standbys {
		s.client.End(reason)
		clients = append(clients, s.client)
	}
	r.standbys = nil
	r.phonesLeave()
	for _, p := range leaving {
		p.end()
		r.log.Info("participant left", observe.Participant, p.id, observe.Reason, reason)
	}
	r.publishSnapshot()
	return clients
}

// farewell waits until all have been told, for a moment.
func farewell(clients []signal.Client) {
	timeout := time.After(farewellTime)
	for _, c := range clients {
		select {
		case <-c.Told():
		case <-timeout:
			return
		}
	}
}

// renewal is what a reload changes in a room.
type renewal struct {
	config Settings
	venues []VenueConfig
}

// reconfigure gives the room new settings. Unlike posted work they cannot be refused; of several the last one counts.
func (r *Room) reconfigure(c Settings, venues []VenueConfig) {
	r.newest.Store(&renewal{c, venues})
	select {
	case r.renewed <- struct{}{}:
	default: // the room was told and has not looked yet
	}
}

func (r *Room) renew() {
	if n := r.newest.Swap(nil); n != nil {
		r.config, r.venues, r.dirty = n.config, n.venues, true
		if r.meeting != nil {
			r.meeting.SetVenues(r.venuePersons())
			r.tellMeeting()
		}
		r.tellStandbys()
		r.publishSnapshot()
	}
}

// admission answers a join.
type admission struct {
	seat *seat
	err  error
}

// admit answers a join to the one who waits for it until ctx ends. A seat that nobody takes is given up.
func (r *Room) admit(ctx context.Context, who auth.Principal, join signal.Request, client signal.Client, reply chan<- admission) {
	r.answer(ctx, reply, func() (*seat, error) { return r.join(who, join, client) }) //nolint:contextcheck // a participant lives longer than the request that brings it
}

// answer tells whoever waits for it until ctx ends how an admission went.
func (r *Room) answer(ctx context.Context, reply chan<- admission, admit func() (*seat, error)) {
	if ctx.Err() != nil {
		return
	}
	a := admission{err: errAdmission} // of a panic
	defer func() {
		select {
		case reply <- a:
		case <-ctx.Done():
			if a.err == nil {
				a.seat.vacate()
			}
		}
	}()
	a.seat, a.err = admit()
}

// await is the other end of answer.
func (r *Room) await(ctx context.Context, reply <-chan admission) (*seat, error) {
	select {
	case a := <-reply:
		return a.seat, a.err
	case <-r.done:
		return nil, errClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// join admits somebody.
func (r *Room) join(who auth.Principal, join signal.Request, client signal.Client) (*seat, error) {
	if join.Resume != "" {
		for _, p := range r.participants {
			if p.resume == join.Resume && p.venueID() == who.Venue && p.control == join.Control {
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
	}
	if join.Standby {
		return r.standBy(venue, client)
	}
	waits, err := r.judge(who, venue, join)
	switch {
	case err != nil:
		return nil, err
	case waits:
		id := newID()
		person := chair.Person{Member: memberOf(who, id), Name: chair.Name(nameOf(venue, who, join))}
		return r.wait(&guest{id: id, who: who, venue: venue, join: join, client: client, person: person, at: time.Now()})
	}
	p, err := r.enter(who, venue, join, client, nil)
	if err != nil {
		return nil, err
	}
	return &seat{room: r, participant: p, client: client}, nil
}

// judge says whether somebody may come in, has to wait for the chair, or is refused.
func (r *Room) judge(who auth.Principal, venue *VenueConfig, join signal.Request) (waits bool, err error) {
	entitled := leads(who) || venue != nil && r.chairs(venue)
	if join.Control {
		if entitled {
			return false, nil
		}
		return false, r.checkChairPIN(who, join.PIN)
	}
	if err := r.checkPIN(who, join.PIN); err != nil {
		return false, err
	}
	if r.meeting == nil {
		return false, nil
	}
	verdict, err := r.meeting.Admission(chair.Person{Member: memberOf(who, ""), MayChair: entitled})
	return verdict == chair.Wait, err //nolint:wrapcheck // it carries its code to the page
}

// enter makes somebody a participant.
func (r *Room) enter(who auth.Principal, venue *VenueConfig, join signal.Request, client signal.Client, phone *phoneLine) (*participant, error) {
	if venue != nil && !join.Control {
		for _, p := range slices.Clone(r.participants) {
			if p.venueID() == venue.ID && !p.control {
				r.replace(p)
			}
		}
	}
	if r.crowd() >= MaxVenues {
		return nil, signal.ErrFull
	}
	p := newParticipant(r, venue, who, join, client)
	if phone != nil {
		p.beOnPhone(phone)
	}
	if err := p.reserve(p.site); err != nil {
		r.departed(p, time.Now()) // the page that it was to replace is gone
		return nil, fmt.Errorf("%w: %w", signal.ErrFull, err)
	}
	if r.crowd() == 0 {
		r.opened = time.Now()
	}
	r.participants = append(r.participants, p)
	p.welcome()
	p.start()
	r.log.Info("participant joined", observe.Participant, p.id, observe.Site, string(p.site), "kind", p.kind)
	r.openMeeting(time.Now())
	r.arrived(p, time.Now())
	r.listChanged()
	p.brief()
	r.tellMeeting()
	return p, nil
}

// replace makes room for a newer page of the same venue, which is the same member of the meeting.
func (r *Room) replace(p *participant) {
	r.end(p, signal.Replaced)
	r.listChanged()
}

// resume gives a participant its place back.
func (r *Room) resume(p *participant, client signal.Client) *seat {
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
	p.brief()
	return &seat{room: r, participant: p, client: client, resumed: true}
}

// remove ends a participation; with a reason the client is told.
func (r *Room) remove(p *participant, reason string) {
	if !r.end(p, reason) {
		return
	}
	r.departed(p, time.Now())
	r.listChanged()
	r.tellMeeting()
}

// end takes a participant out of the room; false: it was not in it.
func (r *Room) end(p *participant, reason string) bool {
	i := slices.Index(r.participants, p)
	if i < 0 {
		return false
	}
	r.participants = slices.Delete(r.participants, i, i+1)
	if p.client != nil {
		p.client.End(reason)
	}
	p.end()
	r.log.Info("participant left", observe.Participant, p.id, observe.Reason, reason)
	return true
}

// listChanged tells everyone who is there to be seen.
func (r *Room) listChanged() {
	list := make([]signal.Participant, 0, len(r.participants))
	for _, p := range r.participants {
		if !p.hidden() {
			list = append(list, p.public())
		}
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
