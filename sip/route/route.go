// Package route says what rings for a call, and in which order: a tree of stages. A stage is a
// set of destinations that ring together; what follows it depends on how it ended. Forwards,
// hunt groups, night switching and the overflow to a trunk are all trees of this kind.
//
// The package is types and pure functions. Whoever builds a Plan (sip/feature) never sees a SIP
// message, and sip/call, which makes it ring, never sees a setting. Values are not written to
// after they were handed over; a Plan may be shared by several calls.
//
//	plan := route.Plan{First: &route.Stage{
//		Extensions: []string{"8001"}, Ring: 20 * time.Second,
//		NoAnswer: &route.Stage{
//			Extensions: []string{"8002"},
//			Diversion:  &route.Diversion{From: "8001", Reason: route.NoReply},
//		},
//	}}
//	err := plan.Check()
package route

import (
	"fmt"
	"time"

	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/media/line"
	"linehall/sip/dialplan"
)

// Bounds of a plan.
const (
	// MaxDepth is how many stages may follow one another.
	MaxDepth = 8
	// MaxExtensions is how many extensions may ring together: a whole hall, and no more INVITEs
	// than leave in a moment.
	MaxExtensions = 64
	// MaxDiversions is how often a call may be forwarded. RFC 5806 leaves the number open; five is
	// what public exchanges allow (ITU-T I.252).
	MaxDiversions = 5
)

// Stage is a set of destinations that ring together. It has Extensions or Outside, not both.
type Stage struct {
	// Extensions are rung on all their phones. Phones with a lower q-value than others of the same
	// extension ring after them (RFC 3261 §16.6).
	Extensions []string
	// Outside is a number behind trunks, tried gateway by gateway.
	Outside *Outside
	// Ring is how long the stage may ring; 0: the call core's default.
	Ring time.Duration
	// Diversion is set when a forward led here; it is told to whoever rings.
	Diversion *Diversion
	// Before are the forwards before that one at which nobody rang, the first one first.
	Before []Diversion
	// Alert asks for a special kind of ringing.
	Alert Alert
	// Limits says for an extension how many calls it may have before it counts as busy; without an
	// entry only the core's own limit holds.
	Limits map[string]int

	// What follows, by Outcome; nil: see Next.
	Busy, NoAnswer, Unreachable, Failed, Full *Stage
}

// Outside is a number behind trunks.
type Outside struct {
	Trunks    []string // names, the first is tried first
	Number    string   // in E.164 where it has that form
	AsDialled string   // as the plan's rules left it, for trunks that want no other form
	Identity  string   // the number to show there instead of the trunk's choice
	Withheld  bool     // the caller's number is not shown
	// Toll is how far the call goes, for the limits of whoever makes it; "" is counted for nobody.
	Toll dialplan.Toll
}

// Out is the destination of a decision of kind Outside, or Emergency with trunks.
func Out(d dialplan.Decision) *Outside {
	return &Outside{Trunks: d.Trunks, Number: d.Number, AsDialled: d.AsDialled, Identity: d.Identity, Withheld: d.Withheld, Toll: d.Toll}
}

// Alert is a kind of ringing.
type Alert string

// The kinds. The zero value is the ordinary one.
const (
	Intercom Alert = "intercom" // the phone shall answer by itself
)

// Reason says why a call was forwarded, in the words of RFC 5806 §4.
type Reason string

// The reasons.
const (
	Unconditional Reason = "unconditional"
	UserBusy      Reason = "user-busy"
	NoReply       Reason = "no-answer"
	Deflection    Reason = "deflection"
	Unavailable   Reason = "unavailable"
	DoNotDisturb  Reason = "do-not-disturb"
	TimeOfDay     Reason = "time-of-day"
	FollowMe      Reason = "follow-me"
	OutOfService  Reason = "out-of-service"
	UnknownReason Reason = "unknown"
	Away          Reason = "away"
)

// Diversion is one forward: who forwarded the call, and why.
type Diversion struct {
	From   string `json:"from"` // the extension, or the number of another exchange
	Reason Reason `json:"reason"`
}

