package api

import "time"

// Status is how the appliance is.
type Status struct {
	Name                string         `json:"name"`
	Domain              string         `json:"domain"`
	Version             string         `json:"version"`
	StartedAt           time.Time      `json:"started_at"`
	Now                 time.Time      `json:"now"`
	Ready               bool           `json:"ready" doc:"listeners are up and state is recovered"`
	Language            string         `json:"language" example:"zh-CN"`
	TerminalsTotal      int            `json:"terminals_total"`
	TerminalsRegistered int            `json:"terminals_registered"`
	CallsActive         int            `json:"calls_active"`
	RoomsOpen           int            `json:"rooms_open"`
	Participants        int            `json:"participants"`
	Subscriptions       map[string]int `json:"subscriptions,omitempty" doc:"what phones watch, by SIP event package" example:"{\"dialog\":3600}"`
	KernelPath          KernelPath     `json:"kernel_path"`
	Sites               []SiteStatus   `json:"sites" nullable:"false"`
	Alarms              []Alarm        `json:"alarms" nullable:"false"`
}

// KernelPath says whether settled relayed calls run inside the kernel.
type KernelPath struct {
	On      bool     `json:"on"`
	Reason  string   `json:"reason" doc:"why it is off, or why its calls would not outlive the process"`
	Flows   int      `json:"flows" doc:"directions of media streams that the kernel carries now"`
	Devices []string `json:"devices" nullable:"false" doc:"network devices it looks at, from the first call on"`
	Hook    string   `json:"hook" enum:"tcx,clsact,"`
	Pinned  bool     `json:"pinned" doc:"its calls outlive the process"`
}

// SiteStatus is one place in a Status.
type SiteStatus struct {
	ID                  string `json:"id"`
	Name                string `json:"name"`
	Main                bool   `json:"main"`
	TerminalsTotal      int    `json:"terminals_total"`
	TerminalsRegistered int    `json:"terminals_registered"`
	CallsActive         int    `json:"calls_active"`
	Participants        int    `json:"participants"`
}

// Alarm is something that somebody should look at.
type Alarm struct {
	ID       string            `json:"id" example:"line_full:branch1"`
	Severity string            `json:"severity" enum:"info,warning,critical"`
	Code     string            `json:"code" example:"line_full"`
	Site     *string           `json:"site"`
	Since    time.Time         `json:"since"`
	Detail   map[string]string `json:"detail"`
}

// Terminal is a row of terminals.csv and what is known about the phone now.
type Terminal struct {
	Extension     string     `json:"extension"`
	DisplayName   string     `json:"display_name"`
	Site          string     `json:"site"`
	MAC           string     `json:"mac"`
	Model         string     `json:"model"`
	Template      string     `json:"template"`
	State         string     `json:"state" enum:"active,spare,disabled" doc:"of the row in terminals.csv"`
	Notes         string     `json:"notes"`
	Registered    bool       `json:"registered"`
	Since         *time.Time `json:"since"`
	Address       *string    `json:"address" example:"127.0.0.11:5060"`
	Transport     *string    `json:"transport" example:"UDP"`
	UserAgent     *string    `json:"user_agent"`
	ExpiresAt     *time.Time `json:"expires_at"`
	Bindings      int        `json:"bindings"`
	SeenSite      *string    `json:"seen_site" doc:"site of the address it registers from"`
	InCall        bool       `json:"in_call"`
	ProvisionedAt *time.Time `json:"provisioned_at"`
}

// Credentials is everything a softphone needs to be one of our terminals.
type Credentials struct {
	Extension   string `json:"extension"`
	DisplayName string `json:"display_name"`
	Site        string `json:"site"`
	MAC         string `json:"mac"`
	Model       string `json:"model"`
	AuthUser    string `json:"auth_user"`
	Password    string `json:"password"`
	Domain      string `json:"domain"`
	Realm       string `json:"realm"`
	Server      string `json:"server"`
	UDPPort     int    `json:"udp_port"`
	TCPPort     int    `json:"tcp_port"`
	TLSPort     int    `json:"tls_port"`
	WSSURL      string `json:"wss_url"`
	Transport   string `json:"transport"`
	SRTP        string `json:"srtp"`
	CAFile      string `json:"ca_file"`
	// AdminPassword is that of the phone's menus and web page.
	AdminPassword string `json:"admin_password" doc:"of the phone's menus and web page; empty: not ours"`
}

