// Package dialplan decides what a dialled number means: an emergency number, the duty desk, a
// feature, an extension, a group, a meeting room, a number behind trunks, or nothing; and what
// rings for a number that somebody outside dialled.
//
// Numbers are unique across the organisation: a site's prefix names its range (branch 2 owns
// 2001-2010), and anybody may dial anybody's number as it stands. Dialling a site's prefix and
// then the whole number works as well, for people who were used to it. The order is fixed and
// begins with the emergency numbers, so that no extension, feature or rule can stand before
// them; see Config. Every decision carries the steps that led to it.
//
// A Plan is immutable, pure and safe for concurrent use; a reload builds a new one. The time is
// an argument. It does not know who is registered (sip/call asks sip/location for that), what a
// feature does (sip/feature), or which gateway of a trunk lives (sip/trunk).
//
//	plan, err := dialplan.New(cfg, table, dir, dialplan.WithTrunks(trunks), dialplan.In(zone))
//	d := plan.Decide(dialplan.Caller{Extension: "8001"}, "2001", time.Now())
//	fmt.Println(d.Kind, d.Targets, d.Steps)
package dialplan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"linehall/internal/directory"
	"linehall/internal/site"
)

// Rooms 9000-9099 are the meeting rooms of the number plan.
const (
	roomPrefix = "90"
	roomDigits = 4
)

// IsRoom reports whether the number is one of a meeting room.
func IsRoom(number string) bool {
	return len(number) == roomDigits && strings.HasPrefix(number, roomPrefix) && digits(number)
}

// reserveTargets bounds how many phones ring for an emergency call that finds no duty desk:
// enough that someone hears it, few enough that one INVITE does not ring a whole building.
const reserveTargets = 16

// longestDialled bounds a number before it is looked at: a phone's display is shorter.
const longestDialled = 128

// Directory is what the plan needs to know about terminals.
type Directory interface {
	ByExtension(extension string) (directory.Terminal, bool)
	All() []directory.Terminal
}

// Caller is who dials.
type Caller struct {
	Extension string
	Class     string  // class of service; "" is the default class
	Site      site.ID // where the caller is now; "" = where its terminal belongs
}

// Plan is the number plan.
type Plan struct {
	cfg       Config
	features  map[string]string // code -> name
	groups    map[string]GroupConfig
	calendars map[string]CalendarConfig
	trunks    map[string]Trunk
	order     []string // names of the trunks, as configured
	sites     []site.Site
	dir       Directory
	zone      *time.Location
	joinable  []Pattern // extensions whose calls somebody may join
}

// Option adds what not every plan has.
type Option func(*Plan)

// WithTrunks tells the plan which trunks there are and what their numbers lead to.
func WithTrunks(trunks []Trunk) Option {
	return func(p *Plan) {
		for _, t := range trunks {
			p.trunks[t.Name] = t
			p.order = append(p.order, t.Name)
		}
	}
}

// In sets the organisation's time zone; without it schedules are in UTC.
func In(zone *time.Location) Option { return func(p *Plan) { p.zone = zone } }

// New checks the configuration and builds the plan. The directory is asked at each decision,
// so that a reload of the terminals is seen at once.
func New(cfg Config, table *site.Table, dir Directory, options ...Option) (*Plan, error) {
	if cfg.Numbering.Country == "" {
		cfg.Numbering = DefaultNumbering()
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("number plan: %w", err)
	}
	p := &Plan{
		cfg: cfg, features: map[string]string{}, groups: map[string]GroupConfig{}, calendars: map[string]CalendarConfig{},
		trunks: map[string]Trunk{}, sites: table.Sites(), dir: dir, zone: time.UTC, joinable: cfg.joinable(),
	}
	for name, code := range cfg.Features {
		p.features[code] = name
	}
	for _, g := range cfg.Groups {
		p.groups[g.Number] = g
	}
	for _, c := range cfg.Calendars {
		p.calendars[c.Name] = c
	}
	for _, option := range options {
		option(p)
	}
	return p, nil
}

// Group returns the group with that number; the caller must not write to its members.
func (p *Plan) Group(number string) (GroupConfig, bool) {
	g, ok := p.groups[number]
	return g, ok
}

