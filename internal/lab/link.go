package lab

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Link is a cable between two hosts.
type Link struct {
	t    TB
	ends map[*Host]*end
}

type end struct {
	device string
	addr   netip.Addr
}

// Link connects two hosts; the addresses are prefixes such as 10.9.0.1/24. Checksum and segmentation offloads are off,
// so that shapers and counters see packets as a real line would carry them.
func (n *Net) Link(a *Host, aPrefix string, b *Host, bPrefix string) *Link {
	n.t.Helper()
	l := &Link{t: n.t, ends: map[*Host]*end{
		a: {fmt.Sprintf("line%d", n.links), address(n.t, aPrefix)},
		b: {fmt.Sprintf("line%d", n.links), address(n.t, bPrefix)},
	}}
	n.links++
	must(n.t, "ip", "-n", a.Namespace, "link", "add", l.ends[a].device, "type", "veth",
		"peer", "name", l.ends[b].device, "netns", b.Namespace)
	for h, prefix := range map[*Host]string{a: aPrefix, b: bPrefix} {
		device := l.ends[h].device
		must(n.t, "ip", "-n", h.Namespace, "addr", "add", prefix, "dev", device, "nodad")
		must(n.t, "ip", "-n", h.Namespace, "link", "set", device, "up", "gso_max_segs", "1", "gso_max_size", "1514")
	}
	for h := range l.ends {
		l.awaitUp(h)
	}
	return l
}

// awaitUp waits until the kernel has attached the device's queue: until then it drops what is sent without a word.
func (l *Link) awaitUp(h *Host) {
	l.t.Helper()
	const tries, pause = 500, 10 * time.Millisecond
	for range tries {
		out := must(l.t, "ip", "-n", h.Namespace, "-j", "link", "show", "dev", l.end(h).device)
		if strings.Contains(out, `"operstate":"UP"`) {
			return
		}
		time.Sleep(pause)
	}
	l.t.Fatalf("lab: %s of %s does not come up", l.end(h).device, h.Name)
}

// Addr returns the host's address on the link.
func (l *Link) Addr(h *Host) netip.Addr { return l.end(h).addr }

// Device returns the name of the host's device.
func (l *Link) Device(h *Host) string { return l.end(h).device }

func (l *Link) end(h *Host) *end {
	l.t.Helper()
	e, ok := l.ends[h]
	if !ok {
		l.t.Fatalf("lab: %s is not at this link", h.Name)
	}
	return e
}

// Rate is what a line carries in one direction.
type Rate struct {
	BitsPerSecond int64
	Burst         int           // bytes sent at once; 0 = 2 full packets, or 2 ms of the rate if that is more
	Queue         time.Duration // what waits at the rate before packets are dropped; 0 = 50 ms
	HTB           bool          // hierarchical token bucket with a packet fifo, instead of tbf
}

const fullPacket = 1514

func (r Rate) burst() int {
	if r.Burst > 0 {
		return r.Burst
	}
	return max(2*fullPacket, int(r.BitsPerSecond/8/500))
}

func (r Rate) queueBytes() int64 {
	q := r.Queue
	if q == 0 {
		q = 50 * time.Millisecond
	}
	return max(2*fullPacket, r.BitsPerSecond/8*int64(q)/int64(time.Second))
}

// Shape limits what the host sends onto the link; shaping again replaces the rate.
func (l *Link) Shape(from *Host, r Rate) {
	l.t.Helper()
	device := l.end(from).device
	rate := strconv.FormatInt(r.BitsPerSecond, 10) + "bit"
	burst := strconv.Itoa(r.burst())
	_, _ = run(l.t.Context(), "tc", "-n", from.Namespace, "qdisc", "del", "dev", device, "root") // there may be none
	if !r.HTB {
		must(l.t, "tc", "-n", from.Namespace, "qdisc", "add", "dev", device, "root", "handle", "1:", "tbf",
			"rate", rate, "burst", burst, "limit", strconv.FormatInt(r.queueBytes(), 10))
		return
	}
	must(l.t, "tc", "-n", from.Namespace, "qdisc", "add", "dev", device, "root", "handle", "1:", "htb", "default", "1")
	must(l.t, "tc", "-n", from.Namespace, "class", "add", "dev", device, "parent", "1:", "classid", "1:1", "htb",
		"rate", rate, "ceil", rate, "burst", burst, "cburst", burst)
	must(l.t, "tc", "-n", from.Namespace, "qdisc", "add", "dev", device, "parent", "1:1", "bfifo",
		"limit", strconv.FormatInt(r.queueBytes(), 10))
}

// Stats is what a shaper did.
type Stats struct {
	SentBytes, SentPackets int64 // Ethernet frames without preamble and check sequence
	Dropped                int64 // packets
	QueuedBytes            int64 // now
}

// Stats reads the shaper of the host; Shape must have been called.
func (l *Link) Stats(from *Host) Stats {
	l.t.Helper()
	out := must(l.t, "tc", "-n", from.Namespace, "-s", "-j", "qdisc", "show", "dev", l.end(from).device)
	var qdiscs []struct {
		Root    bool  `json:"root"`
		Bytes   int64 `json:"bytes"`
		Packets int64 `json:"packets"`
		Drops   int64 `json:"drops"`
		Backlog int64 `json:"backlog"`
	}
	if err := json.Unmarshal([]byte(out), &qdiscs); err != nil {
		l.t.Fatalf("lab: tc: %v in %s", err, out)
	}
	for _, q := range qdiscs {
		if q.Root {
			return Stats{SentBytes: q.Bytes, SentPackets: q.Packets, Dropped: q.Drops, QueuedBytes: q.Backlog}
		}
	}
	l.t.Fatalf("lab: %s has no shaper", from.Name)
	return Stats{}
}

// Lose drops a random percentage (0 to 100) of what arrives at the host over the link; 0 ends the loss. One rule per
// link: losing again replaces the percentage.
func (l *Link) Lose(at *Host, percent int) {
	l.t.Helper()
	device := l.end(at).device
	table := "lab_" + device
	at.must("nft", "add", "table", "inet", table) // so that deleting never fails
	at.must("nft", "delete", "table", "inet", table)
	if percent == 0 {
		return
	}
	at.must("nft", fmt.Sprintf("table inet %s { chain loss { type filter hook prerouting priority raw; "+
		"iifname %q numgen random mod 100 < %d counter drop; }; }", table, device, percent))
}

// Cut takes the host's end of the link down, or up again (which also removes its routes).
func (l *Link) Cut(at *Host, cut bool) {
	l.t.Helper()
	state := "up"
	if cut {
		state = "down"
	}
	must(l.t, "ip", "-n", at.Namespace, "link", "set", l.end(at).device, state)
	if !cut {
		for h := range l.ends {
			l.awaitUp(h)
		}
	}
}
