package call

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"linehall/internal/observe"
	"linehall/media/anchor"
	"linehall/media/line"
	"linehall/sip/cdr"
	"linehall/sip/toll"
)

// saved is an established call as the store keeps it: everything that the next process needs
// to go on with it. Version rises when an older one cannot be read any more.
type saved struct {
	Version    int             `json:"version"`
	ID         string          `json:"id"`
	Class      line.Class      `json:"class"`
	Precedence line.Precedence `json:"precedence,omitempty"`
	Record     cdr.Record      `json:"record"`
	FromName   string          `json:"from_name"`
	ToName     string          `json:"to_name"`
	Caller     *leg            `json:"caller"`
	Callee     *leg            `json:"callee"`
	Media      []byte          `json:"media,omitempty"` // the media plane's own; empty before the first answer
	Answer     *savedAnswer    `json:"answer,omitempty"`
	Reanswer   *savedReanswer  `json:"reanswer,omitempty"`
	Link       *savedLink      `json:"link,omitempty"`
	Transfer   *savedTransfer  `json:"transfer,omitempty"`
	Ringing    *savedRinging   `json:"ringing,omitempty"` // instead of Caller, Callee and Media
	Tolls      []toll.Account  `json:"tolls,omitempty"`   // what it counts for at once
	Tape       *savedTape      `json:"tape,omitempty"`
	Guests     []*leg          `json:"guests,omitempty"` // who had joined
}

const savedVersion = 1

// dirty asks for the state to be saved after the present message.
func (c *call) dirty() { c.unsaved = true }

func (c *call) flush() {
	if c.unsaved && (c.m.Phase == phaseAccepted || c.m.Phase == phaseUp) {
		c.save()
	}
	c.unsaved = false
}

// save commits the state. When the database refuses it the call goes on: people talk, and the
// metric and the log say that a restart would cut them (design 3.1).
func (c *call) save() {
	c.unsaved = false
	c.disarm(timerName{kind: "save"})
	if c.pair == nil {
		return
	}
	err := c.commit()
	if err != nil && !c.refused {
		c.s.metrics.unrecoverable.Inc()
		c.log.Error("call state not stored: a restart would cut this call", slog.Any(observe.Err, err))
	}
	c.recoverable, c.refused = err == nil, err != nil
	c.stored = true // it may be, also when Save fails; Delete is idempotent
}

// saveSoon has a state committed that is no loss when a crash comes first: the one before does as well. The call does not
// wait for it.
func (c *call) saveSoon(lag time.Duration) {
	c.unsaved = false
	if !c.recoverable { // then try with all that belongs to it
		c.save()
		return
	}
	raw, err := c.encode()
	if err != nil {
		c.log.Error("call state not stored: a restart takes the one before", slog.Any(observe.Err, err))
		return
	}
	c.s.o.Store.SaveSoon(c.id, raw, lag, func(err error) {
		if err != nil {
			c.log.Warn("call state not stored: a restart takes the one before", slog.Any(observe.Err, err))
		}
	})
}

func (c *call) commit() error {
	raw, err := c.encode()
	if err != nil {
		return err
	}
	c.aside()
	ctx, cancel := withoutCancel(c.ctx, storeTime)
	defer cancel()
	return c.s.o.Store.Save(ctx, c.id, raw)
}

// encode is the state as the store keeps it.
func (c *call) encode() ([]byte, error) {
	media, err := c.pair.branch.path.State()
	switch {
	case errors.Is(err, anchor.ErrNotAgreed), c.link != nil: // a late offer: its answer comes in the ACK; parties that have not met
		media = nil
	case err != nil:
		return nil, fmt.Errorf("media: %w", err)
	}
	raw, err := json.Marshal(saved{
		Version: savedVersion, ID: c.id, Class: c.class, Precedence: c.precedence, Record: c.rec, FromName: c.fromName, ToName: c.toName,
		Caller: c.pair.caller, Callee: c.pair.callee, Media: media, Answer: c.answer,
		Reanswer: c.reanswer, Link: c.link, Transfer: c.transfer.saved(),
		Tolls: c.s.o.Tolls.Held(c.id), Tape: c.savedTape(), Guests: c.savedGuests(),
	})
	if err != nil {
		return nil, err
	}
	return c.protect(raw)
}

