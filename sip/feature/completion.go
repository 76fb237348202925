package feature

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"linehall/internal/directory"
	"linehall/sip/dialplan"
)

// Call completion (ETSI EN 300 359-1 and 301 065-1 as models): whoever found a number busy, silent
// or away asks to be rung when it is free. A wish goes
//
//	absent ──registers──►
//	no_answer ──used──►   busy ──free for a moment──► the caller rings, then the callee; done
//
// and waits meanwhile while the caller is in a call. It ends when the caller's phone was rung once,
// when it expires, or when the caller takes it back.

// Waits says what a wish waits for.
type Waits string

// What wishes wait for.
const (
	WaitsBusy     Waits = "busy"      // the end of the callee's calls
	WaitsNoAnswer Waits = "no_answer" // a sign that somebody is there: the end of the callee's next call
	WaitsAbsent   Waits = "absent"    // a registration
)

// Bounds of wishes. EN 300 359-1 §9: five per caller, so that nobody holds the exchange's table.
const (
	mostOfCaller = 5
	mostOfCallee = 20
	mostWishes   = 500
	// freeGuard lets whoever has just hung up breathe, or dial again.
	freeGuard = 3 * time.Second
	// retryAfter is how long a call that could not be begun waits.
	retryAfter = 30 * time.Second
)

// Errors of Complete.
var (
	ErrNothingToComplete = errors.New("no unanswered call to an extension")
	ErrTooManyWishes     = errors.New("too many calls wait to be completed")
	ErrNotServed         = errors.New("nobody calls back here")
)

// Completion is a wish, for people.
type Completion struct {
	Caller, Callee string
	Waits          Waits
	Since, Expires time.Time
}

// completion is a wish in the table.
type completion struct {
	Completion

	notBefore time.Time
}

// wishes is the table, oldest first; it is guarded by Service.mu.
type wishes struct{ list []completion }

func (w *wishes) index(caller, callee string) int {
	return slices.IndexFunc(w.list, func(c completion) bool { return c.Caller == caller && c.Callee == callee })
}

func (w *wishes) about(extension string) bool {
	return slices.ContainsFunc(w.list, func(c completion) bool { return c.Callee == extension || c.Caller == extension })
}

// free takes note of an extension whose last call ended, and reports whether somebody waits for it.
func (w *wishes) free(extension string, used bool) bool {
	for i := range w.list {
		if c := &w.list[i]; c.Callee == extension && used {
			c.Waits = WaitsBusy
		}
	}
	return w.about(extension)
}

// Originator calls an extension and then, for it, a number (sip/call).
type Originator interface {
	Originate(ctx context.Context, from directory.Terminal, number string) error
}

// CallBackWith gives the service what it calls back with; before Run.
func (s *Service) CallBackWith(o Originator) { s.caller = o }

