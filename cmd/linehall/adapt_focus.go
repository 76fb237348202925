package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"linehall/internal/site"
	"linehall/sfu/chair"
	"linehall/sfu/forward"
	"linehall/sfu/room"
	"linehall/sfu/signal"
	"linehall/sip/focus"
)

// focusRooms are the meeting rooms as the focus sees them.
type focusRooms struct{ rooms *room.Manager }

// Room implements focus.Rooms.
func (f focusRooms) Room(number string) (focus.Room, bool) {
	r, ok := f.rooms.PhoneRoom(number)
	return focus.Room{Number: r.Number, Name: r.Name, NeedsPIN: r.NeedsPIN, PINDigits: r.PINDigits, Voices: r.Voices}, ok
}

// Check implements focus.Rooms.
func (f focusRooms) Check(number, pin string) focus.Role {
	switch f.rooms.CheckPIN(number, pin) {
	case room.PINGuest:
		return focus.Guest
	case room.PINChair:
		return focus.Chair
	}
	return focus.Nobody
}

// Join implements focus.Rooms.
func (f focusRooms) Join(ctx context.Context, number string, who focus.Caller, to focus.Listener) (focus.Seat, error) {
	c := &phoneClient{to: to, told: make(chan struct{}), takesChair: who.Chair && who.Member == ""}
	s, err := f.rooms.JoinPhone(ctx, number, room.Phone{
		Number: who.Number, Name: who.Name, Site: site.ID(who.Site), Chair: who.Chair, Invited: who.Invited, Member: who.Member,
	}, c)
	if err != nil {
		return nil, focusError(err)
	}
	return c.seated(s), nil
}

// Listen implements focus.Rooms.
func (f focusRooms) Listen(number string, takes []func([]byte)) (stop func()) {
	taps := make([]*forward.Slot, 0, len(takes))
	for _, take := range takes {
		taps = append(taps, forward.NewTap(take))
	}
	return f.rooms.Listen(number, taps)
}

func focusError(err error) error {
	switch {
	case errors.Is(err, signal.ErrNotFound):
		return focus.ErrNoRoom
	case errors.Is(err, signal.ErrFull):
		return focus.ErrFull
	case errors.Is(err, chair.ErrLocked):
		return focus.ErrLocked
	case errors.Is(err, chair.ErrDropped):
		return focus.ErrDropped
	}
	return err
}

// phoneClient is a telephone as its room sees it: what a page would be sent becomes events.
type phoneClient struct {
	to   focus.Listener
	once sync.Once
	told chan struct{}

	mu         sync.Mutex // guards what follows; the room and the telephone use it
	seat       *room.PhoneSeat
	id         string // of the participant; "" while it waits
	member     string
	muted      bool
	hand       bool
	meeting    signal.Meeting
	asked      focus.Act // what waits for its outcome
	takesChair bool
}

// seated gives it its way back.
func (c *phoneClient) seated(s *room.PhoneSeat) *phoneSeat {
	c.mu.Lock()
	c.seat = s
	take := c.takesChair && c.id != ""
	c.mu.Unlock()
	seat := &phoneSeat{client: c, seat: s, uplink: s.Uplink()}
	if take {
		seat.Press(focus.TakeChair)
	}
	return seat
}

// Send implements signal.Client. It is called by the room's goroutine.
func (c *phoneClient) Send(message any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m := message.(type) {
	case signal.Waiting:
		c.to.Tell(focus.Waiting)
	case signal.Welcome:
		c.id = m.Participant
		c.to.Tell(focus.Entered)
	case signal.Participants:
		if i := slices.IndexFunc(m.List, func(p signal.Participant) bool { return p.ID == c.id }); i >= 0 {
			c.follow(m.List[i])
		}
	case signal.Meeting:
		c.order(m)
	case signal.Error:
		if m.Request == "act" || m.Request == "mute" {
			c.asked = 0
			c.to.Tell(focus.Refused)
		}
	}
}

// follow tells that it is heard, or not any more.
func (c *phoneClient) follow(p signal.Participant) {
	if p.AudioMuted == c.muted {
		return
	}
	c.muted = p.AudioMuted
	e := focus.Unmuted
	if c.muted {
		e = focus.Muted
	}
	c.to.Tell(e)
}

