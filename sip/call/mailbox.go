package call

import (
	"slices"
	"sync"
	"time"

	"linehall/internal/observe"
	"linehall/sip/stack"
)

// mailboxLength: a call sees a handful of messages per second; a burst comes from two phones that retransmit. When so many
// wait (the disk stands still), requests are answered 500, and stray responses are dropped: they repeat.
const mailboxLength = 32

// mailbox is what waits for a call's owner. The owner is no goroutine of its own: it is whoever brings a message while
// nobody owns the call, and it stays that until nothing waits any more. A call that only talks has none.
type mailbox struct {
	mu      sync.Mutex // guards what follows
	waiting []message
	begun   bool // before, messages only gather
	owned   bool
	closed  bool
}

// begin makes whoever calls it the first owner, whose first message is msgBegin.
func (b *mailbox) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = slices.Insert(b.waiting, 0, message(msgBegin{}))
	b.begun, b.owned = true, true
}

// put adds a message, unless the call is over or most wait already (0: any number may); free says that nobody owns the call:
// whoever has put the message owns it now and must take turns (call.turn).
func (b *mailbox) put(m message, most int) (ok, free bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || most > 0 && len(b.waiting) >= most {
		return false, false
	}
	b.waiting = append(b.waiting, m)
	free = b.begun && !b.owned
	b.owned = b.owned || free
	return true, free
}

// next is the owner's next message; without one it is the owner no more.
func (b *mailbox) next() (message, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		b.owned = false
		return nil, false
	}
	m := b.waiting[0]
	b.waiting = slices.Delete(b.waiting, 0, 1)
	return m, true
}

// close takes nothing any more and returns what still waits.
func (b *mailbox) close() []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	rest := b.waiting
	b.waiting, b.closed = nil, true
	return rest
}

// over reports whether the call takes no messages any more.
func (b *mailbox) over() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// offer brings a message to the owner without waiting for it; false: the call is over, or too much waits. It may be called
// with locks held, and by the owner of another call.
func (c *call) offer(m message) bool { return c.bring(m, mailboxLength, nil) }

// offerHere is offer on the goroutine that reads a socket: it does the owner's work as well, unless there is too much of it.
func (c *call) offerHere(m message, r *stack.Reading) bool { return c.bring(m, mailboxLength, r) }

// post is offer for what the call itself has started, and so bounds: it is taken unless the call is over.
func (c *call) post(m message) bool { return c.bring(m, 0, nil) }

func (c *call) bring(m message, most int, r *stack.Reading) bool {
	ok, free := c.box.put(m, most)
	switch {
	case !free:
	case r == nil || r.Pressed():
		c.s.later(func() { c.turn(nil) })
	default:
		c.turn(r)
	}
	return ok
}

// turn is the owner at work: it takes messages until none waits. r is the reading goroutine's, if it runs there.
//
//nolint:contextcheck // the owner's methods use the call's own context
func (c *call) turn(r *stack.Reading) {
	c.reading = r
	for {
		m, ok := c.takeNext()
		if !ok {
			return
		}
		if c.serve(m) {
			c.end()
			return
		}
	}
}

// serve handles a message and what is due, and reports whether the call is over. A defect in one call ends that call: its
// record says so, its media and its place in the limits are given back. The others never notice.
func (c *call) serve(m message) (over bool) {
	over = true // should it panic
	defer observe.Recover(c.log, c.s.o.Panics, "call")
	if _, first := m.(msgBegin); first {
		c.begin()
	} else {
		c.handle(m)
		c.fireTimers()
		c.flush()
	}
	c.announce()
	if c.quit || c.settled() {
		return true
	}
	c.wake()
	return false
}

// end is the owner's last turn.
func (c *call) end() {
	if c.clock != nil {
		c.clock.Stop()
	}
	c.endCapture()
	c.straighten()
	if !c.left && c.rec.EndedAt == nil {
		c.abandon()
	}
	c.s.release(c)
	c.s.forget(c)
	rest := c.box.close()
	close(c.done)
	for _, m := range rest {
		c.refuse(m)
	}
	c.s.retire(c)
}

// refuse answers what reached the mailbox too late.
func (c *call) refuse(m message) {
	switch m := m.(type) {
	case msgRequest:
		if !m.req.IsAck() {
			c.s.respond(m.req, refusal{code: 481})
		}
	case msgTake:
		m.by.offer(msgHanded{from: c})
	case msgHanded:
		m.refuse(c)
	case msgJoin:
		m.holder.offer(msgProgress{c, 481, phrase(481)})
	case msgReplace:
		c.s.refuseCall(m.next, refusal{code: 481})
	case msgPickup:
		c.s.refuseCall(m.next, refusal{code: 480})
	case msgBarge:
		c.s.refuseCall(m.next, m.gone())
	}
}

// takeNext is the next message. What belongs to the present owner is put down before the next one may come.
func (c *call) takeNext() (message, bool) {
	r := c.reading
	c.reading = nil
	m, ok := c.box.next()
	if ok {
		c.reading = r
	}
	return m, ok
}

// aside lets others read the socket that the present message came from: the owner is about to wait for a disk.
func (c *call) aside() { c.reading.Leave() }

// wake sets the call's clock, which brings msgClock when the first timer is due; it may come once too often.
func (c *call) wake() {
	next := c.firstTimer()
	if next.Equal(c.wakes) {
		return
	}
	c.wakes = next
	switch wait := max(time.Until(next), 0); {
	case next.IsZero():
		c.clock.Stop()
	case c.clock == nil:
		c.clock = time.AfterFunc(wait, c.ring)
	default:
		c.clock.Reset(wait)
	}
}

// ring runs on the clock's own goroutine.
func (c *call) ring() {
	if _, free := c.box.put(msgClock{}, 0); free {
		c.turn(nil)
	}
}
