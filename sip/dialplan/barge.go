package dialplan

import (
	"fmt"
	"slices"
	"strings"

	"linehall/internal/setting"
)

// Barge is how somebody takes part in a call of others.
type Barge string

// The ways.
const (
	Listen  Barge = "listen"  // hears both, is heard by nobody
	Whisper Barge = "whisper" // hears both, is heard by the one whose call it is
	Full    Barge = "full"    // a third party
)

var barges = []Barge{Listen, Whisper, Full} //nolint:gochecknoglobals // a constant list

// Barges lists the accepted values of "modes".
func Barges() []string { return words(barges) }

// bargeFeatures are the codes that join a call of the extension behind them.
var bargeFeatures = map[string]Barge{"barge": Full, "listen": Listen, "whisper": Whisper} //nolint:gochecknoglobals // a constant table

// BargeOf returns how the code of a feature joins a call.
func BargeOf(feature string) (Barge, bool) {
	b, ok := bargeFeatures[feature]
	return b, ok
}

// BargeConfig says whose calls a class of service may join, by code or by
// INVITE with Join (RFC 3911). Nobody may join anybody's without it, but
// another telephone of the same extension.
type BargeConfig struct {
	// Into lists patterns (see Pattern) of extensions. Their calls pass the
	// appliance, also inside a site.
	Into []string `yaml:"into"`
	// Modes are listen, whisper and full; empty = full.
	Modes []Barge `yaml:"modes"`
	// Silent says that no tone tells the parties that somebody listens or
	// whispers. Who joins in full is always heard to come.
	Silent bool `yaml:"silent"`
}

func (b BargeConfig) validate() error {
	var found setting.Complaints
	for i, text := range b.Into {
		if _, err := ParsePattern(text); err != nil {
			found.Add(setting.Index("into", i), "%s", err)
		}
	}
	for i, mode := range b.Modes {
		found.OneOf(setting.Index("modes", i), string(mode), Barges())
	}
	if len(b.Into) == 0 && (len(b.Modes) > 0 || b.Silent) {
		found.Add("into", "whose calls may be joined is missing")
	}
	return found.Err()
}

func (b BargeConfig) allows(mode Barge) bool {
	return slices.Contains(b.Modes, mode) || len(b.Modes) == 0 && mode == Full
}

// Joining is an answer of Plan.Barge.
type Joining struct {
	Allowed bool
	Silent  bool   // no tone
	Why     string // for people
}

// Barge decides whether a terminal may join a call of an extension; other is who that talks to, "" when it is not known or no
// extension.
func (p *Plan) Barge(from Caller, into, other string, mode Barge) Joining {
	if into == from.Extension && mode == Full {
		return Joining{Allowed: true, Why: "it is a call of the same extension"}
	}
	name := from.Class
	if name == "" {
		name = p.cfg.DefaultClass
	}
	class := p.cfg.Classes[name]
	pattern, matches := matchAny(class.Barge.Into, []string{into})
	switch {
	case !matches:
		return Joining{Why: fmt.Sprintf("class %q may not join calls of %s", name, into)}
	case !class.Barge.allows(mode):
		return Joining{Why: fmt.Sprintf("class %q may not join calls to %s", name, mode.verb())}
	}
	for _, party := range []string{into, other} {
		if slices.Contains(p.cfg.Private, party) && !class.Private && party != from.Extension {
			return Joining{Why: fmt.Sprintf("%s is a private number, class %q may not join its calls", party, name)}
		}
	}
	return Joining{Allowed: true, Silent: class.Barge.Silent && mode != Full, Why: fmt.Sprintf("class %q may %s in calls of %s", name, mode.verb(), pattern)}
}

func (b Barge) verb() string {
	if b == Full {
		return "talk"
	}
	return string(b)
}

// Joinable reports whether some class may join calls of an extension: they pass the appliance then.
func (p *Plan) Joinable(extension string) bool {
	return slices.ContainsFunc(p.joinable, func(pattern Pattern) bool { return pattern.Match(extension) })
}

func (c Config) joinable() []Pattern {
	var all []Pattern
	for _, name := range sortedKeys(c.Classes) {
		for _, text := range c.Classes[name].Barge.Into {
			all = append(all, Pattern(text))
		}
	}
	return all
}

// barge says what dialling such a code comes to.
func (l *lookup) barge(d *Decision, mode Barge) {
	d.Argument = strings.TrimRight(d.Argument, "#")
	if d.Argument == "" {
		return
	}
	if _, known := l.plan.dir.ByExtension(d.Argument); !known {
		d.forbid("barge", "%s is no extension", d.Argument)
		return
	}
	from := l.from
	from.Class = l.name
	j := l.plan.Barge(from, d.Argument, "", mode)
	if !j.Allowed {
		d.forbid("barge", "%s", j.Why)
		return
	}
	tone := "a tone tells the parties"
	if j.Silent {
		tone = "nothing tells the parties"
	}
	d.step("barge", "%s; %s", j.Why, tone)
}
