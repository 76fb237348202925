package subscribe

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"linehall/sip/call"
)

// board is the newest state of every phone's dialogs, as the call core tells it. Taking a
// change never blocks and never queues: it replaces what was known and marks the numbers whose
// lamps differ now. Its size is bounded by the calls, which the call core bounds.
type board struct {
	wake    func()
	watched func() bool // somebody has a subscription

	mu       sync.Mutex // guards everything below; held briefly
	calls    map[string][]call.DialogInfo
	byNumber map[string][]call.DialogInfo // ordered by ID
	shown    map[string][]call.DialogInfo // what others than the call core show: rooms, parked calls
	changed  map[string]aspect            // numbers to look at, one entry each
	owners   *recent                      // Call-ID of a phone → our call, also a while after its end
	last     time.Time                    // of the last change
}

// recentCalls bounds the calls whose quality reports are still expected; a phone sends its
// report within seconds of the BYE.
const recentCalls = 4096

// aspect is what about a number has changed, as a set.
type aspect uint8

const (
	aspectDialogs  aspect = 1 << iota
	aspectPresence        // registration, published documents
	aspectMessages
	aspectSettings
	aspectPhone // its bindings: what waits for it may leave
)

func newBoard(wake func(), watched func() bool) *board {
	return &board{
		wake: wake, watched: watched, calls: map[string][]call.DialogInfo{}, byNumber: map[string][]call.DialogInfo{},
		shown: map[string][]call.DialogInfo{}, changed: map[string]aspect{}, owners: newRecent(recentCalls),
	}
}

// take replaces what is known of a call.
func (b *board) take(info call.Info) {
	b.mu.Lock()
	before, now := b.calls[info.ID], info.Dialogs
	if info.State == call.StateEnded {
		now = nil
	}
	if slices.Equal(before, now) {
		b.mu.Unlock()
		return
	}
	if len(now) == 0 {
		delete(b.calls, info.ID)
	} else {
		b.calls[info.ID] = now
	}
	for _, d := range before {
		if !slices.Contains(now, d) {
			b.remove(d)
		}
	}
	for _, d := range now {
		if !slices.Contains(before, d) {
			b.add(d)
			b.owners.put(d.CallID, info.ID)
		}
	}
	b.last = time.Now()
	b.mu.Unlock()
	if b.watched() { // else the notifier finds it when it looks the next time
		b.wake()
	}
}

func (b *board) remove(d call.DialogInfo) {
	list := slices.DeleteFunc(slices.Clone(b.byNumber[d.Extension]), func(x call.DialogInfo) bool { return x.ID == d.ID })
	if len(list) == 0 {
		delete(b.byNumber, d.Extension)
	} else {
		b.byNumber[d.Extension] = list
	}
	b.changed[d.Extension] |= aspectDialogs
}

func (b *board) add(d call.DialogInfo) {
	list := append(slices.Clone(b.byNumber[d.Extension]), d) // readers keep the old one
	slices.SortFunc(list, func(x, y call.DialogInfo) int { return strings.Compare(x.ID, y.ID) })
	b.byNumber[d.Extension] = list
	b.changed[d.Extension] |= aspectDialogs
}

// show sets the lamp of a number that is no phone.
func (b *board) show(number string, dialogs []call.DialogInfo) {
	b.mu.Lock()
	if slices.Equal(b.shown[number], dialogs) {
		b.mu.Unlock()
		return
	}
	if len(dialogs) == 0 {
		delete(b.shown, number)
	} else {
		b.shown[number] = slices.Clone(dialogs)
	}
	b.changed[number] |= aspectDialogs
	b.mu.Unlock()
	b.wake()
}

// mark says that something else about a number has changed: its registration, its settings.
func (b *board) mark(number string, what aspect) {
	b.mu.Lock()
	b.changed[number] |= what
	b.mu.Unlock()
	b.wake()
}

// collect takes the numbers that have changed since the last time.
func (b *board) collect(into map[string]aspect) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.Copy(into, b.changed)
	clear(b.changed)
}

// dialogs appends a number's dialogs to list.
func (b *board) dialogs(list []call.DialogInfo, number string) []call.DialogInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append(append(list, b.byNumber[number]...), b.shown[number]...)
}

// quiet reports whether no call has changed for a while.
func (b *board) quiet(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return now.Sub(b.last) > quietAfter
}

// quietAfter is how long no call may have changed for the notifier to use the whole machine.
const quietAfter = 100 * time.Millisecond

// callOf finds our call by a phone's Call-ID.
func (b *board) callOf(callID string) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id, ok := b.owners.values[callID]
	return id, ok
}

// recent is a map that forgets the oldest of too many keys.
type recent struct {
	values map[string]string
	order  []string // a ring
	next   int
}

func newRecent(size int) *recent {
	return &recent{values: map[string]string{}, order: make([]string, size)}
}

func (r *recent) put(key, value string) {
	if _, known := r.values[key]; !known {
		delete(r.values, r.order[r.next])
		r.order[r.next] = key
		r.next = (r.next + 1) % len(r.order)
	}
	r.values[key] = value
}
