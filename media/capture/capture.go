// Package capture keeps the RTP packets of single calls for a capture file: those that the parties send, as they reach us,
// in the clear. It is switched on for one call at a time, by somebody who is on record, and holds a bounded number of
// megabytes in memory for a bounded time. Nothing goes to the disk.
//
// Keys that are pressed (RFC 4733) are masked, unless the configuration keeps them: the digit of each event becomes 0, its
// course stays. Keys as tones are in the sound and stay there.
//
// Concurrency: a Book may be used by any goroutine. A Capture is written by the relay as a Tap, one packet after the other,
// without a lock and without allocating; everything else of it may be called by anybody.
//
//	book := capture.NewBook(config, relay.Clock)
//	c, err := book.Begin(id)       // ErrFull
//	c.Describe(caller, callee)
//	path.Watch(c)
//	for p := range c.Packets() { … }
package capture

import (
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"linehall/internal/setting"
	"linehall/media/packet"
	"linehall/media/sdp"
)

// ErrFull says that as many calls are captured as may be.
var ErrFull = errors.New("as many calls are captured as may be at once")

// Config is the section "observability.capture".
type Config struct {
	MaxSize   int           `yaml:"max_size"`  // megabytes in memory for one call; what does not fit is left out
	MaxCalls  int           `yaml:"max_calls"` // how many calls are kept; 0 captures none
	Keep      time.Duration `yaml:"keep"`      // how long after it was begun
	Keys      bool          `yaml:"keys"`      // keys that are pressed (RFC 4733) stay as they are
	Encrypted bool          `yaml:"encrypted"` // also calls whose SRTP ends at the appliance; without their protection
}

// DefaultConfig keeps four calls, ten minutes of each in G.711, for an hour.
func DefaultConfig() Config { return Config{MaxSize: 12, MaxCalls: 4, Keep: time.Hour} }

// Bounds of the settings.
const (
	mostSize  = 256
	mostCalls = 32
	longest   = 24 * time.Hour
)

// Validate reports every value that is not accepted.
func (c Config) Validate() error {
	var found setting.Complaints
	if c.MaxSize < 1 || c.MaxSize > mostSize {
		found.Add("max_size", "%d is not between 1 and %d megabytes", c.MaxSize, mostSize)
	}
	if c.MaxCalls < 0 || c.MaxCalls > mostCalls {
		found.Add("max_calls", "%d is not between 0 and %d calls", c.MaxCalls, mostCalls)
	}
	found.Between("keep", c.Keep, time.Minute, longest)
	return found.Err()
}

// Book holds the captures.
type Book struct {
	clock func() int64 // the relay's

	mu     sync.Mutex // guards what follows
	config Config
	calls  map[string]*Capture
}

// NewBook returns an empty book; clock is that of the relay.
func NewBook(c Config, clock func() int64) *Book {
	return &Book{config: c, clock: clock, calls: map[string]*Capture{}}
}

// Run forgets what is old, so that the memory goes back, until ctx ends.
func (b *Book) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			b.Expire(now)
		}
	}
}

// Apply takes another configuration, for captures that begin from now on.
func (b *Book) Apply(c Config) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.config = c
}

// Encrypted reports whether calls whose SRTP ends here may be captured.
func (b *Book) Encrypted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.config.Encrypted
}

// Begin starts the capture of a call, in place of an earlier one of the same call.
func (b *Book) Begin(id string) (*Capture, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.expire(now)
	delete(b.calls, id)
	if len(b.calls) >= b.config.MaxCalls {
		return nil, ErrFull
	}
	c := &Capture{buffer: make([]byte, b.config.MaxSize<<20), mask: !b.config.Keys, begun: now, zero: b.clock()}
	c.events.Store(&[2][128]bool{})
	b.calls[id] = c
	return c, nil
}

// Of returns the capture of a call, nil when there is none.
func (b *Book) Of(id string) *Capture {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(time.Now())
	return b.calls[id]
}

// Drop forgets the capture of a call.
func (b *Book) Drop(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.calls, id)
}

// Expire forgets what is old; it is called now and then, so that the memory goes back.
func (b *Book) Expire(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(now)
}

func (b *Book) expire(now time.Time) {
	for id, c := range b.calls {
		if now.Sub(c.begun) > b.config.Keep {
			c.closed.Store(true)
			delete(b.calls, id)
		}
	}
}