// Complete asks for a call back when callee is free; "" is whom the caller called last in vain.
func (s *Service) Complete(ctx context.Context, caller directory.Terminal, callee string) (Completion, error) {
	if s.caller == nil {
		return Completion{}, ErrNotServed
	}
	if callee == "" {
		s.mu.RLock()
		tried, known := s.watch.dialled[caller.Extension]
		s.mu.RUnlock()
		if !known || tried.answered {
			return Completion{}, ErrNothingToComplete
		}
		callee = tried.callee
	}
	d := s.o.Plan.Decide(callerOf(caller), callee, s.now())
	if d.Kind != dialplan.Extension || d.Number == caller.Extension {
		return Completion{}, ErrNothingToComplete
	}
	now := time.Now().UTC().Truncate(time.Second)
	c := completion{Completion: Completion{Caller: caller.Extension, Callee: d.Number, Waits: WaitsNoAnswer, Since: now}}
	switch {
	case s.callsOf(c.Callee) > 0:
		c.Waits = WaitsBusy
	case !s.there(c.Callee):
		c.Waits = WaitsAbsent
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.RLock()
	c.Expires = now.Add(s.config.Completion.Expires)
	err := s.wishes.room(c)
	s.mu.RUnlock()
	if err != nil {
		return Completion{}, err
	}
	if err := s.store.saveCompletion(ctx, c); err != nil {
		return Completion{}, errors.Join(ErrStore, err)
	}
	s.mu.Lock()
	s.wishes.put(c)
	s.mu.Unlock()
	s.poke()
	return c.Completion, nil
}

// room reports whether one more wish fits.
func (w *wishes) room(c completion) error {
	if w.index(c.Caller, c.Callee) >= 0 {
		return nil
	}
	ofCaller, ofCallee := 0, 0
	for _, o := range w.list {
		if o.Caller == c.Caller {
			ofCaller++
		}
		if o.Callee == c.Callee {
			ofCallee++
		}
	}
	if len(w.list) >= mostWishes || ofCaller >= mostOfCaller || ofCallee >= mostOfCallee {
		return ErrTooManyWishes
	}
	return nil
}

func (w *wishes) put(c completion) {
	if i := w.index(c.Caller, c.Callee); i >= 0 {
		w.list[i] = c
		return
	}
	w.list = append(w.list, c)
}

// Forget takes wishes of a caller back; callee "" means all. It returns how many there were.
func (s *Service) Forget(ctx context.Context, caller, callee string) (int, error) {
	n := 0
	for _, c := range s.Completions() {
		if c.Caller != caller || (callee != "" && c.Callee != callee) {
			continue
		}
		if err := s.drop(ctx, c); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func (s *Service) drop(ctx context.Context, c Completion) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.store.deleteCompletion(ctx, c.Caller, c.Callee); err != nil {
		return errors.Join(ErrStore, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.wishes.index(c.Caller, c.Callee); i >= 0 {
		s.wishes.list = slices.Delete(s.wishes.list, i, i+1)
	}
	return nil
}

// Completions lists the wishes, oldest first.
func (s *Service) Completions() []Completion {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]Completion, 0, len(s.wishes.list))
	for _, c := range s.wishes.list {
		list = append(list, c.Completion)
	}
	return list
}

// complete calls back whoever can be called back, drops what has expired, and returns when to look
// again at the latest.
func (s *Service) complete(ctx context.Context, now time.Time) time.Time {
	next := now.Add(time.Hour)
	s.mu.RLock()
	list := slices.Clone(s.wishes.list)
	s.mu.RUnlock()
	begun := map[string]bool{} // one call at a time to an extension, and from one
	for _, c := range list {
		if !c.Expires.After(now) {
			if err := s.drop(ctx, c.Completion); err != nil {
				s.log.Error("expired completion not dropped", slog.Any("err", err))
			}
			continue
		}
		at, ready := s.due(c, now)
		if ready && !begun[c.Caller] && !begun[c.Callee] {
			begun[c.Caller], begun[c.Callee] = true, true
			at = s.begin(ctx, c, now)
		}
		for _, t := range []time.Time{at, c.Expires} {
			if t.After(now) && t.Before(next) {
				next = t
			}
		}
	}
	return next
}

// due reports whether a wish can be fulfilled; if only time is missing, at says when.
func (s *Service) due(c completion, now time.Time) (at time.Time, ready bool) {
	if !s.there(c.Callee) || !s.there(c.Caller) || s.settings(c.Callee).DoNotDisturb {
		return time.Time{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.wishes.index(c.Caller, c.Callee)
	if i < 0 || s.caller == nil {
		return time.Time{}, false
	}
	wish := &s.wishes.list[i]
	if wish.Waits == WaitsAbsent { // it is there now
		wish.Waits = WaitsBusy
	}
	if wish.Waits != WaitsBusy || s.watch.count[c.Callee] > 0 || s.watch.count[c.Caller] > 0 {
		return time.Time{}, false
	}
	at = wish.notBefore
	for _, e := range []string{c.Callee, c.Caller} {
		if guard := s.watch.ended[e].Add(freeGuard); guard.After(at) {
			at = guard
		}
	}
	return at, !at.After(now)
}

// begin calls the caller back. The wish is over when the caller's phone rings; when it cannot even
// be called the wish waits a little.
func (s *Service) begin(ctx context.Context, c completion, now time.Time) time.Time {
	t, known := s.o.Directory.ByExtension(c.Caller)
	if known && t.MayRegister() {
		err := s.caller.Originate(ctx, t, c.Callee)
		if err != nil {
			s.log.Info("call back not begun", slog.String("extension", c.Caller), slog.Any("err", err))
			s.mu.Lock()
			defer s.mu.Unlock()
			if i := s.wishes.index(c.Caller, c.Callee); i >= 0 {
				s.wishes.list[i].notBefore = now.Add(retryAfter)
			}
			return now.Add(retryAfter)
		}
		s.log.Info("caller called back", slog.String("extension", c.Caller), slog.String("to", c.Callee))
	}
	if err := s.drop(ctx, c.Completion); err != nil {
		s.log.Error("completion not dropped", slog.Any("err", err))
		return now.Add(retryAfter)
	}
	return time.Time{}
}
