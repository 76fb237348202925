package feature

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/sip/location"
	"linehall/sip/stack"
)

// Desk is somebody at another desk's phone. The guest's calls ring there and nowhere else; calls
// from there are the guest's, with the guest's class of service. The desk's own number rings
// there as well.
type Desk struct {
	Desk  string
	Guest string
	Since time.Time
	Until time.Time // logged out then at the latest
}

// Desks lists the stays, by desk.
func (s *Service) Desks() []Desk {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]Desk, 0, len(s.desks))
	for _, d := range s.desks {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b Desk) int { return strings.Compare(a.Desk, b.Desk) })
	return list
}

// DeskOf returns where an extension sits as a guest.
func (s *Service) DeskOf(guest string) (Desk, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	desk, away := s.guests[guest]
	return s.desks[desk], away
}

// LogIn seats a guest at a desk. Whoever sat there leaves; so does the guest from where they were.
func (s *Service) LogIn(ctx context.Context, desk, guest, pin string) (Desk, error) {
	if err := s.verifyPIN(ctx, desk, guest, pin); err != nil {
		return Desk{}, err
	}
	t, known := s.o.Directory.ByExtension(guest)
	if !known || !t.MayRegister() || guest == desk {
		return Desk{}, ErrPIN
	}
	s.writing.Lock()
	s.mu.RLock()
	config := s.config.HotDesk
	before, was := s.desks[desk]
	s.mu.RUnlock()
	now := s.now()
	d := Desk{Desk: desk, Guest: guest, Since: now.UTC().Truncate(time.Second), Until: config.ends(now).UTC().Truncate(time.Second)}
	if err := s.store.saveDesk(ctx, d); err != nil {
		s.writing.Unlock()
		return Desk{}, fmt.Errorf("desk %s: %w: %w", desk, ErrStore, err)
	}
	s.mu.Lock()
	if was {
		delete(s.guests, before.Guest)
	}
	if old, away := s.guests[guest]; away {
		delete(s.desks, old)
	}
	s.desks[desk], s.guests[guest] = d, desk
	s.mu.Unlock()
	s.writing.Unlock()
	s.log.Info("guest logged in at a desk", slog.String("extension", guest), slog.String("desk", desk))
	s.tell(guest, desk, before.Guest)
	return d, nil
}

// LogOut ends the stay at a desk; false when nobody was there.
func (s *Service) LogOut(ctx context.Context, desk string) (bool, error) {
	s.writing.Lock()
	s.mu.RLock()
	d, was := s.desks[desk]
	s.mu.RUnlock()
	if !was {
		s.writing.Unlock()
		return false, nil
	}
	if err := s.store.deleteDesk(ctx, desk); err != nil {
		s.writing.Unlock()
		return false, fmt.Errorf("desk %s: %w: %w", desk, ErrStore, err)
	}
	s.mu.Lock()
	delete(s.desks, desk)
	delete(s.guests, d.Guest)
	s.mu.Unlock()
	s.writing.Unlock()
	s.log.Info("guest logged out at a desk", slog.String("extension", d.Guest), slog.String("desk", desk))
	s.tell(d.Guest, desk)
	return true, nil
}

func (s *Service) tell(extensions ...string) {
	for _, e := range extensions {
		if e == "" {
			continue
		}
		for _, f := range s.changed {
			f(e)
		}
	}
	s.poke()
}

// expireDesks ends the stays whose time is over and returns when the next one ends.
func (s *Service) expireDesks(ctx context.Context, now time.Time) time.Time {
	next := now.Add(time.Hour)
	for _, d := range s.Desks() {
		if d.Until.After(now) {
			if d.Until.Before(next) {
				next = d.Until
			}
			continue
		}
		if _, err := s.LogOut(ctx, d.Desk); err != nil {
			s.log.Error("stay at a desk not ended", slog.String("desk", d.Desk), slog.Any("err", err))
			next = now.Add(time.Minute)
		}
	}
	return next
}

// Acting returns who uses a terminal's phone: its guest, or itself. The site stays the desk's,
// because that is where an ambulance must go.
func (s *Service) Acting(t directory.Terminal) directory.Terminal {
	s.mu.RLock()
	d, occupied := s.desks[t.Extension]
	s.mu.RUnlock()
	if !occupied {
		return t
	}
	guest, known := s.o.Directory.ByExtension(d.Guest)
	if !known || !guest.MayRegister() {
		return t
	}
	guest.Site = t.Site
	return guest
}

// physical is the extension of the phone that somebody acts on.
func (s *Service) physical(acting string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if desk, away := s.guests[acting]; away {
		return desk
	}
	return acting
}

// Authenticator challenges requests (sip/digest).
type Authenticator interface {
	Check(req *stack.Request) (directory.Terminal, *sip.Response)
}

// ActingAuth lets calls from a desk be the guest's.
func (s *Service) ActingAuth(inner Authenticator) Authenticator { return actingAuth{s, inner} }

type actingAuth struct {
	s     *Service
	inner Authenticator
}

// Check authenticates the phone and returns who uses it.
func (a actingAuth) Check(req *stack.Request) (directory.Terminal, *sip.Response) {
	t, challenge := a.inner.Check(req)
	if challenge != nil {
		return t, challenge
	}
	return a.s.Acting(t), nil
}

// Whereabouts is where the call core finds phones (sip/location).
type Whereabouts interface {
	Locator
	Resolve(uri *sip.Uri) (location.Target, bool, error)
}

// ActingLocations lets a guest's calls ring at the desk. A GRUU names a device, whoever uses it.
func (s *Service) ActingLocations(inner Whereabouts) Whereabouts {
	return actingLocations{Whereabouts: inner, s: s}
}

type actingLocations struct {
	Whereabouts

	s *Service
}

// Lookup returns the bindings of the phone that the extension uses.
func (l actingLocations) Lookup(aor string) []location.Binding {
	user, host, ok := strings.Cut(aor, "@")
	if !ok {
		return l.Whereabouts.Lookup(aor)
	}
	return l.Whereabouts.Lookup(l.s.physical(user) + "@" + host)
}
