package focus

import (
	"context"
	"errors"
)

// Errors of Rooms.Join that a telephone is told in words.
var (
	ErrNoRoom  = errors.New("there is no such meeting room")
	ErrLocked  = errors.New("the meeting is locked")
	ErrDropped = errors.New("the chair has ended your part in this meeting")
	ErrFull    = errors.New("the meeting takes no more participants")
)

// Room is what a telephone has to know of a room before it is in it.
type Room struct {
	Number, Name string
	NeedsPIN     bool
	PINDigits    []int // how long the PINs are that mean something
	Voices       int   // of venues that are heard at once
}

// Role is what a PIN opens.
type Role uint8

// The roles.
const (
	Nobody Role = iota
	Guest
	Chair
)

// Caller is who is at a telephone.
type Caller struct {
	Number  string `json:"number"` // "" is one that is withheld
	Name    string `json:"name"`
	Site    string `json:"site"`
	Outside bool   `json:"outside"` // behind a trunk: the number can be forged
	Call    string `json:"call"`    // the id of its call's record; "" of one that we made
	Chair   bool   `json:"chair"`   // it knew the PIN of the chair
	Invited bool   `json:"invited"` // it was called into the meeting
	Member  string `json:"member"`  // who it was in the meeting before a restart
}

// Act is what a key asks for.
type Act uint8

// The acts.
const (
	ToggleMute Act = iota + 1
	ToggleHand
	AnswerRoll
	TakeChair // or give it back
	MuteAll   // or let all speak
	NextSpeaker
	Discussion
	LockRoom // or unlock
	EndMeeting
)

// Codec is what a telephone's voice is encoded in.
type Codec uint8

// The codecs.
const (
	PCMU Codec = iota + 1
	PCMA
	G722
)

// Seat is a telephone's place in a room.
type Seat interface {
	// Voice takes an RTP packet of the voice, Pass one of something else (a key). They are borrowed, and come from one
	// goroutine.
	Voice(c Codec, datagram []byte)
	Pass(datagram []byte)
	// Level takes how loud the voice is, in dB below overload up to 127; every 20 ms.
	Level(below uint8)
	// Press does what a key asks for; what came of it is told by Events.
	Press(a Act)
	// Member is who it is in the meeting.
	Member() string
	// Leave ends its part.
	Leave()
}

// Event is what a room tells a telephone.
type Event uint8

// The events.
const (
	Entered    Event = iota + 1 // it is in the meeting
	Waiting                     // the chair has to let it in
	Muted                       // nobody hears it
	Unmuted                     // it is heard
	HandUp                      // it is on the list of those who want the floor
	HandDown                    // it is not any more
	Done                        // what its key asked for was done
	Refused                     // it was not
	Interrupts                  // the process ends: the call goes on with the next one
)

// Listener hears what a room tells a telephone. Its methods are called by any goroutine and do not wait.
type Listener interface {
	Tell(e Event)
	// Over ends its part in the meeting; why is for people.
	Over(why string)
}

// Rooms is what the focus needs of the meeting rooms.
type Rooms interface {
	// Room describes a room; false: there is none.
	Room(number string) (Room, bool)
	// Check says what a PIN opens.
	Check(number, pin string) Role
	// Join brings a telephone in, or lets it wait.
	Join(ctx context.Context, number string, who Caller, to Listener) (Seat, error)
	// Listen gives the packets of the loudest venues to takes, as streams of RTP with Opus under the payload type 111, until
	// stop is called. A packet is borrowed.
	Listen(number string, takes []func(datagram []byte)) (stop func())
}
