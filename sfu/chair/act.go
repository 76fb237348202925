package chair

import (
	"fmt"
	"time"
)

// The acts.
const (
	RequestChair  = "chair.request"
	ReleaseChair  = "chair.release"
	RevokeChair   = "chair.revoke"
	StartRoll     = "roll.start"
	AnswerRoll    = "roll.answer"
	CloseRoll     = "roll.close"
	ViewVenue     = "view"
	Broadcast     = "broadcast"
	GiveFloor     = "floor.give"
	RequestFloor  = "floor.request"
	WithdrawFloor = "floor.withdraw"
	DeclineFloor  = "floor.decline"
	Discussion    = "discussion"
	StartPoll     = "poll.start"
	NextInPoll    = "poll.next"
	PausePoll     = "poll.pause"
	StopPoll      = "poll.stop"
	MuteOne       = "mute.one"
	MuteAll       = "mute.all"
	AllowUnmute   = "mute.allow"
	CameraOff     = "camera.off"
	LockContent   = "content.lock"
	LockRoom      = "room.lock"
	KeepWaiting   = "room.waiting"
	Admit         = "room.admit"
	TurnAway      = "room.turn_away"
	SetLayout     = "layout"
	SetBanner     = "banner"
	SetCaption    = "caption"
	Chat          = "chat"
	AddVenue      = "venue.add"
	DropVenue     = "venue.drop"
	CallVenue     = "venue.call"   // the page of it that stands by rings
	CallPhone     = "phone.call"   // into the meeting; the text is its number
	CancelPhone   = "phone.cancel" // while it rings
	Extend        = "extend"
	End           = "end"
	StartRecord   = "record.start"
	StopRecord    = "record.stop"
)

// Entries of the minutes that no act makes.
const (
	Opened     = "opened"
	Booked     = "booked"   // it is the meeting that was scheduled
	Declined   = "declined" // a venue that was called does not want to come
	Joined     = "joined"
	Left       = "left"
	Waiting    = "waiting"
	Refused    = "refused"
	PollTurn   = "poll.turn"
	TimeUp     = "time_up"
	LeftEmpty  = "empty"
	UnmuteSelf = "unmuted_self"
	RecordLost = "record.failed"
	// PhoneFailed: who was called did not come.
	PhoneFailed = "phone.failed"
)

// Act is what somebody wants to be done; the name says which fields mean something.
type Act struct {
	Name    string
	Target  string // a member; "" with some acts: nobody, or all
	On      bool
	Text    string
	Layout  Layout
	Order   []string
	Seconds int
}

// Actor is who wants it.
type Actor struct {
	Member     string
	Name       Name
	MayChair   bool // may take a chair that is free
	MayRevoke  bool // may take the chair from somebody
	Controller bool // sits at a chair page only: is not there to be seen or heard
}

// Person is somebody in the room.
type Person struct {
	Member   string
	Name     Name
	MayChair bool
}

// Minute is an entry of the minutes.
type Minute struct {
	At         time.Time
	Actor      string // "" = the system
	ActorName  Name
	Action     string
	Target     string
	TargetName Name
	Detail     string
}

// Outcome is what the owner of the meeting has to do besides following the state.
type Outcome struct {
	Minutes []Minute
	Drop    string   // remove this member
	Admit   []string // let these in
	Away    string   // turn this one away
	Chat    string   // tell this to all
	Call    []string // ring these venues
	Dial    string   // call this number
	Cancel  string   // give up this call
	End     bool     // end the meeting
}

// Error is a refusal with a code for pages.
type Error struct{ Code, Text string }

func (e *Error) Error() string { return e.Text }

// ErrorCode is the code for pages.
func (e *Error) ErrorCode() string { return e.Code }

// The refusals.
var (
	ErrNotChair   = &Error{"not_chair", "only the chair may do that"}
	ErrForbidden  = &Error{"forbidden", "you may not do that"}
	ErrChairHeld  = &Error{"chair_held", "somebody else has the chair"}
	ErrAbsent     = &Error{"absent", "that venue is not in the meeting"}
	ErrNoChair    = &Error{"no_chair", "nobody has the chair"}
	ErrMuted      = &Error{"muted_by_chair", "the chair has muted this venue"}
	ErrDark       = &Error{"camera_off_by_chair", "the chair has switched this camera off"}
	ErrContent    = &Error{"content_locked", "the chair has locked sharing"}
	ErrNotNow     = &Error{"not_now", "there is nothing to do that to"}
	ErrLocked     = &Error{"locked", "the meeting is locked"}
	ErrNoPage     = &Error{"unreachable", "no page of that venue stands by"}
	ErrRecording  = &Error{"recording", "the meeting is being recorded already"}
	ErrBooked     = &Error{"booked", "the room is booked then"}
	ErrDropped    = &Error{"dropped", "the chair has dropped this venue from the meeting"}
	errUnknownAct = &Error{"bad_message", "no such act"}
)

func bad(format string, args ...any) error {
	return &Error{"bad_message", fmt.Sprintf(format, args...)}
}
