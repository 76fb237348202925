package inventory

import (
	"encoding/csv"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"linehall/internal/site"
)

// Stranger is a phone that asked for a configuration and is in no row.
type Stranger struct {
	MAC       string
	Brand     string
	Model     string // as it says itself; "" = it did not
	UserAgent string
	Address   netip.Addr
	Site      site.ID // of the address, "" = none of ours
	FirstSeen time.Time
	LastSeen  time.Time
	Requests  int
}

// CSV is a row for terminals.csv that lacks only extension and name.
func (s Stranger) CSV() string {
	fields := []string{s.MAC, s.Model, string(s.Site), "", "", "", StateActive, ""}
	var b strings.Builder
	w := csv.NewWriter(&b)
	if err := w.Write(fields); err != nil {
		return "" // a strings.Builder takes everything
	}
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}

// maxStrangers bounds the list: it is fed by the network.
const maxStrangers = 1000

// Unknown is the bounded list of strangers. When it is full, the one that was
// silent longest makes room. The zero value is ready; it may be used from many
// goroutines at once.
type Unknown struct {
	mu   sync.Mutex // guards list
	list map[string]Stranger
}

// Saw records a request. It reports whether the phone is new to the list.
func (u *Unknown) Saw(s Stranger, at time.Time) bool {
	s.Model, s.UserAgent = printable(s.Model, 32), printable(s.UserAgent, 160)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.list == nil {
		u.list = map[string]Stranger{}
	}
	before, known := u.list[s.MAC]
	s.FirstSeen, s.LastSeen, s.Requests = at, at, 1
	if known {
		s.FirstSeen, s.Requests = before.FirstSeen, before.Requests+1
		if s.Model == "" {
			s.Brand, s.Model = before.Brand, before.Model
		}
	} else if len(u.list) >= maxStrangers {
		delete(u.list, u.silentLongest())
	}
	u.list[s.MAC] = s
	return !known
}

func (u *Unknown) silentLongest() string {
	oldest, mac := time.Time{}, ""
	for m, s := range u.list {
		if mac == "" || s.LastSeen.Before(oldest) {
			oldest, mac = s.LastSeen, m
		}
	}
	return mac
}

// Forget drops a phone that is in a row now.
func (u *Unknown) Forget(mac string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.list, mac)
}

// List returns the strangers, the last seen first.
func (u *Unknown) List() []Stranger {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := make([]Stranger, 0, len(u.list))
	for _, s := range u.list {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Stranger) int {
		if c := b.LastSeen.Compare(a.LastSeen); c != 0 {
			return c
		}
		return strings.Compare(a.MAC, b.MAC)
	})
	return list
}

// printable cuts a foreign text and drops what a terminal or a spreadsheet
// would act on: control characters, and a formula's first sign.
func printable(text string, length int) string {
	runes := []rune(strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) || c == unicode.ReplacementChar {
			return -1
		}
		return c
	}, text))
	return strings.TrimLeft(string(runes[:min(len(runes), length)]), "=+-@ ")
}
