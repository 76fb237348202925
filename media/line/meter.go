package line

import (
	"sync/atomic"
	"time"

	"linehall/internal/site"
)

// A Meter counts bytes into slots of a tenth of a second, so that the rate of the last whole second is known without a
// goroutine that samples. One word holds a slot's number and its bytes:
//
//	63            40 39                         0
//	| slot number   | bytes in this slot         |
//
// The number wraps after 19 days; a slot that nobody wrote for exactly that long would count once too often.
const (
	meterSlot   = 100 * time.Millisecond
	meterSlots  = 16 // more than the window, so that readers do not meet the slot being written
	meterWindow = int(time.Second / meterSlot)

	slotBits  = 24
	byteBits  = 64 - slotBits
	byteMask  = 1<<byteBits - 1
	slotMask  = 1<<slotBits - 1
	bitsAByte = 8
)

// Meter measures what one class sends over one direction of a line. Writers and readers need no lock. A nil *Meter
// measures nothing.
type Meter struct {
	start    time.Time
	overhead atomic.Int64 // bytes per packet
	total    atomic.Int64 // bytes on the wire since the start
	slots    [meterSlots]atomic.Uint64
}

// Meter returns the meter of a class on the line of a site, nil where there is no line. The same arguments give the
// same meter, also after a reload.
func (l *Ledger) Meter(id site.ID, d Direction, c Class) *Meter {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.lines[id]
	if !ok || a.line == nil {
		return nil
	}
	return a.meters[d][c.known()]
}

// Add counts packets with their IP lengths; the line's overhead is added here. It costs one clock reading and two
// atomics: fit for every packet, better for a few at once.
func (m *Meter) Add(packets, ipBytes int64) {
	if m == nil {
		return
	}
	wire := ipBytes + packets*m.overhead.Load()
	m.total.Add(wire)
	now := m.slot()
	slot := &m.slots[now%meterSlots]
	for {
		old := slot.Load()
		next := (now&slotMask)<<byteBits | uint64(wire)&byteMask
		if old>>byteBits == now&slotMask {
			next = old + uint64(wire)
		}
		if slot.CompareAndSwap(old, next) {
			return
		}
	}
}

// Rate returns the bit/s of the last whole second.
func (m *Meter) Rate() int64 {
	if m == nil {
		return 0
	}
	now := m.slot()
	var sum uint64
	for i := uint64(1); i <= uint64(meterWindow) && i <= now; i++ {
		if v := m.slots[(now-i)%meterSlots].Load(); v>>byteBits == (now-i)&slotMask {
			sum += v & byteMask
		}
	}
	return int64(sum * bitsAByte) //nolint:gosec // at most 40 bits of bytes per slot
}

// Total returns the bytes on the wire since the process began.
func (m *Meter) Total() int64 {
	if m == nil {
		return 0
	}
	return m.total.Load()
}

func (m *Meter) slot() uint64 { return uint64(time.Since(m.start) / meterSlot) }

func (a *account) setOverhead() {
	overhead := 0
	if a.line != nil {
		overhead = a.line.Overhead.Bytes()
	}
	for d := range a.meters {
		for _, m := range a.meters[d] {
			m.overhead.Store(int64(overhead))
		}
	}
}
