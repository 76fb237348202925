package signal

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// Limits of what an act may carry.
const (
	maxActText = 4 << 10
	maxOrder   = 64
	maxMember  = 80
	maxPIN     = 32
)

// ActArguments are the fields of an act; its name says which mean something (package chair).
type ActArguments struct {
	Act     string   `json:"act"`
	Target  string   `json:"target"`
	On      bool     `json:"on"`
	Text    string   `json:"text"`
	Layout  string   `json:"layout"`
	Order   []string `json:"order"`
	Seconds int      `json:"seconds"`
	PIN     string   `json:"pin"` // of the room at a join, of the chair at a request for it
}

func (a ActArguments) check() error {
	switch {
	case len(a.Act) > maxMember || len(a.Target) > maxMember || len(a.Layout) > maxMember || len(a.PIN) > maxPIN || len(a.Text) > maxActText:
		return fmt.Errorf("%w: text too long", errMessage)
	case len(a.Order) > maxOrder:
		return fmt.Errorf("%w: more than %d members in an order", errMessage, maxOrder)
	case !utf8.ValidString(a.Text) || !utf8.ValidString(a.Target):
		return fmt.Errorf("%w: not UTF-8", errMessage)
	}
	for _, member := range a.Order {
		if len(member) > maxMember {
			return fmt.Errorf("%w: text too long", errMessage)
		}
	}
	return nil
}

// Waiting tells somebody that the chair has to let it in.
type Waiting struct {
	Type string  `json:"type"`
	Room RoomRef `json:"room"`
}

// Meeting is the order of the meeting, whole at each change.
type Meeting struct {
	Type          string         `json:"type"`
	ID            string         `json:"id"`
	Title         string         `json:"title"` // of the scheduled meeting; empty: ad hoc
	StartedAt     time.Time      `json:"started_at"`
	EndsAt        *time.Time     `json:"ends_at"`
	Chair         string         `json:"chair"`
	ChairName     *Text          `json:"chair_name"`
	ChairPresent  bool           `json:"chair_present"`
	OnAir         string         `json:"on_air"`
	Floor         string         `json:"floor"`
	View          string         `json:"view"`
	Requests      []FloorRequest `json:"requests"`
	MuteAll       bool           `json:"mute_all"`
	MayUnmute     bool           `json:"may_unmute"`
	ContentLocked bool           `json:"content_locked"`
	Presenter     string         `json:"presenter"`
	Locked        bool           `json:"locked"`
	WaitingRoom   bool           `json:"waiting_room"`
	Layout        string         `json:"layout"`
	Forced        bool           `json:"forced"`
	Banner        string         `json:"banner"`
	Caption       string         `json:"caption"`
	Poll          *Poll          `json:"poll"`
	Roll          *Roll          `json:"roll"`
	Recording     *Taping        `json:"recording"`
	Venues        []VenueState   `json:"venues"`
	You           You            `json:"you"`
}

// Taping says that the meeting is being recorded.
type Taping struct {
	Since  time.Time `json:"since"`
	ByName Text      `json:"by_name"`
	Tracks bool      `json:"tracks"` // everybody by themselves as well
}

// You is what the order means for the one who reads it.
type You struct {
	Member    string      `json:"member"`
	Chair     bool        `json:"chair"`
	MayChair  bool        `json:"may_chair"`
	MayRevoke bool        `json:"may_revoke"`
	ChairPIN  bool        `json:"chair_pin"` // who knows it may be chair
	Waiting   []Guest     `json:"waiting"`   // who wants in; only the chair is told
	Calls     []PhoneCall `json:"calls"`     // telephones that are called into the meeting; only the chair is told
}

// PhoneCall is a telephone that is called into the meeting.
type PhoneCall struct {
	ID     string    `json:"id"`
	Number string    `json:"number"`
	Name   string    `json:"name"`
	State  string    `json:"state"`  // calling, ringing, failed, cancelled; who answers is in the list of participants
	Reason string    `json:"reason"` // why nobody came, in words
	At     time.Time `json:"at"`
}

// FloorRequest is somebody who wants to speak, the first first.
type FloorRequest struct {
	Member string    `json:"member"`
	Name   Text      `json:"name"`
	At     time.Time `json:"at"`
}

// Poll shows venues in turn.
type Poll struct {
	Order      []string  `json:"order"`
	Seconds    int       `json:"seconds"`
	SkipAbsent bool      `json:"skip_absent"`
	Paused     bool      `json:"paused"`
	Current    string    `json:"current"`
	NextAt     time.Time `json:"next_at"`
}

// Roll is a roll call under way or its result.
type Roll struct {
	StartedAt time.Time   `json:"started_at"`
	Until     time.Time   `json:"until"`
	ClosedAt  *time.Time  `json:"closed_at"`
	Entries   []RollEntry `json:"entries"`
}

// RollEntry is one line of its sheet.
type RollEntry struct {
	Member     string     `json:"member"`
	Name       Text       `json:"name"`
	Present    bool       `json:"present"`
	AnsweredAt *time.Time `json:"answered_at"`
}

// VenueState is a venue of the room, there or not.
type VenueState struct {
	ID      string `json:"id"`
	Name    Text   `json:"name"`
	Site    string `json:"site"`
	Present bool   `json:"present"`
	Dropped bool   `json:"dropped"`
	// StandsBy: a page of it waits and can be called. Called: it rings.
	StandsBy bool `json:"stands_by"`
	Called   bool `json:"called"`
}

// Guest waits to be let in.
type Guest struct {
	ID   string    `json:"id"`
	Name Text      `json:"name"`
	At   time.Time `json:"at"`
}

// Chat is what was written so far, or since: append it when Whole is false.
type Chat struct {
	Type  string     `json:"type"`
	Whole bool       `json:"whole"`
	Lines []ChatLine `json:"lines"`
}

// ChatLine is one message.
type ChatLine struct {
	At     time.Time `json:"at"`
	Member string    `json:"member"`
	Name   Text      `json:"name"`
	Text   string    `json:"text"`
}

// Minutes go to chair pages: whole at first, then what is new.
type Minutes struct {
	Type  string   `json:"type"`
	Whole bool     `json:"whole"`
	List  []Minute `json:"list"`
}

// Minute is one entry.
type Minute struct {
	At         time.Time `json:"at"`
	Actor      string    `json:"actor"`
	ActorName  Text      `json:"actor_name"`
	Action     string    `json:"action"`
	Target     string    `json:"target"`
	TargetName Text      `json:"target_name"`
	Detail     string    `json:"detail"`
}

// Quality tells chair pages how everyone's line and path are, every two seconds.
type Quality struct {
	Type string        `json:"type"`
	List []QualityLine `json:"list"`
}

// QualityLine is one participant's.
type QualityLine struct {
	Participant  string  `json:"participant"`
	Line         string  `json:"line"`
	PublishBps   int64   `json:"publish_bps"`
	SubscribeBps int64   `json:"subscribe_bps"`
	LossPercent  float64 `json:"loss_percent"`
	RTTMs        float64 `json:"rtt_ms"`
}
