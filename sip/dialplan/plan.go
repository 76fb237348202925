// Package dialplan decides what a dialled number means: an emergency number, the duty desk, an
// extension, a meeting room, or nothing.
//
// Numbers are unique across the organisation: a site's prefix names its range (branch 2 owns
// 2001-2010), and anybody may dial anybody's number as it stands. Dialling a site's prefix and
// then the whole number works as well, for people who were used to it. The order is fixed and
// begins with the emergency numbers, so that no extension, feature or rule can stand before
// them; see Config.
//
// A Plan is immutable, pure and safe for concurrent use; a reload builds a new one. It does
// not know who is registered: sip/call asks sip/location for that.
//
//	plan, err := dialplan.New(cfg, table, dir)
//	d := plan.Decide(dialplan.Caller{Extension: "8001"}, "2001")
//	fmt.Println(d.Kind, d.Targets, d.Steps)
package dialplan

import (
	"fmt"
	"slices"
	"strings"

	"linehall/internal/directory"
	"linehall/internal/site"
)

// Kind is what a number turned out to be.
type Kind string

// The kinds.
const (
	Extension Kind = "extension"
	Duty      Kind = "duty"
	Emergency Kind = "emergency"
	Room      Kind = "room"
	Feature   Kind = "feature"   // a feature code: reserved, see Decision.Feature
	Forbidden Kind = "forbidden" // the caller's class of service denies it
	Unknown   Kind = "unknown"
)

// Rooms 9000-9099 are the meeting rooms of the number plan.
const (
	roomPrefix = "90"
	roomDigits = 4
)

// reserveTargets bounds how many phones ring for an emergency call that finds no duty desk:
// enough that someone hears it, few enough that one INVITE does not ring a whole building.
const reserveTargets = 16

// Directory is what the plan needs to know about terminals.
type Directory interface {
	ByExtension(extension string) (directory.Terminal, bool)
	All() []directory.Terminal
}

// Caller is who dials.
type Caller struct {
	Extension string
	Class     string // class of service; "" denies nothing
}

// Step is one decision on the way, for people.
type Step struct {
	Rule   string `json:"rule"`
	Result string `json:"result"`
}

// Decision is what a number means for a caller.
type Decision struct {
	Kind    Kind     `json:"kind"`
	Number  string   `json:"number"`            // normalised, rewritten by rules
	Targets []string `json:"targets,omitempty"` // extensions that ring together
	// Reserve are rung when no target of an emergency call can be reached at all.
	Reserve []string `json:"reserve,omitempty"`
	Feature string   `json:"feature,omitempty"`
	Steps   []Step   `json:"steps"`
}

// Plan is the number plan.
type Plan struct {
	cfg      Config
	features map[string]string // code -> name
	sites    []site.Site
	dir      Directory
}

// New checks the configuration and builds the plan. The directory is asked at each decision,
// so that a reload of the terminals is seen at once.
func New(cfg Config, table *site.Table, dir Directory) (*Plan, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("number plan: %w", err)
	}
	p := &Plan{cfg: cfg, features: map[string]string{}, sites: table.Sites(), dir: dir}
	for name, code := range cfg.Features {
		p.features[code] = name
	}
	return p, nil
}

// Explain returns the steps of Decide.
func (p *Plan) Explain(from Caller, number string) []Step { return p.Decide(from, number).Steps }

// Decide looks a dialled number up. It never fails: an unknown number is a decision too.
func (p *Plan) Decide(from Caller, dialled string) Decision {
	d := Decision{Number: Normalise(dialled), Kind: Unknown}
	if d.Number != dialled {
		d.step("normalise", "%q becomes %q", dialled, d.Number)
	}
	if slices.Contains(p.cfg.Emergency, d.Number) {
		d.Kind, d.Targets = Emergency, slices.Clone(p.cfg.DutyMembers)
		d.Reserve = p.reserve(from.Extension, d.Targets)
		d.step("emergency", "%s is an emergency number: it rings the duty desk %v, or whoever is registered at the main site; no limit applies", d.Number, d.Targets)
		return d
	}
	if p.cfg.Duty != "" && d.Number == p.cfg.Duty {
		d.Kind, d.Targets = Duty, slices.Clone(p.cfg.DutyMembers)
		d.step("duty", "%s is the duty desk: it rings %v together", d.Number, d.Targets)
		return d
	}
	if pattern, denied := p.denied(from.Class, d.Number); denied {
		d.Kind = Forbidden
		d.step("class", "class %q may not dial %s", from.Class, pattern)
		return d
	}
	if p.own(&d) {
		return d
	}
	p.rewrite(&d, from)
	return d
}

