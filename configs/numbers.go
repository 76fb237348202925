package configs

import (
	"fmt"
	"slices"

	"linehall/internal/setting"
	"linehall/provisioning/inventory"
	"linehall/sip/dialplan"
)

// rows compares the terminals with the rest of the configuration.
func (c *checker) rows() {
	ids, classes := c.siteIDs(), make([]string, 0, len(c.config.Dialplan.Classes))
	for name := range c.config.Dialplan.Classes {
		classes = append(classes, name)
	}
	for i, room := range c.config.Conference.Rooms {
		if room.Class != "" && !slices.Contains(classes, room.Class) {
			c.add(setting.Index("conference.rooms", i)+".class", "unknown class %q%s", room.Class, setting.Hint(room.Class, classes))
		}
	}
	for _, row := range c.config.inventory {
		if row.Site != "" && !slices.Contains(ids, string(row.Site)) {
			c.addRow(row, inventory.ColumnSite, "unknown site %q%s", row.Site, setting.Hint(string(row.Site), ids))
		}
		if row.Class != "" && !slices.Contains(classes, row.Class) {
			c.addRow(row, inventory.ColumnClass, "unknown class %q%s", row.Class, setting.Hint(row.Class, classes))
		}
	}
	c.templates()
}

// numbers walks the number plan in the order in which the exchange looks a
// number up: whatever stands behind another owner could never be reached.
func (c *checker) numbers() {
	plan := numberPlan{checker: c, owners: map[string]string{}}
	d := c.config.Dialplan
	for _, number := range d.Emergency {
		plan.owners[number] = "the emergency number " + number
	}
	if d.Duty != "" {
		plan.claim(d.Duty, "the duty number", "dialplan.duty")
	}
	for _, name := range slices.Sorted(keys(d.Features)) {
		if slices.Contains(dialplan.FeatureNames(), name) {
			plan.claim(d.Features[name], "the code of "+name, "dialplan.features."+name)
		}
	}
	for i, room := range c.config.Conference.Rooms {
		plan.inside("room number", room.Number, setting.Index("conference.rooms", i)+".number")
	}
	for i, group := range d.Groups {
		plan.inside("group number", group.Number, setting.Index("dialplan.groups", i)+".number")
	}
	for _, row := range c.config.inventory {
		plan.extension(row)
	}
	for i, short := range d.ShortCodes {
		plan.short(short, setting.Index("dialplan.short_codes", i))
	}
	for i, rule := range d.Rules {
		plan.rule(rule, setting.Index("dialplan.rules", i))
	}
	for i, member := range d.DutyMembers {
		plan.member(member, setting.Index("dialplan.duty_members", i))
	}
	for i, group := range d.Groups {
		plan.group(group, setting.Index("dialplan.groups", i))
	}
	for i, number := range d.Private {
		plan.ours(number, setting.Index("dialplan.private", i))
	}
	plan.trunks()
}

func keys(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

// numberPlan knows who owns which number.
type numberPlan struct {
	*checker

	owners     map[string]string // number -> "the room at line 3 column 5"
	extensions []string
}

// claim gives number to an owner at path, unless it has one.
func (p *numberPlan) claim(number, what, path string) {
	if owner, taken := p.owners[number]; taken {
		p.add(path, "%s %s is %s already", what, number, owner)
		return
	}
	p.owners[number] = what + " at " + p.where(path)
}

// inside claims the number of a room or a group.
func (p *numberPlan) inside(what, number, path string) {
	if number == "" {
		return
	}
	if emergency, collides := p.config.Dialplan.EmergencyPrefix(number); collides {
		p.add(path, "%s %q begins like the emergency number %s: phones dial that at once", what, number, emergency)
		return
	}
	p.claim(number, what, path)
}

// short claims a short code, which must be reachable: neither a phone's digit map nor a feature's
// code may take it first.
func (p *numberPlan) short(short dialplan.ShortCodeConfig, path string) {
	if short.Code == "" {
		return
	}
	if feature, code, hidden := p.config.Dialplan.Hides(short.Code); hidden && code != short.Code {
		p.add(path+".code", "short code %q is never reached: the code %s of %s takes digits behind it", short.Code, code, feature)
		return
	}
	p.inside("short code", short.Code, path+".code")
}

func (p *numberPlan) group(group dialplan.GroupConfig, path string) {
	for i, member := range group.Members {
		p.member(member, setting.Index(path+".members", i))
	}
	switch group.Overflow {
	case "":
	case group.Number:
		p.add(path+".overflow", "group %q overflows to itself", group.Number)
	default:
		p.ours(group.Overflow, path+".overflow")
	}
}

// ours reports a number that is no extension, group, room or duty desk.
func (p *numberPlan) ours(number, path string) {
	d := p.config.Dialplan
	if number == d.Duty || dialplan.IsRoom(number) || slices.Contains(p.extensions, number) ||
		slices.ContainsFunc(d.Groups, func(g dialplan.GroupConfig) bool { return g.Number == number }) {
		return
	}
	p.add(path, "%q is no extension, group, room or duty number%s", number, setting.Hint(number, p.extensions))
}

func (p *numberPlan) extension(row inventory.Row) {
	number := row.Extension
	if number == "" {
		return
	}
	if emergency, collides := p.config.Dialplan.EmergencyPrefix(number); collides {
		p.addRow(row, inventory.ColumnExtension,
			"extension %q begins like the emergency number %s: phones dial that at once", number, emergency)
		return
	}
	if slices.Contains(p.extensions, number) {
		return // the list of terminals says so itself
	}
	p.extensions = append(p.extensions, number)
	if owner, taken := p.owners[number]; taken {
		p.addRow(row, inventory.ColumnExtension, "extension %q is %s already", number, owner)
		return
	}
	at := row.At(inventory.ColumnExtension)
	p.owners[number] = fmt.Sprintf("the extension at %s line %d column %d", p.config.Terminals.File, at.Line, at.Column)
}

// rule reports a rule that can never decide: numbers with an owner are looked
// up first. Emergency and duty numbers are dialplan's own business.
func (p *numberPlan) rule(rule dialplan.RuleConfig, path string) {
	pattern, err := dialplan.ParsePattern(rule.Match)
	if err != nil {
		return
	}
	if owner, taken := p.owners[rule.Match]; taken && !p.config.Dialplan.Reserved(rule.Match) {
		p.add(path+".match", "rule %q is never reached: the number is %s", pattern, owner)
	}
	for i, before := range p.config.Dialplan.Rules {
		earlier := setting.Index("dialplan.rules", i)
		if earlier == path {
			return
		}
		if before.Match == rule.Match {
			p.add(path+".match", "rule %q is never reached: the rule at %s has the same match", pattern, p.where(earlier+".match"))
			return
		}
	}
}

func (p *numberPlan) member(number, path string) {
	if !slices.Contains(p.extensions, number) {
		p.add(path, "unknown extension %q%s", number, setting.Hint(number, p.extensions))
	}
}