// Plan is the answer to a Request.
type Plan struct {
	First *Stage
	// Refuse is the answer to the caller when nothing shall ring: do not disturb, blocked.
	Refuse *Refusal
	// Class is what the lines reserve for; 0: as the core has it from the decision.
	Class line.Class
}

// Refusal is a final response in words.
type Refusal struct {
	Code int    // 4xx or 6xx
	Text string // for the caller's display (Warning 399) and the record
}

// Request asks what shall ring for a decided number.
type Request struct {
	Caller   directory.Terminal // without Extension when the call comes from a trunk
	Trunk    string             // the trunk it comes from; "" for a phone
	Number   string             // the caller's number as it is shown
	Site     site.ID            // where the caller is
	Decision dialplan.Decision
	Alert    Alert // wanted by a feature code
	// By is the extension that transfers the call here; "" for a call that its caller made.
	By string
	// Diversions are the forwards so far, the first one first: those that a trunk told us, then
	// ours. Whoever forwards appends none; the core does when the stage begins.
	Diversions []Diversion
}

// Outcome is how a stage ended without an answer.
type Outcome uint8

// The outcomes.
const (
	OutcomeFailed      Outcome = iota // refused by the far end or by us, for any other reason
	OutcomeBusy                       // in a call, declined, or as many calls as allowed
	OutcomeNoAnswer                   // it rang, nobody came
	OutcomeUnreachable                // nothing to ring, or nothing that responded
	OutcomeFull                       // a line on the way has no room for the call
	OutcomeDeflected                  // the called sent the call on themselves; no edge leads from it
)

// String names an outcome as a Stage's fields do.
func (o Outcome) String() string {
	switch o {
	case OutcomeBusy:
		return "busy"
	case OutcomeNoAnswer:
		return "no answer"
	case OutcomeUnreachable:
		return "unreachable"
	case OutcomeFull:
		return "full"
	case OutcomeDeflected:
		return "deflected"
	case OutcomeFailed:
	}
	return "failed"
}

// Next is the stage that follows an outcome, or nil. A full line is a kind of being unreachable
// and that is a kind of failing: where a stage has no edge for the one, that of the other counts.
// Nothing follows no stage.
func (s *Stage) Next(o Outcome) *Stage {
	if s == nil {
		return nil
	}
	switch o {
	case OutcomeBusy:
		return s.Busy
	case OutcomeNoAnswer:
		return s.NoAnswer
	case OutcomeFull:
		return first(s.Full, s.Unreachable, s.Failed)
	case OutcomeUnreachable:
		return first(s.Unreachable, s.Failed)
	case OutcomeDeflected:
		return nil
	case OutcomeFailed:
	}
	return s.Failed
}

func first(stages ...*Stage) *Stage {
	for _, s := range stages {
		if s != nil {
			return s
		}
	}
	return nil
}

// Check reports what is wrong with a plan: nothing to ring, a stage with both kinds of
// destination, or a tree that is too deep or too wide. The core checks what it is given.
func (p Plan) Check() error {
	if p.Refuse != nil {
		if p.Refuse.Code < 400 || p.Refuse.Code > 699 {
			return fmt.Errorf("a refusal with code %d", p.Refuse.Code)
		}
		return nil
	}
	if p.First == nil {
		return fmt.Errorf("a plan without a stage")
	}
	return p.First.check(1)
}

func (s *Stage) check(depth int) error {
	switch {
	case depth > MaxDepth:
		return fmt.Errorf("more than %d stages behind one another", MaxDepth)
	case len(s.Extensions) > MaxExtensions:
		return fmt.Errorf("%d extensions ring together; at most %d can", len(s.Extensions), MaxExtensions)
	case len(s.Extensions) > 0 && s.Outside != nil:
		return fmt.Errorf("a stage with extensions and a number outside")
	case len(s.Extensions) == 0 && s.Outside == nil:
		return fmt.Errorf("a stage without destination")
	}
	for _, next := range []*Stage{s.Busy, s.NoAnswer, s.Unreachable, s.Failed, s.Full} {
		if next == nil {
			continue
		}
		if err := next.check(depth + 1); err != nil {
			return err
		}
	}
	return nil
}
