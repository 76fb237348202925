package configs

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"linehall/provisioning/inventory"
)

// Changes says what differs between two configurations.
type Changes struct {
	Sections []string // of linehall.yaml, in its order: "sites", "dialplan"; "terminals" also when only the rows differ
	Restart  []string // settings that differ and cannot change in a running appliance: "listen.sip_udp"
}

// Changed reports whether the section differs.
func (c Changes) Changed(section string) bool { return slices.Contains(c.Sections, section) }

// Compare returns what differs. Sections are compared whole.
func Compare(old, updated Config) Changes {
	var changes Changes
	a, b := reflect.ValueOf(old), reflect.ValueOf(updated)
	for i := range a.NumField() {
		section := a.Type().Field(i).Tag.Get("yaml")
		if section == "" {
			continue
		}
		same := reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface())
		if section == "terminals" {
			same = same && slices.EqualFunc(old.inventory, updated.inventory, inventory.Row.Same)
		}
		if !same {
			changes.Sections = append(changes.Sections, section)
		}
	}
	before, after := map[string]reflect.Value{}, map[string]reflect.Value{}
	collectLeaves(reflect.ValueOf(&old).Elem(), "", before)
	collectLeaves(reflect.ValueOf(&updated).Elem(), "", after)
	for _, path := range sortedPaths(before) {
		if fixed(path) && !reflect.DeepEqual(before[path].Interface(), after[path].Interface()) {
			changes.Restart = append(changes.Restart, path)
		}
	}
	return changes
}

// fixed reports whether the setting is read only when the appliance starts:
// sockets are open, the database is open, the domain is in certificates and in
// the digest realm of every phone, sessions and log-ins run by their rules.
func fixed(path string) bool {
	return strings.HasPrefix(path, "listen.") || strings.HasPrefix(path, "security.") && !strings.HasPrefix(path, "security.sip.") || path == "appliance.data" ||
		path == "appliance.domain" || path == "observability.log.format"
}

// Reload loads the configuration anew, to replace current in a running
// appliance. All or nothing: the error lists every problem, and a setting
// that cannot change without a restart is one.
func Reload(current Config, options Options) (Config, Changes, error) {
	updated, err := Load(options)
	if err != nil {
		return Config{}, Changes{}, err
	}
	changes := Compare(current, updated)
	if len(changes.Restart) == 0 {
		return updated, changes, nil
	}
	before, after := map[string]reflect.Value{}, map[string]reflect.Value{}
	collectLeaves(reflect.ValueOf(&current).Elem(), "", before)
	collectLeaves(reflect.ValueOf(&updated).Elem(), "", after)
	var refused []Problem
	for _, path := range changes.Restart {
		at := findPlace(updated.places, path)
		refused = append(refused, Problem{options.Path, at.line, at.column, fmt.Sprintf(
			"%s changed from %q to %q; that needs a restart", path, fmt.Sprint(before[path]), fmt.Sprint(after[path]))})
	}
	return Config{}, changes, &Error{Problems: sorted(refused, options.Path)}
}
