package plan

import (
	"fmt"
	"slices"
	"strings"
)

// Limit chooses some of a plan's phones; the zero value all of them.
type Limit struct {
	Sites, MACs, Extensions, Models []string
}

// ParseLimit reads site=branch1,mac=00:15:65:00:00:01,extension=8001,model=T54W:
// a phone is chosen when each of the named kinds has it.
func ParseLimit(text string) (Limit, error) {
	var l Limit
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		key, value, _ := strings.Cut(part, "=")
		if value == "" {
			return l, fmt.Errorf("limit %q: write it like site=branch1", part)
		}
		switch key {
		case "site":
			l.Sites = append(l.Sites, value)
		case "mac":
			l.MACs = append(l.MACs, strings.ToLower(value))
		case "extension":
			l.Extensions = append(l.Extensions, value)
		case "model":
			l.Models = append(l.Models, value)
		default:
			return l, fmt.Errorf("limit %q: want site, mac, extension or model", part)
		}
	}
	return l, nil
}

// Has reports whether the change is chosen.
func (l Limit) Has(c Change) bool {
	in := func(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }
	plain := func(mac string) string { return strings.NewReplacer(":", "", "-", "", ".", "").Replace(mac) }
	return in(l.Sites, c.Site) && in(l.Extensions, c.Extension) && in(l.Models, c.Model) &&
		(len(l.MACs) == 0 || slices.ContainsFunc(l.MACs, func(m string) bool { return plain(m) == plain(c.MAC) }))
}

// Only is the plan for some phones; its digest stays that of the whole.
func (p Plan) Only(l Limit) Plan {
	p.Changes = slices.DeleteFunc(slices.Clone(p.Changes), func(c Change) bool { return !l.Has(c) })
	return p
}
