package room

import (
	"context"
	"crypto/subtle"
	"slices"
	"strconv"
	"time"

	"linehall/internal/auth"
	"linehall/internal/site"
	"linehall/sfu/chair"
	"linehall/sfu/forward"
	"linehall/sfu/peer"
	"linehall/sfu/signal"
)

// Telephones in a meeting. A telephone is a participant like any other, but that its connection is a call of the exchange
// (sip/focus): what it says is given to its uplink, and it hears what the focus mixes. Its line is booked by its call.

// Phone is who comes by telephone.
type Phone struct {
	Number string // "" is one that is withheld
	Name   string
	Site   site.ID
	// Chair says that it knew the PIN of the chair, Invited that it was called into the meeting: it neither waits nor stands
	// before a locked door.
	Chair, Invited bool
	// Member is who it was before a restart.
	Member string
}

// The roles that a PIN gives a telephone.
const (
	PINWrong = iota
	PINGuest // of the room
	PINChair
)

// PhoneRoom is what a telephone has to know of a room before it is in it.
type PhoneRoom struct {
	Number, Name string
	NeedsPIN     bool
	PINDigits    []int  // how long its PINs are
	Class        string // of service, of what it calls
	Voices       int
}

// kindPhone is the kind of participants that are telephones.
const kindPhone = "phone"

// principalPhone is the kind of principal that a telephone is: it proves nothing but its number, and a PIN.
const principalPhone = auth.Kind("phone")

// phoneLine is a telephone on its way into a room.
type phoneLine struct {
	Phone
	member string
	peer   *peer.Peer
}

// PhoneSeat is a telephone's place in a room.
type PhoneSeat struct {
	signal.Member
	uplink *forward.Uplink
	key    string
}

// Key is who it is in the meeting.
func (s *PhoneSeat) Key() string { return s.key }

// Leave ends its part.
func (s *PhoneSeat) Leave() { s.Remove() }

// Uplink takes what the telephone says.
func (s *PhoneSeat) Uplink() *forward.Uplink { return s.uplink }

// PhoneRoom describes a room; false: there is none of that number.
func (m *Manager) PhoneRoom(number string) (PhoneRoom, bool) {
	c, asked, ok := m.asked(number)
	if !ok {
		return PhoneRoom{}, false
	}
	shown := PhoneRoom{Number: c.Number, Name: c.Name, NeedsPIN: asked != "", Class: c.Class, Voices: c.Voices}
	for _, pin := range []string{asked, c.ChairPIN.Reveal()} {
		if n := len(pin); n > 0 && !slices.Contains(shown.PINDigits, n) {
			shown.PINDigits = append(shown.PINDigits, n)
		}
	}
	return shown, true
}

// asked returns a room's settings and the PIN that it asks for now: a planned meeting may have one of its own.
func (m *Manager) asked(number string) (c Settings, pin string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.config.Rooms, func(c Settings) bool { return c.Number == number })
	r := m.byID[number]
	if i < 0 || r == nil {
		return Settings{}, "", false
	}
	return m.config.Rooms[i], *r.asks.Load(), true
}

// askFor notes which PIN is asked for now.
func (r *Room) askFor(now time.Time) {
	pin := r.pin(now)
	r.asks.Store(&pin)
}

// CheckPIN says what a PIN opens. How often somebody may try is the caller's business.
func (m *Manager) CheckPIN(number, pin string) int {
	c, asked, ok := m.asked(number)
	same := func(want string) bool {
		return want != "" && subtle.ConstantTimeCompare([]byte(pin), []byte(want)) == 1
	}
	switch {
	case !ok:
		return PINWrong
	case same(c.ChairPIN.Reveal()):
		return PINChair
	case same(asked):
		return PINGuest
	}
	return PINWrong
}

// JoinPhone brings a telephone into a room; whoever has to wait for the chair has a seat as well.
func (m *Manager) JoinPhone(ctx context.Context, number string, who Phone, client signal.Client) (*PhoneSeat, error) {
	r := m.room(number)
	if r == nil {
		return nil, signal.ErrNotFound
	}
	line := &phoneLine{Phone: who, peer: peer.NewVoice(peer.Options{
		Plane: m.options.Plane, Log: r.log, Metrics: m.metrics, Dropped: m.options.Dropped,
	})}
	reply := make(chan admission)                                                                             // unbuffered: what was sent has arrived
	if !r.post(func() { r.answer(ctx, reply, func() (*seat, error) { return r.joinPhone(line, client) }) }) { //nolint:contextcheck // a participant lives longer than the request that brings it
		return nil, peer.ErrBusy
	}
	s, err := r.await(ctx, reply)
	if err != nil {
		return nil, err
	}
	return &PhoneSeat{Member: s, uplink: line.peer.Uplink(), key: line.member}, nil
}

