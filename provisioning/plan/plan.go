// Package plan says what an apply would change at which phone, key by key, and
// carries it out: it tells the phones to fetch their files, in batches.
//
// What a phone shall get is computed from the files; what it was told last
// stands in the store. A plan is the difference, a pure function of the two,
// with a digest: who applies a plan that he has looked at applies that one or
// is refused. Secrets come in as marks and are shown as ***.
//
//	store (per phone) ──┐
//	                    ├─ Compare ─► Plan ─► Run: tell a phone, note it in the store, next
//	files ─► wanted ────┘
//
// Run notes each phone when it is done with it, so an apply that was killed
// is repeated for the rest and ends in the same state.
//
//	p := plan.Compare(applied, wanted)
//	fmt.Println(p.Digest, len(p.Changes))
//
// Plans are values. A Store may be used from several goroutines and processes.
package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"linehall/provisioning/phone"
)

// File is what one phone gets.
type File struct {
	MAC       string
	Extension string
	Name      string
	Site      string
	Model     string
	Brand     string
	Settings  []phone.Line
	Resync    phone.Resync
}

// Kind is what happens to a phone.
type Kind string

// The kinds of changes.
const (
	New     Kind = "new"     // gets its first file
	Changed Kind = "changed" // gets another
	Gone    Kind = "gone"    // is in no active row any more; it is refused, and has nothing to fetch
)

// Change is what one phone would notice.
type Change struct {
	MAC       string      `json:"mac"`
	Extension string      `json:"extension"`
	Name      string      `json:"name"`
	Site      string      `json:"site"`
	Brand     string      `json:"brand"`
	Model     string      `json:"model"`
	Kind      Kind        `json:"kind"`
	Restarts  bool        `json:"restarts"` // it may restart when it has fetched
	Rotates   bool        `json:"rotates"`  // it gets a new SIP password
	Keys      []KeyChange `json:"keys"`     // of Changed, in the order of the file

	file File
}

// Resync is how the phone is told.
func (c Change) Resync() phone.Resync { return c.file.Resync }

// KeyChange is one setting that differs; nil means that it is not in the file.
// Secrets are masked.
type KeyChange struct {
	Key    string  `json:"key"`
	Before *string `json:"before"`
	After  *string `json:"after"`
}

// Plan is what an apply would do.
type Plan struct {
	Digest  string   `json:"digest"` // of what was applied and what is wanted
	Phones  int      `json:"phones"` // that get files from us
	Changes []Change `json:"changes"`
}

// Mark stands in files for a secret, with a fingerprint behind it where it may
// change.
const Mark = "SECRET"

// Fingerprint marks a secret so that another one looks different.
func Fingerprint(secret, salt string) string {
	if secret == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(salt + "\x00" + secret))
	return Mark + "-" + hex.EncodeToString(sum[:3])
}

var marks = regexp.MustCompile(Mark + `(?:-[0-9a-f]{6})?`)

func masked(value string) *string {
	value = marks.ReplaceAllString(value, "***")
	return &value
}

// Compare makes the plan; wanted is sorted by extension in it.
func Compare(applied map[string]File, wanted []File) Plan {
	wanted = slices.Clone(wanted)
	slices.SortFunc(wanted, func(a, b File) int { return cmp.Or(cmp.Compare(a.Extension, b.Extension), cmp.Compare(a.MAC, b.MAC)) })
	p := Plan{Digest: digest(applied, wanted), Phones: len(wanted), Changes: []Change{}}
	known := map[string]bool{}
	for _, file := range wanted {
		known[file.MAC] = true
		before, there := applied[file.MAC]
		change := Change{
			MAC: file.MAC, Extension: file.Extension, Name: file.Name, Site: file.Site, Brand: file.Brand, Model: file.Model, file: file, Keys: []KeyChange{},
		}
		switch {
		case !there:
			change.Kind = New
		case before.Extension != file.Extension || before.Brand != file.Brand || !slices.Equal(before.Settings, file.Settings):
			change.Kind, change.Keys = Changed, differences(before.Settings, file.Settings)
			change.Restarts = file.Resync.Restarts || slices.ContainsFunc(change.Keys, network)
		default:
			continue
		}
		p.Changes = append(p.Changes, change)
	}
	for mac, file := range applied {
		if !known[mac] {
			p.Changes = append(p.Changes, Change{MAC: mac, Extension: file.Extension, Brand: file.Brand, Kind: Gone, Keys: []KeyChange{}, file: File{MAC: mac}})
		}
	}
	p.sort()
	return p
}

// Rotate adds a new password for the phones that are due; those that nothing
// else changes at come into the plan for it. The digest stays that of the
// settings, which secrets are not part of.
func (p Plan) Rotate(wanted []File, due func(File) bool) Plan {
	p.Changes = slices.Clone(p.Changes)
	for _, file := range wanted {
		if !due(file) {
			continue
		}
		if i := slices.IndexFunc(p.Changes, func(c Change) bool { return c.MAC == file.MAC }); i >= 0 {
			p.Changes[i].Rotates = true
			continue
		}
		p.Changes = append(p.Changes, Change{
			MAC: file.MAC, Extension: file.Extension, Name: file.Name, Site: file.Site, Brand: file.Brand, Model: file.Model,
			Kind: Changed, Restarts: file.Resync.Restarts, Rotates: true, Keys: []KeyChange{}, file: file,
		})
	}
	p.sort()
	return p
}

func (p Plan) sort() {
	slices.SortStableFunc(p.Changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Extension, b.Extension), cmp.Compare(a.MAC, b.MAC))
	})
}

// network reports whether the setting is one that phones restart for.
func network(k KeyChange) bool {
	key := strings.ToLower(k.Key)
	return strings.Contains(key, "vlan") || strings.Contains(key, "lldp") || slices.Contains([]string{"P51", "P87", "P22174", "P1684", "P8684"}, k.Key)
}

func differences(before, after []phone.Line) []KeyChange {
	was, is := map[string]string{}, map[string]string{}
	for _, l := range before {
		was[l.Key] = l.Value
	}
	changes := []KeyChange{}
	for _, l := range after {
		is[l.Key] = l.Value
		old, there := was[l.Key]
		switch {
		case !there:
			changes = append(changes, KeyChange{Key: l.Key, After: masked(l.Value)})
		case old != l.Value:
			changes = append(changes, KeyChange{l.Key, masked(old), masked(l.Value)})
		}
	}
	for _, l := range before {
		if _, there := is[l.Key]; !there {
			changes = append(changes, KeyChange{Key: l.Key, Before: masked(l.Value)})
		}
	}
	return changes
}

// digest is the same for the same files, whenever and wherever it is made.
func digest(applied map[string]File, wanted []File) string {
	type entry struct {
		MAC, Extension, Brand string
		Settings              []phone.Line
	}
	var all [2][]entry
	for mac, f := range applied {
		all[0] = append(all[0], entry{mac, f.Extension, f.Brand, f.Settings})
	}
	slices.SortFunc(all[0], func(a, b entry) int { return cmp.Compare(a.MAC, b.MAC) })
	for _, f := range wanted {
		all[1] = append(all[1], entry{f.MAC, f.Extension, f.Brand, f.Settings})
	}
	text, err := json.Marshal(all)
	if err != nil {
		return "" // strings only: cannot be
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// SettingsDigest is the same for the same settings.
func SettingsDigest(settings []phone.Line) string {
	sum := sha256.New()
	for _, l := range settings {
		sum.Write([]byte(l.Key + "\x00" + l.Value + "\x01"))
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}
