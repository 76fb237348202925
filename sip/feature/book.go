package feature

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"linehall/internal/audit"
	"linehall/internal/database"
	"linehall/internal/directory"
	"linehall/internal/setting"
	"linehall/sip/dialplan"
	"linehall/sip/location"
)

// Errors that callers branch on. A value that breaks a rule is a *setting.Complaint for each
// field (setting.Unfold).
var (
	ErrUnknown = errors.New("no such extension")
	// ErrStore: the database did not take the change; nothing changed.
	ErrStore = errors.New("not stored")
	// ErrPIN: extension and PIN do not fit, or there is no PIN. It never says which.
	ErrPIN = errors.New("extension or PIN is wrong")
	// ErrLocked: too many wrong PINs; it is said for extensions that do not exist as well.
	ErrLocked = errors.New("too many wrong PINs, wait")
)

// Directory knows who phones are.
type Directory interface {
	ByExtension(extension string) (directory.Terminal, bool)
}

// Plan is the number plan of this moment; a reload may swap it between two calls.
type Plan interface {
	Decide(from dialplan.Caller, number string, at time.Time) dialplan.Decision
	Group(number string) (dialplan.GroupConfig, bool)
	Groups() []dialplan.GroupConfig
}

// Locator knows which phones are registered (sip/location).
type Locator interface {
	Lookup(aor string) []location.Binding
}

// Hasher keeps PINs as something that cannot be turned back (internal/auth).
type Hasher interface {
	Hash(ctx context.Context, text string) (string, error)
	Fits(ctx context.Context, hash, text string) (bool, error)
}

// Recorder takes what was done (internal/audit).
type Recorder interface {
	Append(ctx context.Context, e audit.Event) error
}

// Options are the parts of a Service.
type Options struct {
	DB        *sql.DB // with Schema applied; nil keeps nothing over a restart
	Directory Directory
	Plan      Plan
	Locations Locator
	Hasher    Hasher
	Audit     Recorder
	Domain    string // of addresses of record
	Config    Config // the zero value means DefaultConfig
	// Language and Zone are asked each time, so that a reload may change them; nil: English, UTC.
	Language func() string
	Zone     func() *time.Location
	Log      *slog.Logger
}

// Service holds all settings.
type Service struct {
	o     Options
	log   *slog.Logger
	store store

	changed []func(extension string) // set before Run
	caller  Originator               // nil: no call-backs
	taper   Taper                    // nil: nothing is recorded
	claims  Claims                   // nil: phones cannot be claimed
	wake    chan struct{}            // capacity 1: Run shall look again
	noted   chan struct{}            // capacity 1: last callers are to be written

	writing sync.Mutex // one change at a time; held over database work, never with mu the other way round
	mu      sync.RWMutex
	config  Config
	book    map[string]Settings // values are never written to
	pins    map[string]string
	desks   map[string]Desk // by desk
	guests  map[string]string
	locks   lockout
	watch   watch
	wishes  wishes
	unsaved map[string]bool // extensions whose last caller is not stored yet
}

// Open reads what is stored. It starts nothing.
func Open(ctx context.Context, o Options) (*Service, error) {
	if o.Directory == nil || o.Plan == nil || o.Locations == nil || o.Hasher == nil || o.Audit == nil {
		return nil, errors.New("features: a part is missing")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Language == nil {
		o.Language = func() string { return "en" }
	}
	if o.Zone == nil {
		o.Zone = func() *time.Location { return time.UTC }
	}
	if o.Config == (Config{}) {
		o.Config = DefaultConfig()
	}
	s := &Service{
		o: o, log: o.Log, store: store{o.DB}, config: o.Config, wake: make(chan struct{}, 1), noted: make(chan struct{}, 1),
		desks: map[string]Desk{}, guests: map[string]string{}, locks: newLockout(), watch: newWatch(), unsaved: map[string]bool{},
	}
	k, err := s.store.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("features: %w", err)
	}
	s.book, s.pins, s.watch.last = k.settings, k.pins, k.last
	for _, d := range k.desks {
		s.desks[d.Desk], s.guests[d.Guest] = d, d.Desk
	}
	s.wishes.list = k.completions
	return s, nil
}

// OnChange adds a receiver of the extensions whose settings changed. It is called without locks
// held, by whoever made the change, and must not block; before Run.
func (s *Service) OnChange(f func(extension string)) { s.changed = append(s.changed, f) }

// Apply takes a new configuration; stays that go on keep their end.
func (s *Service) Apply(c Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config = c
}

