package dialplan

import (
	"fmt"
	"strings"

	"linehall/internal/setting"
)

// TollsConfig limits calls outside, by how far they go: a stolen password, a
// forward nobody knows of or a telephone gone mad must not become a bill.
// Emergency numbers and the duty desk are never counted and never refused.
type TollsConfig struct {
	Local         LimitConfig `yaml:"local"`
	LongDistance  LimitConfig `yaml:"long_distance"`
	International LimitConfig `yaml:"international"`
	// Forbidden are patterns of numbers outside that are refused: destinations
	// that fraud goes to and an office does not, like satellites.
	Forbidden []string `yaml:"forbidden"`
}

// LimitConfig limits the calls of one kind; 0 = no limit.
type LimitConfig struct {
	CallsPerHour int `yaml:"calls_per_hour"`
	AtOnce       int `yaml:"at_once"` // calls at the same time
	// NumbersPerHour is how many different numbers are called within an hour:
	// fraud calls many, people the same few.
	NumbersPerHour int `yaml:"numbers_per_hour"`
}

// ClassTollsConfig are limits of a class of service; what is absent is as in
// the section "tolls".
type ClassTollsConfig struct {
	Local         ClassLimitConfig `yaml:"local"`
	LongDistance  ClassLimitConfig `yaml:"long_distance"`
	International ClassLimitConfig `yaml:"international"`
	// Forbidden stands in place of the organisation's list; [] forbids nothing.
	Forbidden []string `yaml:"forbidden"`
}

// ClassLimitConfig limits the calls of one kind for a class; absent = as in
// the section "tolls", 0 = no limit.
type ClassLimitConfig struct {
	CallsPerHour   *int `yaml:"calls_per_hour"`
	AtOnce         *int `yaml:"at_once"`
	NumbersPerHour *int `yaml:"numbers_per_hour"`
}

// DefaultTolls holds the limits of each telephone when the section says nothing. A busy reception makes a call a
// minute; programs that dial for a premium number's owner make as many as they are let, at night, and abroad.
func DefaultTolls() TollsConfig {
	return TollsConfig{
		Local:         LimitConfig{CallsPerHour: 60, AtOnce: 6, NumbersPerHour: 40},
		LongDistance:  LimitConfig{CallsPerHour: 60, AtOnce: 6, NumbersPerHour: 40},
		International: LimitConfig{CallsPerHour: 10, AtOnce: 2, NumbersPerHour: 5},
		Forbidden:     expensive(),
	}
}

// DefaultTrunkTolls holds the limits of a trunk when its keys are absent: all telephones together.
func DefaultTrunkTolls() TollsConfig {
	return TollsConfig{International: LimitConfig{CallsPerHour: 60, AtOnce: 10, NumbersPerHour: 30}}
}

// expensive are the country codes of ITU-T E.164 (Annex to OB 1340) behind which there is no country: Inmarsat,
// satellite systems, international networks and premium rate.
func expensive() []string { return []string{"+870.", "+881.", "+882.", "+883.", "+979."} }

const mostPerHour = 10000

// Limited reports whether anything is limited.
func (l LimitConfig) Limited() bool { return l != LimitConfig{} }

// Words say what the limit allows.
func (l LimitConfig) Words() string {
	var parts []string
	for _, p := range []struct {
		n    int
		text string
	}{{l.CallsPerHour, "%d calls per hour"}, {l.AtOnce, "%d at once"}, {l.NumbersPerHour, "%d different numbers per hour"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf(p.text, p.n))
		}
	}
	if len(parts) == 0 {
		return "no limit"
	}
	return strings.Join(parts, ", ")
}

// Of returns the limit of calls that go so far; there is none inside.
func (c TollsConfig) Of(t Toll) LimitConfig {
	switch t {
	case Local:
		return c.Local
	case LongDistance:
		return c.LongDistance
	case International:
		return c.International
	case Nowhere, Internal:
	}
	return LimitConfig{}
}