// Capture is the packets of one call. It is a relay.Tap.
type Capture struct {
	mask  bool
	begun time.Time // at zero of the relay's clock
	zero  int64

	// The writer fills buffer behind used and then moves used; what is before it never changes.
	buffer  []byte
	used    atomic.Int64
	missing atomic.Uint64
	closed  atomic.Bool
	busy    atomic.Bool

	events atomic.Pointer[[2][128]bool] // payload types of telephone-event that each party may send

	mu    sync.Mutex // guards where
	where [2]Ends
}

// Ends are where a party's packets come from and where they reach us.
type Ends struct{ Party, Local netip.AddrPort }

// An entry is leg 1, the relay's clock 8, length 2, and the packet.
const head = 1 + 8 + 2

// Packet implements relay.Tap. A capture that is full leaves out what does not fit, and counts it.
func (c *Capture) Packet(leg int, now int64, b []byte) {
	if c.closed.Load() {
		return
	}
	if !c.busy.CompareAndSwap(false, true) { // of a stream that has just been left
		c.missing.Add(1)
		return
	}
	defer c.busy.Store(false)
	used := c.used.Load()
	if used+head+int64(len(b)) > int64(len(c.buffer)) {
		c.missing.Add(1)
		return
	}
	e := c.buffer[used:]
	e[0] = byte(leg)
	binary.BigEndian.PutUint64(e[1:], uint64(now))    //nolint:gosec // read as it was written
	binary.BigEndian.PutUint16(e[9:], uint16(len(b))) //nolint:gosec // a datagram
	p := e[head : head+copy(e[head:], b)]
	if c.mask {
		c.hide(leg, p)
	}
	c.used.Store(used + head + int64(len(b)))
}

// hide takes the digit out of an event (RFC 4733 §2.3).
func (c *Capture) hide(leg int, b []byte) {
	h, ok := packet.Parse(b)
	if ok && c.events.Load()[leg&1][h.Type&0x7f] && h.End > h.Payload {
		b[h.Payload] = 0
	}
}

// Describe says by which payload types the parties send keys, from their session descriptions as last agreed. A party sends
// by the numbers that the other one wrote, some by their own: both are masked.
func (c *Capture) Describe(caller, callee []byte) {
	old := c.events.Load()
	n := *old
	for _, body := range [][]byte{caller, callee} {
		doc, err := sdp.Parse(body)
		if err != nil {
			continue
		}
		for _, m := range doc.Media() {
			for _, f := range m.Codecs() {
				if f.Is("telephone-event") {
					n[0][f.PayloadType&0x7f], n[1][f.PayloadType&0x7f] = true, true
				}
			}
		}
	}
	c.events.Store(&n)
}

// Locate says where the packets of a party run.
func (c *Capture) Locate(leg int, e Ends) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Party.IsValid() && e.Local.IsValid() {
		c.where[leg&1] = e
	}
}

// Close ends the capture; what it has stays.
func (c *Capture) Close() { c.closed.Store(true) }

// Missing returns how many packets found no room.
func (c *Capture) Missing() uint64 { return c.missing.Load() }

// Packet is one as it reached us.
type Packet struct {
	At            time.Time
	Party, Local  netip.AddrPort
	Contents      []byte // shared: read only
	FromTheCaller bool
}

// Packets are those so far, in the order in which they came; packets of a party whose address is not known are left out.
func (c *Capture) Packets() iter.Seq[Packet] {
	c.mu.Lock()
	where := c.where
	c.mu.Unlock()
	kept := c.buffer[:c.used.Load()]
	return func(yield func(Packet) bool) {
		for b := kept; len(b) >= head; {
			leg, at := b[0], int64(binary.BigEndian.Uint64(b[1:])) //nolint:gosec // as it was written
			size := int(binary.BigEndian.Uint16(b[9:]))
			p := Packet{
				At: c.begun.Add(time.Duration(at - c.zero)), Party: where[leg&1].Party, Local: where[leg&1].Local,
				Contents: b[head : head+size], FromTheCaller: leg == 0,
			}
			b = b[head+size:]
			if p.Party.IsValid() && p.Local.IsValid() && !yield(p) {
				return
			}
		}
	}
}
