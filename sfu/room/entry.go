package room

import (
	"crypto/subtle"
	"slices"
	"time"

	"linehall/internal/auth"
	"linehall/sfu/chair"
	"linehall/sfu/signal"
)

// guest waits to be let in by the chair.
type guest struct {
	id     string
	who    auth.Principal
	venue  *VenueConfig
	join   signal.Request
	client signal.Client
	seat   *seat
	person chair.Person
	at     time.Time
	phone  *phoneLine // nil: a page
}

// maxGuests bounds who may wait at a room.
const maxGuests = 32

// memberOf is the key by which the meeting knows somebody: it outlives connections and restarts.
func memberOf(who auth.Principal, id string) string {
	switch {
	case who.Venue != "":
		return who.Venue
	case who.Kind == auth.KindUser && who.Name != "":
		return "user:" + who.Name
	case who.Kind == auth.KindToken && who.ID != "":
		return "token:" + who.ID
	}
	return "guest:" + id
}

// leads says whether somebody's role is to lead meetings; such people may also take the chair from others.
func leads(who auth.Principal) bool { return who.Is(auth.Admin, auth.Operator, auth.Chair) }

// chairs says whether a venue may be chair: the configured ones, or else those of the main site.
func (r *Room) chairs(v *VenueConfig) bool {
	if len(r.config.Chairs) > 0 {
		return slices.Contains(r.config.Chairs, v.ID)
	}
	atlas := r.manager.options.Atlas
	return atlas != nil && v.Site == atlas.Main()
}

func (p *participant) mayChair() bool {
	return p.leads || p.knowsPIN || p.venue != nil && p.room.chairs(p.venue)
}

func (p *participant) person() chair.Person {
	return chair.Person{Member: p.member, Name: chair.Name(p.name), MayChair: p.mayChair()}
}

func (p *participant) actor() chair.Actor {
	return chair.Actor{Member: p.member, Name: chair.Name(p.name), MayChair: p.mayChair(), MayRevoke: p.leads || p.knowsPIN, Controller: p.control}
}

// checkPIN asks guests for the room's PIN: staff who are neither a venue of it nor lead meetings.
func (r *Room) checkPIN(who auth.Principal, pin string) error {
	want := r.pin(time.Now())
	if want == "" || who.Kind == auth.KindDevice || who.Room == r.config.Number || leads(who) {
		return nil
	}
	return r.pins.check("room "+memberOf(who, ""), pin, want, time.Now())
}

// checkChairPIN lets somebody be chair who is not entitled otherwise.
func (r *Room) checkChairPIN(who auth.Principal, pin string) error {
	if r.config.ChairPIN.Reveal() == "" {
		return signal.ErrForbidden
	}
	return r.pins.check("chair "+memberOf(who, ""), pin, r.config.ChairPIN.Reveal(), time.Now())
}

const (
	pinTries = 3
	pinPause = 5 * time.Minute
	maxPINs  = 1024 // principals; more than an appliance has accounts
)

// pinBook counts wrong PINs per principal.
type pinBook map[string]*pinCount

type pinCount struct {
	wrong int
	last  time.Time
}

// check compares a PIN. After pinTries wrong ones nothing is compared for a while.
func (b pinBook) check(key, pin, want string, now time.Time) error {
	for k, c := range b {
		if now.Sub(c.last) > pinPause {
			delete(b, k)
		}
	}
	c := b[key]
	switch {
	case c != nil && c.wrong >= pinTries:
		return signal.ErrPINLocked
	case pin == "":
		return signal.ErrPIN
	case subtle.ConstantTimeCompare([]byte(pin), []byte(want)) == 1:
		delete(b, key)
		return nil
	case c == nil && len(b) >= maxPINs:
		return signal.ErrPINLocked
	case c == nil:
		c = &pinCount{}
		b[key] = c
	}
	c.wrong++
	c.last = now
	if c.wrong >= pinTries {
		return signal.ErrPINLocked
	}
	return signal.ErrWrongPIN
}

// wait has somebody wait for the chair.
func (r *Room) wait(g *guest) (*seat, error) {
	r.guests = slices.DeleteFunc(r.guests, func(o *guest) bool {
		if o.person.Member != g.person.Member {
			return false
		}
		o.client.End(signal.Replaced)
		return true
	})
	if len(r.guests) >= maxGuests {
		return nil, signal.ErrFull
	}
	g.seat = &seat{room: r, client: g.client, guest: g}
	r.guests = append(r.guests, g)
	g.client.Send(signal.Waiting{Type: "waiting", Room: signal.RoomRef{Number: r.config.Number, Name: r.config.Name}})
	now := time.Now()
	r.record([]chair.Minute{{At: now, Actor: g.person.Member, ActorName: g.person.Name, Action: chair.Waiting}}, now)
	r.tellMeeting()
	return g.seat, nil
}

// admitGuests lets in one who waits, or all.
func (r *Room) admitGuests(id string) {
	for _, g := range slices.Clone(r.guests) {
		if id != chair.Everybody && g.id != id {
			continue
		}
		r.forget(g)
		p, err := r.enter(g.who, g.venue, g.join, g.client, g.phone)
		if err != nil {
			g.client.Send(signal.Error{Type: "error", Code: signal.CodeOf(err), Message: err.Error(), Request: "join"})
			g.client.End("")
			continue
		}
		g.seat.participant, g.seat.guest = p, nil
	}
}

func (r *Room) turnAway(id string) {
	if i := slices.IndexFunc(r.guests, func(g *guest) bool { return g.id == id }); i >= 0 {
		r.guests[i].client.End(signal.TurnedAway)
		r.guests = slices.Delete(r.guests, i, i+1)
	}
}

// forget removes somebody who waits from the list.
func (r *Room) forget(g *guest) bool {
	before := len(r.guests)
	r.guests = slices.DeleteFunc(r.guests, func(o *guest) bool { return o == g })
	return len(r.guests) < before
}