// Groups lists the groups in the order of the configuration; the caller must not write to them.
func (p *Plan) Groups() []GroupConfig { return p.cfg.Groups }

// PreemptsBusy is Config.PreemptBusy.
func (p *Plan) PreemptsBusy() bool { return p.cfg.PreemptBusy }

// HasTrunk reports whether the plan knows a trunk of that name.
func (p *Plan) HasTrunk(name string) bool {
	_, known := p.trunks[name]
	return known
}

// Code returns the code of a feature, "" when it has none.
func (p *Plan) Code(feature string) string { return p.cfg.Features[feature] }

// Numbering is how the public network writes numbers.
func (p *Plan) Numbering() NumberingConfig { return p.cfg.Numbering }

// Explain returns the steps of Decide.
func (p *Plan) Explain(from Caller, number string, at time.Time) []Step {
	return p.Decide(from, number, at).Steps
}

// lookup is one run through the plan.
type lookup struct {
	plan  *Plan
	from  Caller
	class ClassConfig
	name  string // of the class
	at    time.Time
	any   bool // a short code opened the way: the class does not limit it
	deep  int  // rules and short codes lead to one more look-up, not to a loop
}

// mostLookups is a wish to hide the number, a short code, what it dials, and what a rule makes of that.
const mostLookups = 4

// Decide looks a dialled number up at a moment. It never fails: an unknown number is a decision too.
func (p *Plan) Decide(from Caller, dialled string, at time.Time) Decision {
	l := &lookup{plan: p, from: from, at: p.local(at), name: from.Class}
	if l.name == "" {
		l.name = p.cfg.DefaultClass
	}
	l.class = p.cfg.Classes[l.name]
	d := Decision{Number: dialled, Kind: Unknown, Priority: l.class.Priority}
	if d.Priority == "" {
		d.Priority = Routine
	}
	d.Withheld = l.class.Withhold || slices.Contains(p.cfg.Private, from.Extension)
	if len(dialled) > longestDialled {
		d.Number = ""
		d.step("normalise", "more than %d characters are no number", longestDialled)
		return d
	}
	if d.Number = Normalise(dialled); d.Number != dialled {
		d.step("normalise", "%q becomes %q", dialled, d.Number)
	}
	l.decide(&d)
	return d
}

// decide looks d.Number up. The order is the package's promise: see Config.
func (l *lookup) decide(d *Decision) {
	p := l.plan
	l.deep++
	if number, is := p.emergency(d.Number); is {
		d.Number = number
		l.emergency(d)
		return
	}
	if p.cfg.Duty != "" && d.Number == p.cfg.Duty {
		p.duty(d)
		return
	}
	if l.denied(d, d.Number) {
		return
	}
	if name, code, argument, ok := p.feature(d.Number); ok {
		l.feature(d, name, code, argument)
		return
	}
	if p.listed(d) || p.prefixed(d) {
		l.inside(d)
		return
	}
	if l.deep < mostLookups && (l.short(d) || l.rule(d)) {
		return
	}
	d.step("unknown", "%s is no extension, group, room, feature, short code or rule", d.Number)
}

// emergency recognises an emergency number also where a country code was put before it.
func (p *Plan) emergency(number string) (string, bool) {
	if slices.Contains(p.cfg.Emergency, number) {
		return number, true
	}
	for _, prefix := range []string{"+" + p.cfg.Numbering.Country, p.cfg.Numbering.International + p.cfg.Numbering.Country} {
		if rest, ok := strings.CutPrefix(number, prefix); ok && slices.Contains(p.cfg.Emergency, rest) {
			return rest, true
		}
	}
	return "", false
}