// UnknownTerminal is a phone that asked for a file and is not in terminals.csv.
type UnknownTerminal struct {
	MAC       string    `json:"mac"`
	Brand     string    `json:"brand"`
	Model     string    `json:"model"`
	UserAgent string    `json:"user_agent"`
	Address   string    `json:"address"`
	Site      string    `json:"site"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	Requests  int       `json:"requests"`
	CSV       string    `json:"csv" doc:"a row ready for terminals.csv"`
}

// Call is a call that is set up or going on.
type Call struct {
	ID              string     `json:"id"`
	State           string     `json:"state" enum:"ringing,established,held,ended"`
	Class           string     `json:"class" enum:"emergency,priority,voice,conference_audio,content,video,bulk"`
	Precedence      string     `json:"precedence" enum:"routine,priority,immediate,flash,flash_override"`
	StartedAt       time.Time  `json:"started_at"`
	AnsweredAt      *time.Time `json:"answered_at"`
	DurationSeconds float64    `json:"duration_seconds"`
	From            Party      `json:"from"`
	To              Party      `json:"to"`
	Path            string     `json:"path" enum:"direct,relay,kernel,gateway,served"`
	Codec           *string    `json:"codec"`
	Media           *string    `json:"media" enum:"voice,fax,modem"`
	SRTP            bool       `json:"srtp" doc:"both legs are encrypted"`
	SRTPHere        bool       `json:"srtp_here" doc:"SRTP of one leg or both ends at the appliance, instead of going from phone to phone"`
	MOS             *float64   `json:"mos"`
	Legs            []CallLeg  `json:"legs"`

	Guests []CallGuest `json:"guests" nullable:"false" doc:"who has joined the call"`

	Recording  string `json:"recording" enum:"off,announcing,on,suspended" doc:"suspended: the disk takes nothing"`
	MayRecord  bool   `json:"may_record" doc:"somebody may begin to record it"`
	Unrecorded string `json:"unrecorded" doc:"why it is not recorded although it should be"`
}

// Party is one end of a call.
type Party struct {
	Extension   string `json:"extension"`
	DisplayName string `json:"display_name"`
	Site        string `json:"site"`
}

// CallGuest is somebody who has joined a call, or had.
type CallGuest struct {
	ID        string     `json:"id" doc:"of the guest's own record; hanging that up ends the guest's part alone"`
	Extension string     `json:"extension"`
	Mode      string     `json:"mode" enum:"listen,whisper,full"`
	Silent    bool       `json:"silent" doc:"no tone told the parties"`
	At        time.Time  `json:"at"`
	Until     *time.Time `json:"until"`
}

// CallLeg is what came in from one side of a call.
type CallLeg struct {
	Side        string   `json:"side" enum:"caller,callee"`
	Site        string   `json:"site"`
	Transport   string   `json:"transport"`
	Packets     int64    `json:"packets"`
	Lost        int64    `json:"lost"`
	LossPercent float64  `json:"loss_percent"`
	JitterMS    float64  `json:"jitter_ms"`
	MOS         *float64 `json:"mos"`
	Address     string   `json:"address"`
	SRTP        bool     `json:"srtp" doc:"encrypted: to the other phone, or to the appliance where srtp_here says so"`
}

// Line is the account of one leased line.
type Line struct {
	Site         string        `json:"site"`
	Name         string        `json:"name"`
	Up           LineDirection `json:"up" doc:"sent by the branch"`
	Down         LineDirection `json:"down"`
	State        string        `json:"state" enum:"up,down,out_of_service" doc:"down: nothing is heard of the whole site"`
	DownSince    *time.Time    `json:"down_since"`
	Calls        LineCalls     `json:"calls"`
	RefusedTotal int64         `json:"refused_total"`
	// PreemptedTotal and OverflowedTotal count since the start, like RefusedTotal.
	PreemptedTotal  int64 `json:"preempted_total" doc:"calls that lost their place to a more important one"`
	OverflowedTotal int64 `json:"overflowed_total" doc:"calls that went over a trunk because the line could not take them"`
}

// LineCalls counts the calls on a line by precedence; emergency calls are none of the levels.
type LineCalls struct {
	Total         int `json:"total"`
	Max           int `json:"max" doc:"0: as many as the rate allows"`
	Emergency     int `json:"emergency"`
	FlashOverride int `json:"flash_override"`
	Flash         int `json:"flash"`
	Immediate     int `json:"immediate"`
	Priority      int `json:"priority"`
	Routine       int `json:"routine"`
}

// LineDirection is one direction of a line; rates are bit/s on the wire.
type LineDirection struct {
	CapacityBps      int64       `json:"capacity_bps"`
	OfficeReserveBps int64       `json:"office_reserve_bps"`
	FloorBps         int64       `json:"conference_floor_bps" doc:"kept free of calls for the voices of meetings"`
	ReservedBps      int64       `json:"reserved_bps"`
	MeasuredBps      int64       `json:"measured_bps"`
	FreeBps          int64       `json:"free_bps"`
	EstimatedBps     int64       `json:"estimated_bps" doc:"what everything of ours may take, as measured; 0: what the contract gives"`
	LossPercent      float64     `json:"loss_percent" doc:"packets of meetings that did not come over the line"`
	BelowContract    string      `json:"below_contract" enum:"no,slow,lossy" doc:"whether the line is worse than its contract"`
	BelowSince       *time.Time  `json:"below_since"`
	Classes          []LineClass `json:"classes"`
}

// LineClass is what one class uses of a line.
type LineClass struct {
	Class       string `json:"class"`
	ReservedBps int64  `json:"reserved_bps"`
	MeasuredBps int64  `json:"measured_bps"`
}

// Names is a name in both languages.
type Names struct {
	ZH string `json:"zh"`
	EN string `json:"en"`
}

// Room is a meeting room and who is in it.
type Room struct {
	Number       string        `json:"number"`
	Name         string        `json:"name"`
	State        string        `json:"state" doc:"open when somebody is in it"`
	OpenedAt     *time.Time    `json:"opened_at"`
	Recording    bool          `json:"recording" doc:"its meeting is being recorded"`
	Venues       []Venue       `json:"venues"`
	Participants []Participant `json:"participants"`
}

// Venue is a place that takes part in a room.
type Venue struct {
	ID      string `json:"id"`
	Name    Names  `json:"name"`
	Site    string `json:"site"`
	Present bool   `json:"present"`
}

// Participant is somebody in a room.
type Participant struct {
	ID           string    `json:"id"`
	Venue        *string   `json:"venue"`
	Name         Names     `json:"name"`
	Site         string    `json:"site"`
	Kind         string    `json:"kind" enum:"browser,native,phone"`
	JoinedAt     time.Time `json:"joined_at"`
	AudioMuted   bool      `json:"audio_muted"`
	VideoMuted   bool      `json:"video_muted"`
	Speaking     bool      `json:"speaking"`
	HasContent   bool      `json:"has_content"`
	Address      *string   `json:"address"`
	Transport    *string   `json:"transport"`
	PublishBps   int64     `json:"publish_bps"`
	SubscribeBps int64     `json:"subscribe_bps"`
	LossPercent  float64   `json:"loss_percent"`
	RTTMS        *float64  `json:"rtt_ms"`
	Layers       []string  `json:"layers"`
}

// CDR is the record of a call that ended.
type CDR struct {
	ID              string     `json:"id"`
	CallID          string     `json:"call_id"`
	StartedAt       time.Time  `json:"started_at"`
	AnsweredAt      *time.Time `json:"answered_at"`
	EndedAt         time.Time  `json:"ended_at"`
	DurationSeconds float64    `json:"duration_seconds"`
	From            string     `json:"from"`
	FromSite        string     `json:"from_site"`
	To              string     `json:"to"`
	ToSite          string     `json:"to_site"`
	Dialled         string     `json:"dialled"`
	Class           string     `json:"class"`
	Precedence      string     `json:"precedence" doc:"routine to flash_override; empty for an emergency"`
	PreemptedBy     string     `json:"preempted_by" doc:"id of the call that took this one's place"`
	Result          string     `json:"result"`
	Code            int        `json:"code"`
	EndedBy         string     `json:"ended_by"`
	Reason          string     `json:"reason"`
	Path            string     `json:"path"`
	Codec           string     `json:"codec"`
	Media           string     `json:"media"`
	SRTP            bool       `json:"srtp" doc:"both legs were encrypted"`
	SRTPCaller      bool       `json:"srtp_caller" doc:"the caller's leg was encrypted"`
	SRTPCallee      bool       `json:"srtp_callee" doc:"the callee's leg was encrypted"`
	SRTPHere        bool       `json:"srtp_here" doc:"SRTP of one leg or both ended at the appliance, instead of going from phone to phone"`
	MOSCaller       *float64   `json:"mos_caller"`
	MOSCallee       *float64   `json:"mos_callee"`
	Legs            []CDRLeg   `json:"legs"`

	SecondsCaller *CDRSeconds `json:"seconds_caller,omitempty" doc:"scores of each second of what the caller sent; absent when not measured"`
	SecondsCallee *CDRSeconds `json:"seconds_callee,omitempty"`

	Trunk         string       `json:"trunk" doc:"the call came in by it"`
	Overflow      string       `json:"overflow" doc:"site whose line could not take the call, which then went over a trunk"`
	Forwards      []CDRForward `json:"forwards" nullable:"false"`
	LinkedTo      []string     `json:"linked_to" nullable:"false" doc:"calls of the same conversation: transferred ones, attempts to transfer"`
	TransferredBy string       `json:"transferred_by"`
	PickedUpBy    string       `json:"picked_up_by"`
	Guests        []CallGuest  `json:"guests" nullable:"false" doc:"who joined the call"`
	JoinedTo      string       `json:"joined_to" doc:"the call that the caller joined"`
	JoinedAs      string       `json:"joined_as" doc:"listen, whisper or full"`
	Originated    bool         `json:"originated" doc:"the appliance called the first party itself"`
	Reports       []CDRReport  `json:"reports" nullable:"false" doc:"what the phones said of the quality; only in the answer for one call"`

	Recording *CDRRecording `json:"recording" doc:"null: nobody wanted it to be recorded"`
}

// CDRRecording says what became of recording a call.
type CDRRecording struct {
	_ struct{} `json:"-" nullable:"true"`

	Mode   string `json:"mode" enum:"on_demand,always,required"`
	Rule   string `json:"rule"`
	By     string `json:"by" doc:"who began the last recording"`
	Parts  int    `json:"parts" doc:"how many recordings were begun"`
	Reason string `json:"reason" doc:"why it was not recorded to its end"`
}

// CDRSeconds are the opinion scores of every second of what a party sent, as it reached the appliance.
type CDRSeconds struct {
	Rated          int       `json:"rated" doc:"seconds in which something was sent"`
	Mean           float64   `json:"mean"`
	Worst          float64   `json:"worst"`
	WorstAtSeconds int       `json:"worst_at_seconds"`
	Kinds          []int     `json:"kinds" nullable:"false" doc:"how many were: satisfied, some dissatisfied, many, nearly all, not recommended (ITU-T G.107 annex B)"`
	StepSeconds    int       `json:"step_seconds" doc:"what each of lowest covers"`
	Lowest         []float64 `json:"lowest" nullable:"false" doc:"the lowest score of each step, 0 where there is none; empty when all seconds are satisfied"`
}

// CDRLeg is one contact that was tried.
type CDRLeg struct {
	Extension string     `json:"extension" doc:"or the number outside"`
	Contact   string     `json:"contact"`
	Code      int        `json:"code" doc:"how it ended; 0: given up, or its turn never came"`
	Stage     int        `json:"stage" doc:"1 is what the call began with"`
	StartedAt *time.Time `json:"started_at"`
	Trunk     string     `json:"trunk"`
	Gateway   string     `json:"gateway"`
}

// CDRForward is one forward that a call took.
type CDRForward struct {
	From   string    `json:"from"`
	To     string    `json:"to" doc:"empty when another network did it"`
	Reason string    `json:"reason" example:"no-answer"`
	At     time.Time `json:"at"`
}

// CDRReport is what a phone said of the quality that it received (RFC 6035, RFC 3611).
type CDRReport struct {
	At             time.Time `json:"at"`
	Extension      string    `json:"extension"`
	Site           string    `json:"site"`
	Kind           string    `json:"kind" enum:"session,interval,alert,rtcp" doc:"rtcp: from its extended reports (RFC 3611)"`
	MOS            *float64  `json:"mos"`
	LossPercent    float64   `json:"loss_percent"`
	DiscardPercent float64   `json:"discard_percent"`
	JitterMS       float64   `json:"jitter_ms"`
	RoundTripMS    float64   `json:"round_trip_ms"`
	Codec          string    `json:"codec"`

	BurstLossPercent float64 `json:"burst_loss_percent" doc:"missing inside bursts; rtcp reports only, as are the next three"`
	BurstMS          float64 `json:"burst_ms" doc:"mean length of a burst"`
	GapLossPercent   float64 `json:"gap_loss_percent" doc:"missing between bursts"`
	GapMS            float64 `json:"gap_ms"`
}

// Certificate is one certificate in use.
type Certificate struct {
	Use         string    `json:"use" enum:"browser_root,phone_root,browser,phone"`
	Own         bool      `json:"own" doc:"the organisation's own, not made here"`
	Subject     string    `json:"subject"`
	Issuer      string    `json:"issuer"`
	Names       []string  `json:"names"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Fingerprint string    `json:"fingerprint" doc:"SHA-256"`
}

// Bodies of lists. A list is never null.
type (
	terminalList struct {
		Terminals []Terminal `json:"terminals"`
	}
	unknownList struct {
		Unknown []UnknownTerminal `json:"unknown"`
	}
	callList struct {
		Calls []Call `json:"calls"`
	}
	lineList struct {
		Lines []Line `json:"lines"`
	}
	roomList struct {
		Rooms []Room `json:"rooms"`
	}
	cdrList struct {
		CDRs []CDR `json:"cdrs"`
	}
)