// order takes the order of the meeting.
func (c *phoneClient) order(m signal.Meeting) {
	c.meeting, c.member = m, m.You.Member
	hand := slices.ContainsFunc(m.Requests, func(r signal.FloorRequest) bool { return r.Member == c.member })
	if hand != c.hand {
		c.hand, c.asked = hand, 0
		e := focus.HandDown
		if hand {
			e = focus.HandUp
		}
		c.to.Tell(e)
	}
	if c.asked != 0 {
		c.asked = 0
		c.to.Tell(focus.Done)
	}
}

// End implements signal.Client.
func (c *phoneClient) End(reason string) {
	c.once.Do(func() {
		close(c.told)
		switch reason {
		case signal.Shutdown:
			c.to.Tell(focus.Interrupts)
		case signal.Dropped:
			c.to.Over("the chair has ended your part in the meeting")
		case signal.TurnedAway:
			c.to.Over("the chair did not let you in")
		case signal.Over:
			c.to.Over("the meeting has ended")
		case signal.RoomClosed:
			c.to.Over("the meeting room was closed")
		default:
			c.to.Over("you have left the meeting")
		}
	})
}

// Told implements signal.Client.
func (c *phoneClient) Told() <-chan struct{} { return c.told }

// phoneSeat is a room as a telephone sees it.
type phoneSeat struct {
	client *phoneClient
	seat   *room.PhoneSeat
	uplink *forward.Uplink
}

// Voice implements focus.Seat.
func (s *phoneSeat) Voice(c focus.Codec, datagram []byte) {
	codec := forward.PCMA
	switch c {
	case focus.PCMU:
		codec = forward.PCMU
	case focus.G722:
		codec = forward.G722
	case focus.PCMA:
	}
	s.uplink.Voice(codec, datagram, time.Now())
}

// Pass implements focus.Seat.
func (s *phoneSeat) Pass(datagram []byte) { s.uplink.Pass(datagram, time.Now()) }

// Level implements focus.Seat.
func (s *phoneSeat) Level(below uint8) {
	s.uplink.Track(forward.Microphone).NoteLevel(below, time.Now())
}

// Member implements focus.Seat.
func (s *phoneSeat) Member() string { return s.seat.Key() }

// Leave implements focus.Seat.
func (s *phoneSeat) Leave() {
	s.client.once.Do(func() { close(s.client.told) }) // it knows
	s.seat.Leave()
}

// Press implements focus.Seat.
func (s *phoneSeat) Press(a focus.Act) {
	c := s.client
	c.mu.Lock()
	q := c.request(a)
	if q.Type != "mute" {
		c.asked = a
	}
	c.mu.Unlock()
	if q.Type == "" {
		c.to.Tell(focus.Refused)
		return
	}
	s.seat.Handle(q)
}

// request is what an act asks of the room, as the meeting stands; c.mu is held.
func (c *phoneClient) request(a focus.Act) signal.Request {
	act := func(name string) signal.Request {
		return signal.Request{Type: "act", ActArguments: signal.ActArguments{Act: name}}
	}
	m := &c.meeting
	switch a {
	case focus.ToggleMute:
		return signal.Request{Type: "mute", Media: "audio", Muted: !c.muted}
	case focus.ToggleHand:
		if c.hand {
			return act(chair.WithdrawFloor)
		}
		return act(chair.RequestFloor)
	case focus.AnswerRoll:
		return act(chair.AnswerRoll)
	case focus.TakeChair:
		if m.You.Chair {
			return act(chair.ReleaseChair)
		}
		return act(chair.RequestChair)
	case focus.MuteAll:
		q := act(chair.MuteAll)
		q.On = !m.MuteAll
		return q
	case focus.NextSpeaker:
		if len(m.Requests) == 0 {
			c.asked = 0
			return signal.Request{}
		}
		q := act(chair.GiveFloor)
		q.Target = m.Requests[0].Member
		return q
	case focus.Discussion:
		return act(chair.Discussion)
	case focus.LockRoom:
		q := act(chair.LockRoom)
		q.On = !m.Locked
		return q
	case focus.EndMeeting:
		return act(chair.End)
	}
	return signal.Request{}
}

// focusDialler calls telephones into meetings for the rooms.
type focusDialler struct{ focus *focus.Service }

// Dial implements room.Dialler.
func (d focusDialler) Dial(number, phone string, progress func(room.DialProgress)) (cancel func(), err error) {
	return d.focus.Dial(number, phone, func(p focus.Progress) {
		progress(room.DialProgress{State: string(p.State), Reason: p.Reason, Name: p.Name})
	})
}