// Restore takes up the calls that the store holds, before Run: their dialogs answer, their
// media ports are open again. A call that cannot be read is dropped and counted in the log. It
// returns the ids of the calls that go on.
func (s *Service) Restore(ctx context.Context) (map[string]bool, error) {
	states, err := s.o.Store.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("calls: %w", err)
	}
	ended, err := s.o.Records.Finished(ctx, slices.Collect(maps.Keys(states)))
	if err != nil {
		return nil, fmt.Errorf("calls: %w", err)
	}
	recovered := map[string]bool{}
	var (
		back  []revived
		mu    sync.Mutex // guards recovered and back
		hands errgroup.Group
	)
	hands.SetLimit(runtime.GOMAXPROCS(0)) // each call that is back is heard again: all cores, or others wait
	for id, raw := range states {
		if ended[id] {
			s.forgetState(id)
			continue
		}
		hands.Go(func() error {
			raw, err := s.unprotect(id, raw)
			var r revived
			if err == nil {
				r, err = s.restore(ctx, raw)
			}
			if err != nil {
				s.o.Tolls.Release(id)
				s.log.Error("call not recovered", slog.String(observe.CallID, id), slog.Any(observe.Err, err))
				s.forgetState(id)
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			recovered[id] = true
			back = append(back, r)
			return nil
		})
	}
	_ = hands.Wait() // they log what goes wrong
	reunite(back)
	for _, r := range back {
		s.takeBack(r.call)
	}
	if len(recovered) > 0 {
		s.log.Info("calls recovered", slog.Int(observe.Count, len(recovered)))
	}
	return recovered, nil
}

// forgetState deletes the state of a call that has ended. One that stays behind does no harm: its record says
// that it has ended.
func (s *Service) forgetState(id string) {
	s.o.Store.Delete(id, func(err error) {
		if err != nil {
			s.log.Error("call state not deleted", slog.String(observe.CallID, id), slog.Any(observe.Err, err))
		}
	})
}

// revived is a call of before the restart, with its state.
type revived struct {
	call  *call
	state saved
}

func (s *Service) restore(ctx context.Context, raw []byte) (revived, error) {
	var st saved
	if err := json.Unmarshal(raw, &st); err != nil {
		return revived{}, err
	}
	if st.Version != savedVersion || st.Ringing == nil && (st.Caller == nil || st.Callee == nil || st.Caller.Dialog == nil || st.Callee.Dialog == nil) {
		return revived{}, fmt.Errorf("state of version %d cannot be read", st.Version)
	}
	c := &call{
		s: s, id: st.ID, log: s.log.With(observe.CallID, st.ID), class: st.Class, precedence: st.Precedence, rec: st.Record, m: restored(),
		done: make(chan struct{}), timers: map[timerName]*timer{},
		fromName: st.FromName, toName: st.ToName, recoverable: true, stored: true, ctx: ctx, answer: st.Answer, reanswer: st.Reanswer,
	}
	s.o.Tolls.Resume(c.id, st.Tolls)
	if st.Ringing != nil {
		c.recoverable = false // as before the answer
		return revived{c, st}, s.restoreRinging(c, st.Ringing)
	}
	c.revived = true
	b := &branchLeg{site: st.Callee.Site}
	var err error
	if len(st.Media) > 0 {
		c.media, b.path, err = s.o.Anchor.Restore(c.holder(), st.Media)
	}
	if err != nil || len(st.Media) == 0 {
		// The conversation's media is lost, its dialogs are not: a re-INVITE brings it back.
		if st.Link == nil {
			c.log.Error("media of a call not recovered", slog.Any(observe.Err, err))
		}
		c.media = s.o.Anchor.Open(c.holder(), st.Caller.party())
		b.path = c.media.Branch("recovered", st.Callee.party())
	}
	c.pair = &fork{branch: b, tag: st.Callee.Dialog.ID.RemoteTag, caller: st.Caller, callee: st.Callee}
	b.forks = map[string]*fork{c.pair.tag: c.pair}
	c.branches, c.forks = []*branchLeg{b}, []*fork{c.pair}
	for _, l := range []*leg{st.Caller, st.Callee} {
		s.know(c, l.Dialog.ID.CallID, l.Dialog.ID.LocalTag)
	}
	if c.link = st.Link; c.link != nil {
		c.origin = &connected{shadow: st.Caller}
		st.Caller.Dialog.Session.Digest, st.Callee.Dialog.Session.Digest = "", "" // who has seen what is not known
	}
	c.transfer, c.retape = st.Transfer.restored(c), st.Tape
	for i, l := range st.Guests {
		l.guest = i + 1
		c.strangers = append(c.strangers, l)
		s.enter(c, l.Dialog.ID.CallID, l.Dialog.ID.LocalTag)
	}
	return revived{c, st}, nil
}

// takeBack puts a call of before the restart on the books; Run starts its owner.
func (s *Service) takeBack(c *call) {
	if c.m == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seeking = append(s.seeking, c)
		return
	}
	legs := c.ringingLegs()
	if c.pair != nil {
		legs = []*leg{c.pair.caller, c.pair.callee}
	}
	c.publish()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range legs {
		if l.successor != nil { // another call has it
			continue
		}
		if l.Trunk != "" {
			s.seizeLocked(c, l.Trunk, l.Gateway)
			continue
		}
		s.occupyLocked(c, l.Extension)
	}
	s.calls[c.id] = c
	s.waiting = append(s.waiting, c)
}

// party is the leg as the media plane knows it.
func (l *leg) party() anchor.Party {
	return partyAt(l.Site, l.Flow, l.Trunk != "")
}