// own decides numbers that are ours without any rule.
func (p *Plan) own(d *Decision) bool {
	if name, ok := p.features[d.Number]; ok {
		d.Kind, d.Feature = Feature, name
		d.step("feature", "%s is the code of %s", d.Number, name)
		return true
	}
	if t, ok := p.dir.ByExtension(d.Number); ok && d.Number != "" {
		d.Kind, d.Targets = Extension, []string{t.Extension}
		d.step("extension", "%s is a terminal at site %s", d.Number, t.Site)
		return true
	}
	if len(d.Number) == roomDigits && strings.HasPrefix(d.Number, roomPrefix) && digits(d.Number) {
		d.Kind = Room
		d.step("room", "%s is a meeting room", d.Number)
		return true
	}
	for _, s := range p.sites {
		rest, ok := strings.CutPrefix(d.Number, s.Prefix)
		if s.Prefix == "" || !ok {
			continue
		}
		if t, known := p.dir.ByExtension(rest); known && rest != "" && t.Site == s.ID {
			d.step("site prefix", "prefix %s is site %s, %s is a terminal there", s.Prefix, s.ID, rest)
			d.Kind, d.Number, d.Targets = Extension, rest, []string{t.Extension}
			return true
		}
	}
	return false
}

// rewrite applies the first rule that matches. Its result is looked up once more, but not
// rewritten again, and it cannot become an emergency number by accident: a rule that makes one
// is a decision of the administrator and is honoured as such.
func (p *Plan) rewrite(d *Decision, from Caller) {
	for _, rule := range p.cfg.Rules {
		number, ok := rule.Rewrite(d.Number)
		if !ok {
			continue
		}
		d.step("rule "+rule.Name, "%s matches %s and becomes %s", d.Number, rule.Match, number)
		once := Plan{cfg: p.cfg, features: p.features, sites: p.sites, dir: p.dir}
		once.cfg.Rules = nil
		next := once.Decide(from, number)
		next.Steps = append(d.Steps, next.Steps...)
		*d = next
		return
	}
	d.step("unknown", "%s is no extension, room, feature or rule", d.Number)
}

func (p *Plan) denied(class, number string) (Pattern, bool) {
	for _, text := range p.cfg.Classes[class].Deny {
		if Pattern(text).Match(number) {
			return Pattern(text), true
		}
	}
	return "", false
}

// reserve lists active terminals of the main site, lowest numbers first.
func (p *Plan) reserve(caller string, targets []string) []string {
	var found []string
	for _, t := range p.dir.All() {
		at := slices.IndexFunc(p.sites, func(s site.Site) bool { return s.ID == t.Site })
		if at < 0 || !p.sites[at].Main || !t.MayRegister() || t.Extension == caller || slices.Contains(targets, t.Extension) {
			continue
		}
		found = append(found, t.Extension)
	}
	slices.Sort(found)
	return found[:min(len(found), reserveTargets)]
}

func (d *Decision) step(rule, format string, args ...any) {
	d.Steps = append(d.Steps, Step{Rule: rule, Result: fmt.Sprintf(format, args...)})
}

// Normalise removes what people and address books put between digits (RFC 3966 §5.1.1 visual
// separators). Everything else stays, so that an unknown number can be shown as dialled.
func Normalise(dialled string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '-', '.', '(', ')', ' ':
			return -1
		}
		return r
	}, dialled)
}
