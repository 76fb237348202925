package chair

import "time"

// Bounds of what a meeting remembers: everything in it may come from a page.
const (
	MaxMembers  = 256 // people and venues that a meeting knows
	MaxText     = 200 // runes of a banner or a caption
	MaxChat     = 1000
	MaxOrder    = 64 // venues of a poll
	MinInterval = 5 * time.Second
	MaxInterval = time.Hour
	MaxExtend   = 8 * time.Hour
)

// Name is a name in both languages.
type Name struct {
	Zh string `json:"zh"`
	En string `json:"en"`
}

// Layout is how a page arranges pictures.
type Layout string

// The layouts.
const (
	Auto    Layout = ""        // as the page likes
	Single  Layout = "single"  // the programme alone
	Speaker Layout = "speaker" // the programme large, the others in a strip
	Grid    Layout = "grid"    // all alike
	Corner  Layout = "pip"     // the programme, oneself small in a corner
	Lecture Layout = "lecture" // the audience sees the programme; who is on air and the chair see everybody
)

func (l Layout) valid() bool {
	switch l {
	case Auto, Single, Speaker, Grid, Corner, Lecture:
		return true
	}
	return false
}

// Request is somebody who wants the floor.
type Request struct {
	Member string    `json:"member"`
	Name   Name      `json:"name"`
	At     time.Time `json:"at"`
}

// Poll shows venues one after the other.
type Poll struct {
	Order      []string      `json:"order"`
	Interval   time.Duration `json:"interval"`
	SkipAbsent bool          `json:"skip_absent"`
	Paused     bool          `json:"paused"`
	At         int           `json:"at"` // index in Order
	Next       time.Time     `json:"next"`
}

// Roll is a roll call; the last one stays as the result sheet.
type Roll struct {
	StartedAt time.Time   `json:"started_at"`
	Until     time.Time   `json:"until"`
	ClosedAt  time.Time   `json:"closed_at,omitzero"`
	Entries   []RollEntry `json:"entries"`
}

// Open says whether answers are still taken.
func (r *Roll) Open() bool { return r != nil && r.ClosedAt.IsZero() }

// RollEntry is a line of the sheet.
type RollEntry struct {
	Member     string    `json:"member"`
	Name       Name      `json:"name"`
	Present    bool      `json:"present"`
	AnsweredAt time.Time `json:"answered_at,omitzero"`
}

// Booking is what a meeting was scheduled as.
type Booking struct {
	Key      string    `json:"key"` // names it for ever
	Title    string    `json:"title"`
	StartsAt time.Time `json:"starts_at"`
	EndsAt   time.Time `json:"ends_at"`
	AutoEnd  bool      `json:"auto_end"` // the meeting ends by itself then, unless it is extended
	Venues   []string  `json:"venues"`   // are called at the start
}

// State is the order of a meeting; its JSON is what is stored.
type State struct {
	Meeting   string    `json:"meeting"`
	Booking   *Booking  `json:"booking,omitempty"` // nil: ad hoc
	StartedAt time.Time `json:"started_at"`
	EndsAt    time.Time `json:"ends_at,omitzero"` // zero: open end

	Chair string `json:"chair"`
	OnAir string `json:"on_air"` // whose picture everybody sees; "": nobody's in particular
	Floor string `json:"floor"`  // who may speak besides the chair; "": no floor was given
	View  string `json:"view"`   // whom the chair looks at; "": the programme

	Requests  []Request       `json:"requests"`
	Muted     map[string]bool `json:"muted"`      // by the chair
	CameraOff map[string]bool `json:"camera_off"` // by the chair
	MuteAll   bool            `json:"mute_all"`   // who comes is muted
	MayUnmute bool            `json:"may_unmute"` // whoever was muted by the chair may speak again by itself

	ContentLocked bool   `json:"content_locked"`
	Presenter     string `json:"presenter"` // who may share besides the chair while content is locked

	Locked      bool            `json:"locked"`
	WaitingRoom bool            `json:"waiting_room"`
	Known       map[string]Name `json:"known"`   // were in the meeting: locks let them back in
	Dropped     map[string]bool `json:"dropped"` // may not come back

	Layout Layout `json:"layout"`
	Forced bool   `json:"forced"` // the layout is everybody's

	Banner  string `json:"banner"`
	Caption string `json:"caption"`
	Poll    *Poll  `json:"poll"`
	Roll    *Roll  `json:"roll"`

	Recording *Recording `json:"recording,omitempty"`
}

// Silent says whether the chair has muted a member.
func (s *State) Silent(member string) bool { return s.Muted[member] }

// Dark says whether the chair has switched a member's camera off.
func (s *State) Dark(member string) bool { return s.CameraOff[member] }

// MayShare says whether a member may share content.
func (s *State) MayShare(member string) bool {
	return !s.ContentLocked || member == s.Presenter || s.Chair != "" && member == s.Chair
}

// MayUnmuteSelf says whether a member that the chair muted may undo that itself.
func (s *State) MayUnmuteSelf() bool { return s.MayUnmute && s.Floor == "" }