// with replaces what a class has of its own.
func (c TollsConfig) with(class ClassTollsConfig) TollsConfig {
	c.Local, c.LongDistance, c.International = c.Local.with(class.Local), c.LongDistance.with(class.LongDistance), c.International.with(class.International)
	if class.Forbidden != nil {
		c.Forbidden = class.Forbidden
	}
	return c
}

func (l LimitConfig) with(class ClassLimitConfig) LimitConfig {
	for _, own := range []struct {
		value *int
		into  *int
	}{{class.CallsPerHour, &l.CallsPerHour}, {class.AtOnce, &l.AtOnce}, {class.NumbersPerHour, &l.NumbersPerHour}} {
		if own.value != nil {
			*own.into = *own.value
		}
	}
	return l
}

// Validate reports what is wrong with the limits.
func (c TollsConfig) Validate() error {
	var found setting.Complaints
	for _, one := range []struct {
		key   string
		limit LimitConfig
	}{{"local", c.Local}, {"long_distance", c.LongDistance}, {"international", c.International}} {
		one.limit.validate(one.key, &found)
	}
	for i, text := range c.Forbidden {
		if _, err := ParsePattern(text); err != nil {
			found.Add(setting.Index("forbidden", i), "%s", err)
		}
	}
	return found.Err()
}

func (l LimitConfig) validate(path string, found *setting.Complaints) {
	for _, one := range []struct {
		key string
		n   int
	}{{"calls_per_hour", l.CallsPerHour}, {"at_once", l.AtOnce}, {"numbers_per_hour", l.NumbersPerHour}} {
		if one.n < 0 || one.n > mostPerHour {
			found.Add(path+"."+one.key, "%d is not between 0 and %d", one.n, mostPerHour)
		}
	}
}

// TerminalLimit is what one terminal of a class of service may do; "" is the default class.
func (p *Plan) TerminalLimit(class string, t Toll) LimitConfig { return p.classTolls(class).Of(t) }

// TrunkLimit is what all calls over a trunk together may do.
func (p *Plan) TrunkLimit(trunk string, t Toll) LimitConfig { return p.trunks[trunk].Tolls.Of(t) }

func (p *Plan) classTolls(class string) TollsConfig {
	if class == "" {
		class = p.cfg.DefaultClass
	}
	return p.cfg.Tolls.with(p.cfg.Classes[class].Tolls)
}

// tolled refuses numbers that the organisation, the caller's class or every trunk of the rule forbids, and says which
// limits count for the others. A short code for every class is the administrator's own choice.
func (l *lookup) tolled(d *Decision) bool {
	forms := l.plan.cfg.Numbering.forms(d.AsDialled)
	tolls := l.plan.classTolls(l.name)
	if pattern, forbidden := matchAny(tolls.Forbidden, forms); forbidden && !l.any {
		d.forbid(RuleToll, "%s is forbidden: fraud goes to numbers like %s", d.Number, pattern)
		return true
	}
	var open []string
	for _, name := range d.Trunks {
		if pattern, forbidden := matchAny(l.plan.trunks[name].Tolls.Forbidden, forms); forbidden {
			d.step(RuleToll, "the trunk %s takes no number like %s", name, pattern)
			continue
		}
		open = append(open, name)
	}
	if len(open) == 0 {
		d.forbid(RuleToll, "no trunk takes %s", d.Number)
		return true
	}
	d.Trunks = open
	return false
}

// limits explains what is counted for a call that may be made.
func (l *lookup) limits(d *Decision) {
	if limit := l.plan.TerminalLimit(l.name, d.Toll); limit.Limited() {
		d.step(RuleToll, "a telephone may make %s calls: %s", d.Toll, limit.Words())
	}
	for _, name := range d.Trunks {
		if limit := l.plan.TrunkLimit(name, d.Toll); limit.Limited() {
			d.step(RuleToll, "the trunk %s carries %s calls: %s", name, d.Toll, limit.Words())
		}
	}
}

func (c ClassTollsConfig) validate() error { return TollsConfig{}.with(c).Validate() }
