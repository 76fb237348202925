package forward

import (
	"time"

	"github.com/pion/rtcp"
)

const (
	maxMissing      = 128                    // more missing than this: only a keyframe helps
	nackTries       = 8                      // requests for one packet
	nackGiveUp      = 800 * time.Millisecond // a later answer would be of no use
	nackFirstDelay  = 5 * time.Millisecond   // reordered packets have this long
	nackMinInterval = 20 * time.Millisecond  // between requests, or a round trip if that is longer
)

// missing is a packet that was skipped by the sequence numbers.
type missing struct {
	sequence uint64
	since    time.Time
	next     time.Time
	tries    int
}

// nacker decides when to ask for which packet again (RFC 4585 §6.2.1). It has no timer: packets keep coming.
type nacker struct {
	list []missing
}

// gap notes the packets from..to-1 as missing; false: too many, give up on all of them.
func (n *nacker) gap(from, to uint64, now time.Time) bool {
	if to-from > maxMissing || len(n.list)+int(to-from) > maxMissing { //nolint:gosec // bounded by the first condition
		n.list = n.list[:0]
		return false
	}
	for s := from; s < to; s++ {
		n.list = append(n.list, missing{sequence: s, since: now, next: now.Add(nackFirstDelay)})
	}
	return true
}

// came takes a packet off the list and says whether it was on it.
func (n *nacker) came(sequence uint64) bool {
	for i := range n.list {
		if n.list[i].sequence == sequence {
			n.list = append(n.list[:i], n.list[i+1:]...)
			return true
		}
	}
	return false
}

// due appends the sequence numbers to ask for now, and says whether one was given up.
func (n *nacker) due(now time.Time, rtt time.Duration, out []uint16) (list []uint16, lost bool) {
	keep := n.list[:0]
	for _, m := range n.list {
		if m.tries >= nackTries || now.Sub(m.since) > nackGiveUp {
			lost = true
			continue
		}
		if !now.Before(m.next) {
			m.tries++
			m.next = now.Add(max(rtt, nackMinInterval))
			out = append(out, uint16(m.sequence)) //nolint:gosec // the low 16 bits are the wire's
		}
		keep = append(keep, m)
	}
	n.list = keep
	return out, lost
}

func nackPacket(ssrc uint32, sequences []uint16) rtcp.Packet {
	return &rtcp.TransportLayerNack{SenderSSRC: senderSSRC, MediaSSRC: ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(sequences)}
}
