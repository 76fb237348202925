package dialplan

import (
	"slices"
	"strings"
	"time"

	"linehall/internal/setting"
)

// Config is the section "dialplan". A dialled number is looked up in this
// order: emergency numbers, the duty number, blocks and the caller's class,
// feature codes, extensions, groups and rooms, short codes, site prefixes,
// then the rules from first to last. Nothing can stand before an emergency
// number.
type Config struct {
	// Emergency numbers go to a trunk if there is one, else to the duty desk.
	// No limit, block or full line can stop them.
	Emergency []string `yaml:"emergency"`
	// EmergencyTrunks are the trunks that take emergency calls, in the order
	// in which they are tried; empty = every trunk.
	EmergencyTrunks []string `yaml:"emergency_trunks"`
	// Duty is the number that rings the whole duty desk's group at once.
	Duty string `yaml:"duty"`
	// DutyMembers are the extensions of that group.
	DutyMembers []string `yaml:"duty_members"`
	// PreemptBusy says that a call of higher precedence (class of service:
	// priority) ends the least important call of a telephone that has as many
	// as it may have.
	PreemptBusy bool `yaml:"preempt_busy"`
	// Numbering is how the public network writes numbers.
	Numbering NumberingConfig `yaml:"numbering"`
	// Features maps a feature's name to its code, like pickup: "**". A code is
	// reserved in the number plan even where nothing serves it yet.
	Features map[string]string `yaml:"features"`
	// Classes are classes of service; the column "class" of terminals.csv
	// names one.
	Classes map[string]ClassConfig `yaml:"classes"`
	// DefaultClass is the class of terminals whose row names none; "" denies
	// nothing.
	DefaultClass string `yaml:"default_class"`
	// Tolls limit the calls outside of each telephone. A class of service may
	// have other limits, and a trunk its own for all calls over it.
	Tolls TollsConfig `yaml:"tolls"`
	// Groups are ring and hunt groups.
	Groups []GroupConfig `yaml:"groups"`
	// ShortCodes are speed-dial numbers of the whole organisation.
	ShortCodes []ShortCodeConfig `yaml:"short_codes"`
	// Private are extensions and groups that only classes with "private" may
	// call, that nobody outside reaches and whose number is not shown.
	Private []string `yaml:"private"`
	// Blocked are patterns of numbers that nobody may dial; emergency numbers
	// and the duty desk stay free.
	Blocked []string `yaml:"blocked"`
	// BlockedCallers are patterns of outside callers that are refused.
	BlockedCallers []string `yaml:"blocked_callers"`
	// Rules say what becomes of a number that is none of ours; the first that
	// matches decides.
	Rules []RuleConfig `yaml:"rules"`
	// Calendars say when DIDs ring by day and when by night.
	Calendars []CalendarConfig `yaml:"calendars"`
}

// RuleConfig rewrites a dialled number: for trunks, or to one of ours.
type RuleConfig struct {
	Name    string `yaml:"name"`
	Match   string `yaml:"match"`   // a Pattern; with a + it looks at the E.164 form
	Strip   int    `yaml:"strip"`   // leading characters to remove
	Prepend string `yaml:"prepend"` // digits to put in front afterwards
	// Trunks take the number, in the order in which they are tried; empty =
	// the result is a number of ours.
	Trunks []string `yaml:"trunks"`
	// Class is how far such a call goes: local, long_distance or
	// international; "" = what the number says. An international number is
	// never less.
	Class Toll `yaml:"class"`
}

// GroupConfig is a ring or hunt group.
type GroupConfig struct {
	Number   string   `yaml:"number"`
	Name     string   `yaml:"name"`
	Strategy Strategy `yaml:"strategy"` // all, linear, longest_idle or memory
	Members  []string `yaml:"members"`  // extensions
	// Ring is how long the group rings, or each member of a group that does
	// not ring at once.
	Ring time.Duration `yaml:"ring"`
	// Overflow is the number of ours that rings when nobody answered; "" =
	// the caller hears the failure.
	Overflow string `yaml:"overflow"`
}

// Strategy is in which order a group's members ring.
type Strategy string

// The strategies.
const (
	RingAll     Strategy = "all"          // all together
	Linear      Strategy = "linear"       // one after the other, from the first
	LongestIdle Strategy = "longest_idle" // whoever had no call for the longest time first
	Memory      Strategy = "memory"       // one after the other, from behind the one that had the last call
)

// Strategies lists the accepted values of "strategy".
func Strategies() []string { return words([]Strategy{RingAll, Linear, LongestIdle, Memory}) }

// DefaultGroup holds what a group has when its keys are absent.
func DefaultGroup() GroupConfig { return GroupConfig{Strategy: RingAll, Ring: 20 * time.Second} }

