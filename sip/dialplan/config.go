package dialplan

import (
	"fmt"
	"slices"
	"strings"

	"linehall/internal/setting"
)

// Config is the section "dialplan". A dialled number is looked up in this
// order: emergency numbers, the duty number, feature codes, extensions and
// rooms, then the rules from first to last. Nothing can stand before an
// emergency number.
type Config struct {
	// Emergency numbers go to a trunk if there is one, else to the duty desk.
	// No limit, block or full line can stop them.
	Emergency []string `yaml:"emergency"`
	// Duty is the number that rings the whole duty desk's group at once.
	Duty string `yaml:"duty"`
	// DutyMembers are the extensions of that group.
	DutyMembers []string `yaml:"duty_members"`
	// Features maps a feature's name to its code, like pickup: "*8". A code is
	// reserved in the number plan even where nothing serves it yet.
	Features map[string]string `yaml:"features"`
	// Classes are classes of service; the column "class" of terminals.csv
	// names one.
	Classes map[string]ClassConfig `yaml:"classes"`
	// Rules rewrite what is no number of ours; the first that matches decides.
	Rules []RuleConfig `yaml:"rules"`
}

// ClassConfig is a class of service.
type ClassConfig struct {
	// Deny lists patterns (see Pattern) that terminals of this class may not
	// dial. Emergency numbers and the duty desk can always be dialled.
	Deny []string `yaml:"deny"`
}

// RuleConfig rewrites a dialled number; the result must be one of ours.
type RuleConfig struct {
	Name    string `yaml:"name"`
	Match   string `yaml:"match"`   // a Pattern
	Strip   int    `yaml:"strip"`   // leading digits to remove
	Prepend string `yaml:"prepend"` // digits to put in front afterwards
}

// FeatureNames lists the features that can have a code; sip/feature says what each does and
// what may be dialled behind its code.
func FeatureNames() []string {
	return []string{
		"block_anonymous", "block_anonymous_off", "boss_secretary", "call_back", "call_completion", "call_completion_off",
		"call_waiting", "do_not_disturb", "do_not_disturb_off", "do_not_disturb_on", "forward_always", "forward_always_off",
		"forward_busy", "forward_busy_off", "forward_no_answer", "forward_no_answer_off", "forward_off",
		"forward_unreachable", "forward_unreachable_off", "group_in", "group_out", "group_pickup", "hot_desk_in",
		"hot_desk_out", "intercom", "park", "pickup", "speed_dial", "speed_dial_store", "voicemail",
	}
}

// DefaultConfig holds what applies when a key is absent.
func DefaultConfig() Config {
	return Config{Emergency: []string{"110", "119", "120"}}
}

// Pattern describes dialled numbers: digits, * and # stand for themselves, X
// for any digit, Z for 1 to 9, N for 2 to 9, and a dot at the end for one or
// more further digits.
type Pattern string

// ParsePattern checks the form of a pattern.
func ParsePattern(text string) (Pattern, error) {
	if text == "" || len(text) > 32 {
		return "", fmt.Errorf("pattern %q must have 1 to 32 characters", text)
	}
	for i, c := range text {
		last := i == len(text)-1
		switch {
		case c >= '0' && c <= '9', c == '*', c == '#', c == 'X', c == 'Z', c == 'N':
		case c == '.' && last && i > 0:
		default:
			return "", fmt.Errorf("pattern %q: %q at place %d; use digits, *, #, X, Z, N and a dot at the end", text, string(c), i+1)
		}
	}
	return Pattern(text), nil
}

// Match reports whether the whole number fits the pattern.
func (p Pattern) Match(number string) bool {
	body, open := strings.CutSuffix(string(p), ".")
	if len(number) < len(body) || (open && len(number) == len(body)) || (!open && len(number) != len(body)) {
		return false
	}
	for i := range len(number) {
		want := byte('X')
		if i < len(body) {
			want = body[i]
		}
		if !fits(want, number[i]) {
			return false
		}
	}
	return true
}

func fits(want, got byte) bool {
	switch want {
	case 'X':
		return got >= '0' && got <= '9'
	case 'Z':
		return got >= '1' && got <= '9'
	case 'N':
		return got >= '2' && got <= '9'
	}
	return want == got
}

// Rewrite returns what the rule makes of number, if it matches.
func (r RuleConfig) Rewrite(number string) (string, bool) {
	if !Pattern(r.Match).Match(number) || r.Strip > len(number) {
		return "", false
	}
	return r.Prepend + number[r.Strip:], true
}

// Validate reports what is wrong within the section; that a number has only
// one owner is checked by the configs package.
func (c Config) Validate() error {
	var found setting.Complaints
	c.validateEmergency(&found)
	c.validateDuty(&found)
	c.validateFeatures(&found)
	for _, name := range sortedKeys(c.Classes) {
		for i, text := range c.Classes[name].Deny {
			if _, err := ParsePattern(text); err != nil {
				found.Add(setting.Index("classes."+name+".deny", i), "%s", err)
			}
		}
	}
	for i, rule := range c.Rules {
		found.Merge(setting.Index("rules", i), c.validateRule(rule))
	}
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
	for i, member := range c.DutyMembers {
		if slices.Index(c.DutyMembers, member) < i {
			found.Add(setting.Index("duty_members", i), "extension %q is there twice", member)
		}
	}
}

func (c Config) validateFeatures(found *setting.Complaints) {
	for _, name := range sortedKeys(c.Features) {
		path, code := "features."+name, c.Features[name]
		if !slices.Contains(FeatureNames(), name) {
			found.Add(path, "unknown feature %q%s", name, setting.Hint(name, FeatureNames()))
			continue
		}
		if rest, ok := strings.CutPrefix(code, "*"); !ok || !digits(rest) || len(rest) > 4 {
			found.Add(path, "feature code %q must be a * and 1 to 4 digits", code)
		}
	}
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
	if rule.Prepend != "" && strings.Trim(rule.Prepend, "0123456789*#") != "" {
		found.Add("prepend", "%q must be digits, * or #", rule.Prepend)
	}
	return found.Err()
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

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Reserved reports whether number is an emergency or the duty number.
func (c Config) Reserved(number string) bool {
	return slices.Contains(c.Emergency, number) || (c.Duty != "" && number == c.Duty)
}
