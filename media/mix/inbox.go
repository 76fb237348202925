package mix

import (
	"sync"
	"time"
)

const (
	// inboxSize holds more than a second of 20 ms packets.
	inboxSize = 64
	// largest is the largest packet: 60 ms of G.711 or the largest frame of Opus, with header and extensions.
	largest = 1500
)

// Inbox carries packets from the goroutine that reads a socket to the one that owns the leg. It is bounded: when the
// owner is late, the newest packet is dropped, and counted.
type Inbox struct {
	mu      sync.Mutex // guards what follows; held for one copy
	ring    [inboxSize]letter
	first   int
	count   int
	dropped uint64
}

type letter struct {
	at   time.Duration
	size int
	data [largest]byte
}

// Put copies a packet that came at that moment of the owner's clock.
func (b *Inbox) Put(at time.Duration, packet []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count == inboxSize || len(packet) > largest {
		b.dropped++
		return
	}
	l := &b.ring[(b.first+b.count)%inboxSize]
	l.at, l.size = at, copy(l.data[:], packet)
	b.count++
}

// Take copies the oldest packet to buffer, which holds any.
func (b *Inbox) Take(buffer *[largest]byte) (at time.Duration, packet []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count == 0 {
		return 0, nil, false
	}
	l := &b.ring[b.first]
	copy(buffer[:l.size], l.data[:l.size])
	b.first, b.count = (b.first+1)%inboxSize, b.count-1
	return l.at, buffer[:l.size], true
}

// Dropped returns how many found no room.
func (b *Inbox) Dropped() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}