// emergency rings the trunks, then the duty desk, then whoever is there. Neither the caller's class
// nor a wish to hide the number counts.
func (l *lookup) emergency(d *Decision) {
	p := l.plan
	d.Kind, d.Toll, d.Withheld = Emergency, Local, false
	d.Targets = slices.Clone(p.cfg.DutyMembers)
	d.Reserve = p.reserve(l.from.Extension, d.Targets)
	d.Trunks, d.AsDialled = p.emergencyTrunks(), d.Number
	if len(d.Trunks) == 0 {
		d.step("emergency", "%s is an emergency number and there is no trunk: it rings the duty desk %v, or whoever is registered at the main site; no limit applies", d.Number, d.Targets)
		return
	}
	d.step("emergency", "%s is an emergency number: it goes to %v, if none takes it to the duty desk %v; no limit applies", d.Number, d.Trunks, d.Targets)
	at := l.from.Site
	if at == "" {
		if t, ok := p.dir.ByExtension(l.from.Extension); ok {
			at = t.Site
		}
	}
	for _, s := range p.sites {
		if s.ID == at && s.EmergencyIdentity != "" {
			d.Identity = s.EmergencyIdentity
			d.step("emergency identity", "calls from site %s show %s", s.ID, d.Identity)
		}
	}
}

func (p *Plan) emergencyTrunks() []string {
	if len(p.cfg.EmergencyTrunks) == 0 {
		return slices.Clone(p.order)
	}
	return slices.DeleteFunc(slices.Clone(p.cfg.EmergencyTrunks), func(name string) bool {
		_, known := p.trunks[name]
		return !known
	})
}

func (p *Plan) duty(d *Decision) {
	d.Kind, d.Number, d.Targets, d.Toll = Duty, p.cfg.Duty, slices.Clone(p.cfg.DutyMembers), Internal
	d.step("duty", "%s is the duty desk: it rings %v together", d.Number, d.Targets)
}

// denied applies the organisation's blocks and the caller's class to every form of the number.
func (l *lookup) denied(d *Decision, number string) bool {
	forms := l.plan.cfg.Numbering.forms(number)
	if pattern, blocked := matchAny(l.plan.cfg.Blocked, forms); blocked {
		d.forbid("blocked", "nobody may dial %s", pattern)
		return true
	}
	if pattern, denied := matchAny(l.class.Deny, forms); denied && !l.any {
		d.forbid("class", "class %q may not dial %s", l.name, pattern)
		return true
	}
	return false
}

// feature takes a feature code. Hiding one's number is no feature of its own, but a way to call.
func (l *lookup) feature(d *Decision, name, code, argument string) {
	if name == "hide_number" && argument != "" && l.deep < mostLookups {
		d.step("feature", "%s is the code of %s: the caller's number is not shown", code, name)
		d.Number, d.Withheld = argument, true
		l.decide(d)
		return
	}
	d.Kind, d.Feature, d.Argument, d.Toll = Feature, name, argument, Internal
	if argument == "" {
		d.step("feature", "%s is the code of %s", code, name)
	} else {
		d.step("feature", "%s is the code of %s, %s is for it", code, name, argument)
	}
	l.inside(d)
	if mode, joins := BargeOf(name); joins && d.Kind == Feature {
		l.barge(d, mode)
	}
}

// listed decides numbers that are ours as they stand.
func (p *Plan) listed(d *Decision) bool {
	if d.Number == "" {
		return false
	}
	if t, ok := p.dir.ByExtension(d.Number); ok {
		d.Kind, d.Targets, d.Toll = Extension, []string{t.Extension}, Internal
		d.step("extension", "%s is a terminal at site %s", d.Number, t.Site)
		return true
	}
	if g, ok := p.groups[d.Number]; ok {
		d.Kind, d.Group, d.Targets, d.Toll = Group, g.Number, slices.Clone(g.Members), Internal
		d.step("group", "%s is the group %s: %v, %s", d.Number, g.Name, g.Members, g.Strategy)
		return true
	}
	return d.room()
}

// room decides a meeting room's number, alone or with its PIN behind a star.
func (d *Decision) room() bool {
	number, pin, withPIN := strings.Cut(d.Number, "*")
	if !IsRoom(number) || withPIN && !digits(pin) {
		return false
	}
	d.Kind, d.Toll, d.Number, d.Argument, d.Targets = Room, Internal, number, pin, []string{number}
	d.step("room", "%s is a meeting room", number)
	return true
}

// prefixed decides a site's prefix followed by a whole extension of that site.
func (p *Plan) prefixed(d *Decision) bool {
	for _, s := range p.sites {
		rest, ok := strings.CutPrefix(d.Number, s.Prefix)
		if s.Prefix == "" || !ok || rest == "" || p.shortCode(d.Number) >= 0 {
			continue
		}
		if t, known := p.dir.ByExtension(rest); known && t.Site == s.ID {
			d.step("site prefix", "prefix %s is site %s, %s is a terminal there", s.Prefix, s.ID, rest)
			d.Kind, d.Number, d.Targets, d.Toll = Extension, rest, []string{t.Extension}, Internal
			return true
		}
	}
	return false
}

