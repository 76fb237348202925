package forward

import "sync"

// history keeps a layer's last packets once for all its subscribers, in fixed memory: payloads lie one after the other in an
// arena that is written round and round; the index finds them by sequence number until they are overwritten.
type history struct {
	mu      sync.Mutex // guards all below; held for one copy
	arena   []byte
	written uint64 // octets ever written, including the unused ends of the arena
	index   []stored
}

// stored is one packet of the history.
type stored struct {
	sequence  uint64 // extended; 0: empty
	at        uint64 // value of written where its payload begins
	length    uint16
	marker    bool
	timestamp uint32
}

// newHistory makes a history of so many packets and octets of payload. packets is a power of two.
func newHistory(packets, octets int) *history {
	return &history{arena: make([]byte, octets), index: make([]stored, packets)}
}

// put stores a packet; the payload is copied.
func (h *history) put(sequence uint64, marker bool, timestamp uint32, payload []byte) {
	if len(payload) > len(h.arena) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	size := uint64(len(h.arena))
	offset := h.written % size
	if offset+uint64(len(payload)) > size {
		h.written += size - offset
		offset = 0
	}
	copy(h.arena[offset:], payload)
	h.index[sequence%uint64(len(h.index))] = stored{
		sequence: sequence, at: h.written, length: uint16(len(payload)), marker: marker, timestamp: timestamp, //nolint:gosec // a packet is shorter than 64 KiB
	}
	h.written += uint64(len(payload))
}

// has says whether the packet came already.
func (h *history) has(sequence uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.index[sequence%uint64(len(h.index))].sequence == sequence
}

// get copies a packet's payload into buf; false: overwritten or never received.
func (h *history) get(sequence uint64, buf []byte) (s stored, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s = h.index[sequence%uint64(len(h.index))]
	if s.sequence != sequence || int(s.length) > len(buf) || h.written-s.at > uint64(len(h.arena)) {
		return stored{}, false
	}
	offset := s.at % uint64(len(h.arena))
	copy(buf, h.arena[offset:offset+uint64(s.length)])
	return s, true
}
