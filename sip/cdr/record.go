package cdr

import "time"

// Results of a call.
const (
	Answered  = "answered"
	NoAnswer  = "no_answer"
	Busy      = "busy"
	Cancelled = "cancelled"
	Refused   = "refused" // by us: unknown number, forbidden, line full, limits
	Failed    = "failed"
)

// Record is one call. Its JSON is that of the API.
type Record struct {
	ID          string     `json:"id"`      // ULID, ours
	CallID      string     `json:"call_id"` // the caller's SIP Call-ID
	StartedAt   time.Time  `json:"started_at"`
	AnsweredAt  *time.Time `json:"answered_at"`
	EndedAt     *time.Time `json:"ended_at"`
	Seconds     int64      `json:"duration_seconds"` // from answer to end
	From        string     `json:"from"`
	FromSite    string     `json:"from_site"`
	To          string     `json:"to"` // who answered, or who was called
	ToSite      string     `json:"to_site"`
	Dialled     string     `json:"dialled"`
	Class       string     `json:"class"`
	Precedence  string     `json:"precedence,omitempty"`   // routine to flash_override; "" for an emergency
	Overflow    string     `json:"overflow,omitempty"`     // site whose line could not take the call, which then went over a trunk
	PreemptedBy string     `json:"preempted_by,omitempty"` // id of the call that took its place
	Result      string     `json:"result"`
	Code        int        `json:"code"` // SIP status the caller got
	EndedBy     string     `json:"ended_by"`
	Reason      string     `json:"reason"`
	Path        string     `json:"path"`
	Codec       string     `json:"codec"`
	Media       string     `json:"media"` // voice, fax or modem; "" when nobody answered
	SRTP        bool       `json:"srtp"`  // both legs were encrypted, as of the last answer
	SRTPCaller  bool       `json:"srtp_caller"`
	SRTPCallee  bool       `json:"srtp_callee"`
	SRTPHere    bool       `json:"srtp_here"`  // SRTP of one leg or both ended here, instead of going from phone to phone
	MOSCaller   *float64   `json:"mos_caller"` // quality of what the caller sent, as it reached us; null when not measured
	MOSCallee   *float64   `json:"mos_callee"`
	// The same second by second, and what the parties' extended reports said of what they heard; nil when there is nothing.
	SecondsCaller *Seconds  `json:"seconds_caller,omitempty"`
	SecondsCallee *Seconds  `json:"seconds_callee,omitempty"`
	HeardByCaller *Heard    `json:"heard_by_caller,omitempty"`
	HeardByCallee *Heard    `json:"heard_by_callee,omitempty"`
	Recoverable   bool      `json:"recoverable"` // a restart would not have cut it
	Legs          []Leg     `json:"legs"`
	Forwards      []Forward `json:"forwards,omitempty"` // in order; the first ones may be another network's
	Trunk         string    `json:"trunk,omitempty"`    // the call came in by it
	// Calls of the same conversation: the one that was transferred, the attempt to transfer it.
	Linked        []string `json:"linked_to,omitempty"`
	TransferredBy string   `json:"transferred_by,omitempty"` // who connected this call's parties
	PickedUpBy    string   `json:"picked_up_by,omitempty"`   // who answered for the number that was called
	Originated    bool     `json:"originated,omitempty"`     // the appliance called the first party itself
	// Guests are those who joined the call; in their own records JoinedTo is its id and JoinedAs how they took part.
	Guests   []Guest `json:"guests,omitempty"`
	JoinedTo string  `json:"joined_to,omitempty"`
	JoinedAs string  `json:"joined_as,omitempty"` // listen, whisper or full
	// Recording says what was kept of what was said; nil: the call could not be recorded by rule.
	Recording *Recording `json:"recording,omitempty"`
}

// Guest is somebody who joined a call.
type Guest struct {
	Extension string     `json:"extension"`
	Call      string     `json:"call"` // id of the guest's own record
	Mode      string     `json:"mode"`
	Silent    bool       `json:"silent,omitempty"` // no tone told the parties
	At        time.Time  `json:"at"`
	Until     *time.Time `json:"until,omitempty"`
}

// Recording is what became of recording a call.
type Recording struct {
	Mode   string   `json:"mode"` // on_demand, always or required
	Rule   string   `json:"rule,omitempty"`
	IDs    []string `json:"ids,omitempty"`    // of media/record
	By     string   `json:"by,omitempty"`     // who began the last one
	Reason string   `json:"reason,omitempty"` // why it was not recorded to the end
}

// Forward is one forward that a call took.
type Forward struct {
	From   string    `json:"from"`         // who forwarded it
	To     string    `json:"to,omitempty"` // where to; "" when another network did it
	Reason string    `json:"reason"`       // in the words of RFC 5806
	At     time.Time `json:"at,omitzero"`
}

// Leg is one phone, or one way to a number outside, that was to be rung.
type Leg struct {
	Extension string     `json:"extension"` // or the number outside
	Contact   string     `json:"contact"`   // its address; "" when there was nothing to ring
	Code      int        `json:"code"`      // how it ended; 0: it was given up, or its turn never came
	Stage     int        `json:"stage"`     // 1 is what the call began with
	StartedAt *time.Time `json:"started_at,omitempty"`
	Trunk     string     `json:"trunk,omitempty"`
	Gateway   string     `json:"gateway,omitempty"`
}

// Filter selects records; zero fields do not restrict.
type Filter struct {
	From, To time.Time // started in [From, To)
	Party    string    // extension of either side
	Limit    int       // newest first; 0 = DefaultLimit, at most MaxLimit
}

// Limits of a query.
const (
	DefaultLimit = 100
	MaxLimit     = 10000
)
