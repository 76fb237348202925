package dialplan

import "fmt"

// Kind is what a number turned out to be.
type Kind string

// The kinds.
const (
	Extension Kind = "extension"
	Duty      Kind = "duty"
	Emergency Kind = "emergency"
	Group     Kind = "group" // a ring or hunt group, see Plan.Group
	Room      Kind = "room"
	Feature   Kind = "feature"   // a feature code, see Decision.Feature
	Outside   Kind = "outside"   // a number behind trunks
	Forbidden Kind = "forbidden" // a block, the caller's class of service or its hours deny it
	Unknown   Kind = "unknown"
)

// RuleToll is the rule of steps about limits of calls outside, and what denies a number that is too dear.
const RuleToll = "tolls"

// Step is one decision on the way, for people.
type Step struct {
	Rule   string `json:"rule"`
	Result string `json:"result"`
}

// Decision is what a number means for a caller.
type Decision struct {
	Kind   Kind   `json:"kind"`
	Number string `json:"number"` // of ours as it is listed; outside in E.164 (+8613800000000) where it has that form
	// Targets are extensions that ring together: the one that was dialled, the duty desk, a
	// group's members. Of an emergency call they ring when no trunk takes it.
	Targets []string `json:"targets,omitempty"`
	// Reserve are rung when no target of an emergency call can be reached at all.
	Reserve []string `json:"reserve,omitempty"`
	// Group is the number of the group, of kind Group only; its strategy is in Plan.Group.
	Group string `json:"group,omitempty"`
	// Feature is the name of a feature, Argument what was dialled behind its code.
	Feature  string `json:"feature,omitempty"`
	Argument string `json:"argument,omitempty"`
	// Trunks are tried in this order for Outside and Emergency.
	Trunks []string `json:"trunks,omitempty"`
	// AsDialled is the outside number as rules left it, for trunks that want no other form.
	AsDialled string `json:"as_dialled,omitempty"`
	// Toll is how far the call goes: what classes of service limit.
	Toll Toll `json:"toll,omitempty"`
	// Identity is the number to show to the other network instead of the trunk's choice: the
	// site's, for emergency calls. "" leaves the choice to the trunk.
	Identity string `json:"identity,omitempty"`
	// Withheld says that the caller's number is not shown to the called.
	Withheld bool `json:"withheld,omitempty"`
	// Priority is the precedence that the caller's class gives its calls.
	Priority Priority `json:"priority,omitempty"`
	// Hours says which of a DID's times decided: open, closed or holiday; "" when it has none.
	Hours Hours `json:"hours,omitempty"`
	// Rule is the name of the configured rule, short code or DID that decided, if one did.
	Rule string `json:"decided_by,omitempty"`
	// Denied says what forbids the number, of kind Forbidden only: blocked, class, private, RuleToll.
	Denied string `json:"denied,omitempty"`
	Steps  []Step `json:"steps"`
}

func (d *Decision) step(rule, format string, args ...any) {
	d.Steps = append(d.Steps, Step{Rule: rule, Result: fmt.Sprintf(format, args...)})
}

func (d *Decision) forbid(rule, format string, args ...any) {
	d.Kind, d.Targets, d.Trunks, d.Group, d.Denied = Forbidden, nil, nil, "", rule
	d.step(rule, format, args...)
}