// joinPhone admits a telephone, whose PIN was checked.
func (r *Room) joinPhone(p *phoneLine, client signal.Client) (*seat, error) {
	p.member = r.phoneMember(p)
	who := auth.Principal{Kind: principalPhone, Name: p.Number, Site: p.Site}
	join := signal.Request{Type: "join", Name: p.shown()}
	if r.meeting != nil && !p.Invited {
		verdict, err := r.meeting.Admission(chair.Person{Member: p.member, MayChair: p.Chair})
		if err != nil {
			return nil, err //nolint:wrapcheck // it carries its code
		}
		if verdict == chair.Wait {
			person := chair.Person{Member: p.member, Name: chair.Name{Zh: join.Name, En: join.Name}}
			return r.wait(&guest{id: newID(), who: who, join: join, client: client, person: person, at: time.Now(), phone: p})
		}
	}
	joined, err := r.enter(who, nil, join, client, p)
	if err != nil {
		return nil, err
	}
	return &seat{room: r, participant: joined, client: client}, nil
}

// shown is what it is called.
func (p *phoneLine) shown() string {
	switch {
	case p.Name != "" && p.Number != "" && p.Name != p.Number:
		return p.Name + " " + p.Number
	case p.Number != "":
		return p.Number
	}
	return "anonymous"
}

// phoneMember is the key by which the meeting knows a telephone: its number, so that who calls again is the same; a second
// one of the same number beside it has a key of its own.
func (r *Room) phoneMember(p *phoneLine) string {
	base := "phone:" + p.Number
	if p.Number == "" {
		base = "phone:anonymous"
	}
	taken := func(member string) bool {
		return slices.ContainsFunc(r.participants, func(o *participant) bool { return o.member == member }) ||
			slices.ContainsFunc(r.guests, func(g *guest) bool { return g.person.Member == member })
	}
	if p.Member != "" && !taken(p.Member) {
		return p.Member
	}
	member := base
	for n := 2; taken(member); n++ {
		member = base + "#" + strconv.Itoa(n)
	}
	return member
}

// beOnPhone makes a new participant a telephone: it has no pictures, and its sound is its call's.
func (p *participant) beOnPhone(line *phoneLine) {
	p.phone, p.kind, p.member, p.knowsPIN = line, kindPhone, line.member, line.Chair
	p.audio, p.video, p.voices = nil, nil, 0
	p.peer = line.peer
}

// Ears are voices of the room's venues that somebody who mixes them for telephones listens to.
type Ears struct {
	taps []*forward.Slot
	on   []audioSlot
}

// Listen gives the loudest voices of the room's venues, in Opus, to the taps (forward.NewTap) until stop is called.
func (m *Manager) Listen(number string, taps []*forward.Slot) (stop func()) {
	r := m.room(number)
	if r == nil {
		return func() {}
	}
	ears := &Ears{taps: taps, on: make([]audioSlot, len(taps))}
	r.insist(func() { r.ears = append(r.ears, ears) })
	return func() {
		r.insist(func() {
			r.ears = slices.DeleteFunc(r.ears, func(o *Ears) bool { return o == ears })
			for _, t := range taps {
				t.Follow(nil)
			}
		})
	}
}

// insist hands work to the room that must not get lost: it may wait for a full mailbox.
func (r *Room) insist(f func()) {
	select {
	case r.mailbox <- f:
	case <-r.done:
	}
}

// listen puts the loudest of the venues on the taps; telephones are in the mix already.
func (r *Room) listen(loudest []*participant) {
	venues := slices.DeleteFunc(slices.Clone(loudest), func(p *participant) bool { return p.phone != nil })
	for _, e := range r.ears {
		follow(e.taps, e.on, venues[:min(len(venues), len(e.taps))])
	}
}

// follow puts the chosen voices on slots; those on one already stay there. It reports whether that changed anything.
func follow(slots []*forward.Slot, on []audioSlot, chosen []*participant) (changed bool) {
	waiting := slices.DeleteFunc(slices.Clone(chosen), func(o *participant) bool {
		return slices.ContainsFunc(on, func(a audioSlot) bool { return a.participant == o.id })
	})
	for i := range on {
		current := on[i].participant
		if j := slices.IndexFunc(chosen, func(o *participant) bool { return o.id == current }); j >= 0 {
			slots[i].Follow(chosen[j].microphone()) // the same layer, unless the publisher came back with a new connection
			continue
		}
		if len(waiting) > 0 {
			on[i].participant = waiting[0].id
			slots[i].Follow(waiting[0].microphone())
			waiting = waiting[1:]
			changed = true
		} else if current != "" {
			on[i].participant = ""
			slots[i].Follow(nil)
			changed = true
		}
	}
	return changed
}

// phonesLeave is the room's end for its taps.
func (r *Room) phonesLeave() {
	for _, e := range r.ears {
		for _, t := range e.taps {
			t.Follow(nil)
		}
	}
	r.ears = nil
}
