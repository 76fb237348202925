package subscribe

import (
	"slices"
	"strconv"
	"time"

	"linehall/sip/dialog"
	"linehall/sip/stack"
)

// key names a subscription by what every message of its dialog carries.
type key struct{ callID, localTag string }

// subscription is one watcher of one resource.
type subscription struct {
	// Constant.
	key
	event    string
	eventID  string // RFC 6665 §8.4: the id parameter of Event
	owner    string // extension that subscribed
	resource string // user part of what it watches
	list     bool   // the resource is a list of lamps

	// Guarded by Service.mu.
	delivery
	dialog   *dialog.Dialog
	flow     stack.Flow
	expires  time.Time
	cseq     counter
	version  counter
	lamps    lamps
	full     bool                // the next document tells everything
	pending  map[string]bool     // of a list: numbers that there is something to tell of
	known    map[string]seenLamp // what the watcher has acknowledged, by number
	fetch    bool                // Expires: 0 from the start (RFC 6665 §4.4.3)
	asked    bool                // Expires: 0: what it ends with is an answer
	removed  bool
	waiting  bool // in its door's queue
	at       time.Time
	position int // in the queue; -1: not in it
}

// state is the value of Subscription-State (RFC 6665 §8.2.3).
func (sub *subscription) state(now time.Time) string {
	if sub.ending != "" {
		v := "terminated;reason=" + string(sub.ending)
		if sub.retry > 0 {
			v += ";retry-after=" + strconv.Itoa(sub.retry)
		}
		return v
	}
	return active(sub.expires.Sub(now))
}

func active(left time.Duration) string {
	return "active;expires=" + strconv.FormatInt(int64(max(left, 0)/time.Second), 10)
}

// lamps are the numbers that a subscription shows.
type lamps struct {
	numbers []string // in the order of the keys; one for a subscription that is no list
	groups  []string // those of them that are made of others
	members []string // the others
}

func (l lamps) equal(o lamps) bool {
	return slices.Equal(l.numbers, o.numbers) && slices.Equal(l.groups, o.groups) && slices.Equal(l.members, o.members)
}

// tell notes that a number has changed.
func (sub *subscription) tell(number string, now time.Time) {
	if sub.list && !sub.full {
		if sub.pending == nil {
			sub.pending = map[string]bool{}
		}
		if slices.Contains(sub.lamps.numbers, number) {
			sub.pending[number] = true
		}
		if slices.Contains(sub.lamps.members, number) {
			for _, g := range sub.lamps.groups {
				sub.pending[g] = true
			}
		}
	}
	sub.changed(now)
}

// tellAll asks for a full document.
func (sub *subscription) tellAll(now time.Time) {
	sub.full, sub.pending = true, nil
	sub.changed(now)
}

// topics lists what the subscription watches.
func (sub *subscription) topics() []topic {
	out := make([]topic, 0, len(sub.lamps.numbers)+len(sub.lamps.members))
	for _, n := range sub.lamps.numbers {
		out = append(out, topic{sub.event, n})
	}
	for _, n := range sub.lamps.members {
		out = append(out, topic{sub.event, n})
	}
	return out
}

// put adds a subscription to the tables; mu is held.
func (s *Service) put(sub *subscription) {
	s.subs[sub.key] = sub
	for _, t := range sub.topics() {
		s.watch(t, sub)
	}
	s.owned[sub.owner]++
	sub.position = -1
	s.schedule(sub)
}

func (s *Service) watch(t topic, sub *subscription) {
	if s.watching[t] == nil {
		s.watching[t] = map[*subscription]struct{}{}
	}
	s.watching[t][sub] = struct{}{}
	s.watched.Store(int64(len(s.watching)))
}

func (s *Service) unwatch(t topic, sub *subscription) {
	delete(s.watching[t], sub)
	if len(s.watching[t]) == 0 {
		delete(s.watching, t)
	}
	s.watched.Store(int64(len(s.watching)))
}

// rewatch follows a group or a list whose members have changed; mu is held.
func (s *Service) rewatch(sub *subscription, now lamps, at time.Time) {
	if sub.lamps.equal(now) {
		return
	}
	for _, t := range sub.topics() {
		s.unwatch(t, sub)
	}
	sub.lamps = now
	for _, t := range sub.topics() {
		s.watch(t, sub)
	}
	sub.tellAll(at)
}

// remove forgets a subscription; mu is held.
func (s *Service) remove(sub *subscription) {
	if sub.removed {
		return
	}
	sub.removed, sub.over = true, true
	delete(s.subs, sub.key)
	for _, t := range sub.topics() {
		s.unwatch(t, sub)
	}
	if s.owned[sub.owner]--; s.owned[sub.owner] <= 0 {
		delete(s.owned, sub.owner)
	}
	s.queue.drop(sub)
	if !sub.fetch {
		s.unsaved[sub.key] = nil
		poke(s.writes)
	}
}

// save asks for a subscription to be written; mu is held.
func (s *Service) save(sub *subscription) {
	if !sub.fetch && !sub.removed {
		s.unsaved[sub.key] = sub
		poke(s.writes)
	}
}

// schedule puts a subscription where its next event belongs: a NOTIFY, or its expiry; mu is held.
func (s *Service) schedule(sub *subscription) {
	if sub.removed {
		return
	}
	at := sub.expires
	if due, ok := sub.due(); ok {
		if sub.waiting {
			s.queue.drop(sub)
			return
		}
		if due.Before(at) || sub.ending != "" {
			at = due
		}
	} else if sub.ending != "" || sub.flight && !at.After(time.Now()) {
		s.queue.drop(sub) // its answer brings it back
		return
	}
	s.queue.set(sub, at)
}
