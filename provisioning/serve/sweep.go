package serve

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"

	"linehall/internal/audit"
	"linehall/internal/observe"
	"linehall/internal/site"
)

// A MAC address is easy to guess: the vendor's part is known and 24 bits are
// left. Who asks for the files of several phones that are in no row is not a
// phone but somebody who tries them all.
const (
	// sweepMACs is how many unknown phones one address may ask for within
	// sweepWithin; one more and it gets nothing for sweepBan.
	sweepMACs   = 5
	sweepWithin = 10 * time.Minute
	sweepBan    = time.Hour
)

// Sweep is an address that asked for too many phones that nobody knows.
type Sweep struct {
	Address netip.Addr
	Site    site.ID // "" = none of ours
	Since   time.Time
	Until   time.Time
}

// sweeps counts unknown phones per address.
type sweeps struct {
	asked map[netip.Addr]map[string]time.Time // MAC -> last asked; at most sweepMACs + 1 each
	shut  map[netip.Addr]Sweep
}

// saw notes that an address asked for an unknown phone, and reports whether
// that was one too many.
func (w *sweeps) saw(from netip.Addr, at site.ID, mac string, now time.Time) bool {
	if w.asked == nil {
		w.asked, w.shut = map[netip.Addr]map[string]time.Time{}, map[netip.Addr]Sweep{}
	}
	if len(w.asked) >= maxSources || len(w.shut) >= maxSources {
		w.clean(now)
	}
	macs := w.asked[from]
	if macs == nil {
		if len(w.asked) >= maxSources {
			return false // a flood of addresses: the rate limit has them
		}
		macs = map[string]time.Time{}
		w.asked[from] = macs
	}
	maps.DeleteFunc(macs, func(_ string, last time.Time) bool { return now.Sub(last) > sweepWithin })
	macs[mac] = now
	if len(macs) <= sweepMACs {
		return false
	}
	delete(w.asked, from)
	w.shut[from] = Sweep{Address: from, Site: at, Since: now, Until: now.Add(sweepBan)}
	return true
}

func (w *sweeps) clean(now time.Time) {
	maps.DeleteFunc(w.asked, func(_ netip.Addr, macs map[string]time.Time) bool {
		for _, last := range macs {
			if now.Sub(last) <= sweepWithin {
				return false
			}
		}
		return true
	})
	maps.DeleteFunc(w.shut, func(_ netip.Addr, s Sweep) bool { return !now.Before(s.Until) })
}

// swept reports whether an address is shut out. Who shows a token is not
// asked: the phone behind the same address must not suffer.
func (s *Server) swept(a ask) bool {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	ban, shut := s.sweeps.shut[a.remote]
	return shut && a.token == "" && s.Now().Before(ban.Until)
}

// swipe counts an unknown phone; the one too many is an event.
func (s *Server) swipe(ctx context.Context, a ask, at site.ID, mac string) {
	s.sweeping.Lock()
	found := s.sweeps.saw(a.remote, at, mac, s.Now())
	s.sweeping.Unlock()
	if !found {
		return
	}
	s.Log.Warn("address asked for too many unknown phones, gets nothing for an hour", observe.Remote, a.remote.String(), observe.Site, string(at))
	if s.Audit == nil {
		return
	}
	event := audit.Event{Actor: "network", Source: a.remote.String(), Action: "provisioning.sweep", Object: a.remote.String(), Detail: map[string]string{"site": string(at)}}
	if err := s.Audit.Append(context.WithoutCancel(ctx), event); err != nil {
		s.Log.Error("sweep could not be audited", observe.Remote, a.remote.String(), observe.Err, err)
	}
}

// Sweeps lists the addresses that are shut out, the latest first.
func (s *Server) Sweeps() []Sweep {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	now := s.Now()
	list := slices.Collect(maps.Values(s.sweeps.shut))
	list = slices.DeleteFunc(list, func(w Sweep) bool { return !now.Before(w.Until) })
	slices.SortFunc(list, func(a, b Sweep) int { return b.Since.Compare(a.Since) })
	return list
}

// forgive forgets the sweeps of a site: an admin who opens its window expects
// phones there.
func (s *Server) forgive(id site.ID) {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	maps.DeleteFunc(s.sweeps.shut, func(_ netip.Addr, w Sweep) bool { return w.Site == id })
}
