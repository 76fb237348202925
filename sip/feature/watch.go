package feature

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"linehall/sip/call"
	"linehall/sip/dialplan"
	"linehall/sip/location"
)

// watch is what calls and registrations tell us. It is guarded by Service.mu. Its tables are
// bounded by the calls that the core allows and by the extensions that there are.
type watch struct {
	calls    map[string][]string   // extensions of a call, by its id
	count    map[string]int        // calls of an extension
	ended    map[string]time.Time  // when an extension's last call ended
	last     map[string]lastCaller // who called an extension last
	dialled  map[string]attempt    // whom an extension called last
	answered map[string]string     // who of a group had its last call
}

// lastCaller is who called last; number is empty when it was withheld.
type lastCaller struct {
	number string
	at     time.Time
}

// attempt is an extension's last call to another one.
type attempt struct {
	callee   string
	answered bool
}

func newWatch() watch {
	return watch{
		calls: map[string][]string{}, count: map[string]int{}, ended: map[string]time.Time{},
		last: map[string]lastCaller{}, dialled: map[string]attempt{}, answered: map[string]string{},
	}
}

// CallChanged takes every change of every call (sip/call's OnChange). It does not block.
func (s *Service) CallChanged(info call.Info) {
	var parties []string
	if info.State != call.StateEnded {
		parties = partiesOf(info)
	}
	now := time.Now()
	s.mu.Lock()
	before := s.watch.calls[info.ID]
	if !info.AnsweredAt.IsZero() {
		s.watch.noteAnswer(info)
	}
	var free []string
	for _, e := range before {
		if slices.Contains(parties, e) {
			continue
		}
		if s.watch.count[e]--; s.watch.count[e] <= 0 {
			delete(s.watch.count, e)
			s.watch.ended[e] = now
			free = append(free, e)
		}
	}
	for _, e := range parties {
		if !slices.Contains(before, e) {
			s.watch.count[e]++
		}
	}
	if info.State == call.StateEnded {
		delete(s.watch.calls, info.ID)
	} else {
		s.watch.calls[info.ID] = parties
	}
	wanted := false
	for _, e := range free {
		// A call that its own phone made or answered says that somebody is there; one that rang in
		// vain does not.
		used := e == info.From.Extension || !info.AnsweredAt.IsZero()
		wanted = s.wishes.free(e, used) || wanted
	}
	s.mu.Unlock()
	if wanted || info.State == call.StateEnded {
		s.poke()
	}
}

// partiesOf lists the extensions whose phones are in the call, each once.
func partiesOf(info call.Info) []string {
	var parties []string
	for _, d := range info.Dialogs {
		if d.Extension != "" && !slices.Contains(parties, d.Extension) {
			parties = append(parties, d.Extension)
		}
	}
	return parties
}

func (w *watch) noteAnswer(info call.Info) {
	if a, ok := w.dialled[info.From.Extension]; ok && a.callee == info.Dialled {
		a.answered = true
		w.dialled[info.From.Extension] = a
	}
	if info.Dialled != info.To.Extension {
		w.answered[info.Dialled] = info.To.Extension
		if len(w.answered) > maxLocks { // dialled numbers that are no groups
			clear(w.answered)
		}
	}
}

// noteCall remembers who calls whom, for call back and for completion.
func (s *Service) noteCall(caller, callee string, withheld bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := caller
	if withheld {
		shown = ""
	}
	s.watch.last[callee] = lastCaller{shown, time.Now()}
	if len(s.unsaved) == 0 {
		signal(s.noted)
	}
	s.unsaved[callee] = true
	if _, ours := s.o.Directory.ByExtension(caller); ours {
		s.watch.dialled[caller] = attempt{callee: callee}
	}
}

// saveLastCallers writes what was noted since the last time.
func (s *Service) saveLastCallers(ctx context.Context) {
	s.mu.Lock()
	due := make(map[string]lastCaller, len(s.unsaved))
	for e := range s.unsaved {
		due[e] = s.watch.last[e]
	}
	clear(s.unsaved)
	s.mu.Unlock()
	for e, last := range due {
		if err := s.store.saveLastCaller(ctx, e, last); err != nil {
			s.log.Warn("last caller not stored", slog.String("extension", e), slog.Any("err", err))
		}
	}
}

// LastCaller returns who called an extension last; "" when the number was withheld.
func (s *Service) LastCaller(extension string) (number string, at time.Time, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	last, ok := s.watch.last[extension]
	return last.number, last.at, ok
}

func (s *Service) callsOf(extension string) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.watch.count[extension]
}

// Registered takes every change of an address of record's contacts (sip/location's OnChange). It
// does not block.
func (s *Service) Registered(aor string) {
	extension, _, _ := strings.Cut(aor, "@")
	s.mu.RLock()
	acting := extension
	if d, occupied := s.desks[extension]; occupied {
		acting = d.Guest
	}
	wanted := s.wishes.about(extension) || s.wishes.about(acting)
	s.mu.RUnlock()
	if wanted {
		s.poke()
	}
}

// there reports whether a phone that the extension uses is registered.
func (s *Service) there(extension string) bool {
	return len(s.o.Locations.Lookup(location.AOR(s.physical(extension), s.o.Domain))) > 0
}

// order sorts a group's members by its strategy.
func (s *Service) order(g dialplan.GroupConfig) []string {
	members := slices.Clone(g.Members)
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch g.Strategy {
	case dialplan.LongestIdle:
		// Never in a call since the start is longest; among those the configured order holds.
		slices.SortStableFunc(members, func(a, b string) int { return s.watch.ended[a].Compare(s.watch.ended[b]) })
	case dialplan.Memory:
		if at := slices.Index(members, s.watch.answered[g.Number]); at >= 0 {
			members = append(members[at+1:], members[:at+1]...)
		}
	case dialplan.RingAll, dialplan.Linear:
	}
	return members
}