// ShortCodeConfig is a short number of the organisation for a longer one.
type ShortCodeConfig struct {
	Code string `yaml:"code"`
	Name string `yaml:"name"`
	Dial string `yaml:"dial"` // what is dialled instead, as a terminal would
	// AnyClass lets every terminal dial it, however far its class reaches.
	AnyClass bool `yaml:"any_class"`
}

// DefaultConfig holds what applies when a key is absent.
func DefaultConfig() Config {
	return Config{Emergency: []string{"110", "119", "120"}, Numbering: DefaultNumbering(), Tolls: DefaultTolls()}
}

// Rewrite returns what the rule makes of number, if it matches.
func (r RuleConfig) Rewrite(number string) (string, bool) {
	if !Pattern(r.Match).Match(number) || r.Strip > len(number) {
		return "", false
	}
	return r.Prepend + number[r.Strip:], true
}

const (
	mostMembers = 64 // of a group: more phones at once help nobody, and each is an INVITE
	longestRing = 10 * time.Minute
)

// Validate reports what is wrong within the section; that a number has only
// one owner is checked by the configs package.
func (c Config) Validate() error {
	var found setting.Complaints
	c.validateEmergency(&found)
	c.validateDuty(&found)
	c.validateFeatures(&found)
	found.Merge("numbering", c.Numbering.validate())
	for _, name := range sortedKeys(c.Classes) {
		found.Merge("classes."+name, c.Classes[name].validate())
	}
	if _, known := c.Classes[c.DefaultClass]; c.DefaultClass != "" && !known {
		found.Add("default_class", "unknown class %q%s", c.DefaultClass, setting.Hint(c.DefaultClass, sortedKeys(c.Classes)))
	}
	found.Merge("tolls", c.Tolls.Validate())
	for _, name := range sortedKeys(c.Classes) {
		found.Merge("classes."+name+".tolls", c.Classes[name].Tolls.validate())
	}
	for i, group := range c.Groups {
		found.Merge(setting.Index("groups", i), group.validate())
	}
	for i, short := range c.ShortCodes {
		found.Merge(setting.Index("short_codes", i), short.validate())
	}
	for _, list := range []struct {
		key      string
		patterns []string
	}{{"blocked", c.Blocked}, {"blocked_callers", c.BlockedCallers}} {
		for i, text := range list.patterns {
			if _, err := ParsePattern(text); err != nil {
				found.Add(setting.Index(list.key, i), "%s", err)
			}
		}
	}
	for i, rule := range c.Rules {
		found.Merge(setting.Index("rules", i), c.validateRule(rule))
	}
	c.validateCalendars(&found)
	return found.Err()
}

func (c Config) validateEmergency(found *setting.Complaints) {
	if len(c.Emergency) == 0 {
		found.Add("emergency", "at least one emergency number is needed")
	}
	for i, number := range c.Emergency {
		path := setting.Index("emergency", i)
		if !digits(number) || len(number) < 2 || len(number) > 8 {
			found.Add(path, "emergency number %q must be 2 to 8 digits", number)
		}
		if slices.Index(c.Emergency, number) < i {
			found.Add(path, "emergency number %q is there twice", number)
		}
	}
}

func (c Config) validateDuty(found *setting.Complaints) {
	if c.Duty == "" {
		if len(c.DutyMembers) > 0 {
			found.Add("duty_members", "the duty desk has members but no number: set \"duty\"")
		}
		return
	}
	if !digits(c.Duty) {
		found.Add("duty", "duty number %q must be digits", c.Duty)
	}
	if number, collides := c.EmergencyPrefix(c.Duty); collides {
		found.Add("duty", "duty number %q begins like the emergency number %s", c.Duty, number)
	}
	if len(c.DutyMembers) == 0 {
		found.Add("duty", "the duty desk %q needs members: set \"duty_members\"", c.Duty)
	}
	twice(found, "duty_members", c.DutyMembers)
}

func twice(found *setting.Complaints, path string, extensions []string) {
	for i, member := range extensions {
		if slices.Index(extensions, member) < i {
			found.Add(setting.Index(path, i), "extension %q is there twice", member)
		}
	}
}

func (c Config) validateFeatures(found *setting.Complaints) {
	for _, name := range sortedKeys(c.Features) {
		path, code := "features."+name, c.Features[name]
		info, known := featureOf(name)
		if !known {
			found.Add(path, "unknown feature %q%s", name, setting.Hint(name, FeatureNames()))
			continue
		}
		if !codeLike(code) {
			found.Add(path, "feature code %q must be a * and 1 to 4 digits, or **", code)
			continue
		}
		for _, other := range sortedKeys(c.Features) {
			if behind := c.Features[other]; codeLike(behind) && overlap(info, code, behind) {
				found.Add(path, "the code %s of %s takes digits behind it and hides %s of %s", code, name, behind, other)
			}
		}
	}
}