// Settings returns what is switched for an extension; the caller owns it.
func (s *Service) Settings(extension string) Settings { return s.settings(extension).clone() }

// settings is Settings to read only.
func (s *Service) settings(extension string) Settings {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.book[extension]
}

// Change edits an extension's settings: checked, stored, then in force. It returns what is in
// force afterwards. The error says which field breaks which rule (*setting.Complaint); nothing
// has changed then. Whoever changes on a person's word records it before.
func (s *Service) Change(ctx context.Context, extension string, edit func(*Settings)) (Settings, error) {
	terminal, known := s.o.Directory.ByExtension(extension)
	if !known || extension == "" {
		return Settings{}, fmt.Errorf("features of %q: %w", extension, ErrUnknown)
	}
	s.writing.Lock()
	before := s.settings(extension)
	after := before.clone()
	edit(&after)
	err := after.Validate()
	if err == nil {
		err = s.allowed(terminal, before, after)
	}
	if err == nil {
		if err = s.store.saveSettings(ctx, extension, after, time.Now()); err != nil {
			s.log.Error("settings not stored", slog.String("extension", extension), slog.Any("err", err))
			err = fmt.Errorf("%w: %w", ErrStore, database.Explain(err))
		}
	}
	if err != nil {
		s.writing.Unlock()
		return before.clone(), err
	}
	s.mu.Lock()
	s.book[extension] = after
	s.mu.Unlock()
	s.writing.Unlock()
	for _, f := range s.changed {
		f(extension)
	}
	s.poke()
	return after.clone(), nil
}

// allowed checks what is new against the number plan: nobody forwards to where they may not call
// themselves, by day and by night, because a forward to the public network is a call that the
// organisation pays for. What was set before stays until it is used (plan.go checks again).
func (s *Service) allowed(t directory.Terminal, before, after Settings) error {
	var found setting.Complaints
	for _, k := range kinds() {
		was, is := *before.forward(k), *after.forward(k)
		if is.To == "" || is == was || (!is.On && is.To == was.To) {
			continue
		}
		if is.To == t.Extension {
			found.Add(string(k)+".to", "%s would forward to itself", t.Extension)
			continue
		}
		if why := s.forbidden(t, is.To); why != "" {
			found.Add(string(k)+".to", "%s", why)
		}
	}
	if b := after.Boss; b.Secretary != before.Boss.Secretary && b.Secretary != "" {
		if _, known := s.o.Directory.ByExtension(b.Secretary); !known || b.Secretary == t.Extension {
			found.Add("boss.secretary", "%q is no other extension", b.Secretary)
		}
	}
	for code, number := range after.SpeedDials {
		if number != before.SpeedDials[code] && speedCode(number) {
			found.Add("speed_dials."+code, "%q is a speed dial's code itself", number)
		}
	}
	for i, number := range after.LoggedOut {
		if _, is := s.o.Plan.Group(number); !is && !slices.Contains(before.LoggedOut, number) {
			found.Add(setting.Index("logged_out", i), "%q is no group", number)
		}
	}
	return found.Err()
}

// forbidden says why an extension may not forward to a number, or "".
func (s *Service) forbidden(t directory.Terminal, number string) string {
	d := s.o.Plan.Decide(callerOf(t), number, s.now())
	switch d.Kind {
	case dialplan.Extension, dialplan.Duty, dialplan.Group, dialplan.Outside:
		return ""
	case dialplan.Emergency:
		return fmt.Sprintf("calls cannot be forwarded to the emergency number %s", number)
	case dialplan.Forbidden:
		return fmt.Sprintf("%s may not call %s: %s", t.Extension, number, lastStep(d))
	case dialplan.Room:
		return fmt.Sprintf("calls cannot be forwarded to the meeting room %s", number)
	case dialplan.Feature, dialplan.Unknown:
	}
	return fmt.Sprintf("%s is no number that could ring", number)
}

func lastStep(d dialplan.Decision) string {
	if len(d.Steps) == 0 {
		return string(d.Kind)
	}
	return d.Steps[len(d.Steps)-1].Result
}

// callerOf is a terminal as the number plan sees it.
func callerOf(t directory.Terminal) dialplan.Caller {
	return dialplan.Caller{Extension: t.Extension, Class: t.Class, Site: t.Site}
}

// now is the time where the organisation is.
func (s *Service) now() time.Time { return time.Now().In(s.o.Zone()) }

// poke makes Run look again.
func (s *Service) poke() { signal(s.wake) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it has one to come anyway
	}
}