// inside applies what limits calls among ourselves: private numbers, and hours that forbid even those.
func (l *lookup) inside(d *Decision) {
	if limit, why := l.class.reach(l.at); limit == Nowhere && !l.any {
		d.forbid("class", "class %q may call nobody%s", l.name, why)
		return
	}
	if d.Kind != Feature && slices.Contains(l.plan.cfg.Private, d.Number) && d.Number != l.from.Extension && !l.class.Private && !l.any {
		d.forbid("private", "%s is a private number, class %q may not call it", d.Number, l.name)
	}
}

func (p *Plan) shortCode(number string) int {
	return slices.IndexFunc(p.cfg.ShortCodes, func(s ShortCodeConfig) bool { return s.Code == number })
}

// short replaces a short code by its number.
func (l *lookup) short(d *Decision) bool {
	i := l.plan.shortCode(d.Number)
	if i < 0 || l.deep > 1 && d.Rule != "" { // one short code does not lead to another
		return false
	}
	s := l.plan.cfg.ShortCodes[i]
	d.step("short code "+s.Name, "%s dials %s", s.Code, s.Dial)
	l.any = l.any || s.AnyClass
	d.Number, d.Rule = Normalise(s.Dial), s.Name
	if d.Rule == "" {
		d.Rule = s.Code
	}
	l.decide(d)
	return true
}

// rule applies the first rule that matches the number as dialled, or its E.164 form where the rule
// asks for that. No other form is tried: the national one of +1 202... begins with 0, which a rule
// for an outside line would take for its digit and turn into a number in this country.
//
// The result of a rule without trunks is looked up once more; it cannot become an emergency number
// by accident: a rule that makes one is a decision of the administrator and is honoured as such.
func (l *lookup) rule(d *Decision) bool {
	forms := []string{d.Number}
	if canonical, ok := l.plan.cfg.Numbering.Canonical(d.Number); ok && canonical != d.Number {
		forms = append(forms, canonical)
	}
	for _, rule := range l.plan.cfg.Rules {
		for _, form := range forms {
			number, ok := rule.Rewrite(form)
			if !ok {
				continue
			}
			d.step("rule "+rule.Name, "%s matches %s and becomes %s", form, rule.Match, number)
			d.Number = number
			if rule.Name != "" {
				d.Rule = rule.Name
			}
			if len(rule.Trunks) > 0 {
				l.outside(d, rule)
				return true
			}
			l.deep = mostLookups - 1 // no second rule
			l.decide(d)
			return true
		}
	}
	return false
}

// outside sends the number that a rule left to trunks, if the caller may call that far.
func (l *lookup) outside(d *Decision, rule RuleConfig) {
	p := l.plan
	if number, is := p.emergency(d.Number); is { // dialled with the digit for an outside line
		d.Number = number
		l.emergency(d)
		return
	}
	if l.denied(d, d.Number) {
		return
	}
	d.Kind, d.Trunks, d.AsDialled = Outside, slices.Clone(rule.Trunks), d.Number
	d.Toll = p.cfg.Numbering.toll(d.Number)
	if rule.Class != "" && d.Toll != International {
		d.Toll = rule.Class
	}
	if canonical, ok := p.cfg.Numbering.Canonical(d.Number); ok {
		if canonical != d.Number {
			d.step("numbering", "%s is %s", d.Number, canonical)
		}
		d.Number = canonical
	}
	limit, why := l.class.reach(l.at)
	if !d.Toll.within(limit) && !l.any {
		d.forbid("class", "a %s call is too far: class %q reaches %s%s", d.Toll, l.name, limit, why)
		return
	}
	if l.tolled(d) {
		return
	}
	d.step("trunks", "a %s call by %v", d.Toll, d.Trunks)
	l.limits(d)
}

// local is the moment in the organisation's time zone.
func (p *Plan) local(at time.Time) time.Time { return at.In(p.zone) }

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