func codeLike(code string) bool {
	rest, ok := strings.CutPrefix(code, "*")
	return ok && (rest == "*" || (digits(rest) && len(rest) <= 4))
}

func (c Config) validateRule(rule RuleConfig) error {
	var found setting.Complaints
	pattern, err := ParsePattern(rule.Match)
	if err != nil {
		found.Add("match", "%s", err)
		return found.Err()
	}
	for _, number := range c.Emergency {
		if pattern.Match(number) {
			found.Add("match", "rule %q shadows the emergency number %s", rule.Match, number)
		}
	}
	if pattern.Match(c.Duty) {
		found.Add("match", "rule %q shadows the duty number %s", rule.Match, c.Duty)
	}
	if length := len(strings.TrimSuffix(rule.Match, ".")); rule.Strip < 0 || rule.Strip > length {
		found.Add("strip", "%d digits cannot be stripped from %q", rule.Strip, rule.Match)
	}
	if rule.Prepend != "" && strings.Trim(strings.TrimPrefix(rule.Prepend, "+"), "0123456789*#") != "" {
		found.Add("prepend", "%q must be digits, * or #", rule.Prepend)
	}
	if rule.Class != "" {
		found.OneOf("class", string(rule.Class), RuleTolls())
		if len(rule.Trunks) == 0 {
			found.Add("class", "a rule without trunks leads to a number of ours and has no class")
		}
	}
	for i, trunk := range rule.Trunks {
		if slices.Index(rule.Trunks, trunk) < i {
			found.Add(setting.Index("trunks", i), "trunk %q is there twice", trunk)
		}
	}
	return found.Err()
}

func (g GroupConfig) validate() error {
	var found setting.Complaints
	if !digits(g.Number) {
		found.Add("number", "group number %q must be digits", g.Number)
	}
	found.OneOf("strategy", string(g.Strategy), Strategies())
	switch {
	case len(g.Members) == 0:
		found.Add("members", "group %q has no members", g.Number)
	case len(g.Members) > mostMembers:
		found.Add("members", "group %q has %d members; at most %d", g.Number, len(g.Members), mostMembers)
	}
	twice(&found, "members", g.Members)
	found.Between("ring", g.Ring, time.Second, longestRing)
	return found.Err()
}

func (s ShortCodeConfig) validate() error {
	var found setting.Complaints
	if !digits(strings.TrimLeft(s.Code, "*#")) || len(s.Code) > 8 {
		found.Add("code", "short code %q must be at most 8 digits, with * or # in front or not", s.Code)
	}
	if number := Normalise(s.Dial); number == "" || strings.Trim(strings.TrimPrefix(number, "+"), "0123456789*#") != "" {
		found.Add("dial", "%q is no number that could be dialled", s.Dial)
	} else if number == s.Code {
		found.Add("dial", "short code %q dials itself", s.Code)
	}
	return found.Err()
}

func (c Config) validateCalendars(found *setting.Complaints) {
	seen := map[string]bool{}
	for i, calendar := range c.Calendars {
		path := setting.Index("calendars", i)
		found.Merge(path, calendar.validate())
		if seen[calendar.Name] && calendar.Name != "" {
			found.Add(path+".name", "calendar %q is there twice", calendar.Name)
		}
		seen[calendar.Name] = true
	}
}

// CalendarNames lists the calendars.
func (c Config) CalendarNames() []string {
	names := make([]string, 0, len(c.Calendars))
	for _, calendar := range c.Calendars {
		names = append(names, calendar.Name)
	}
	return names
}

// EmergencyPrefix returns the emergency number that number begins with: phones
// dial it at once, so nothing behind it can ever be dialled.
func (c Config) EmergencyPrefix(number string) (string, bool) {
	for _, emergency := range c.Emergency {
		if emergency != "" && strings.HasPrefix(number, emergency) {
			return emergency, true
		}
	}
	return "", false
}

// Hides returns the feature whose code a longer number begins with, when the
// code takes digits behind it.
func (c Config) Hides(number string) (feature, code string, hidden bool) {
	for _, name := range sortedKeys(c.Features) {
		info, known := featureOf(name)
		if known && codeLike(c.Features[name]) && overlap(info, c.Features[name], number) {
			return name, c.Features[name], true
		}
	}
	return "", "", false
}

// Reserved reports whether number is an emergency or the duty number.
func (c Config) Reserved(number string) bool {
	return slices.Contains(c.Emergency, number) || (c.Duty != "" && number == c.Duty)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
