package dialog

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"linehall/media/sdp"
)

// Session is what the peer of a dialog sees of our session descriptions, whoever speaks behind
// us: one o= identity whose version rises by one with every change, and m-lines that never
// move or vanish (RFC 3264 §8). Both must hold when the other leg is replaced.
//
// The other leg numbers its media in an order of its own, the call's order:
//
//	call's order   0 audio   1 video            what the other leg and the media plane use
//	Lines          0 audio   1 image (dead)  2 video      what this peer saw, oldest first
type Session struct {
	ID      uint64 `json:"id"`
	Version uint64 `json:"version"`
	Digest  string `json:"digest,omitempty"` // of the last description sent, without its o= line
	Lines   []Line `json:"lines,omitempty"`
}

// Line is one m-line of the dialog.
type Line struct {
	Kind string `json:"kind"`
	Peer int    `json:"peer"`           // place in the call's order; dead when negative
	Last string `json:"last,omitempty"` // the m= line as last seen, to keep a dead line's form
}

const dead = -1

// NewSession returns an identity that nobody has seen yet. RFC 8866 §5.2 wants numbers; below
// 2^53 no implementation rounds them.
func NewSession() Session {
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand)
	id := binary.BigEndian.Uint64(raw[:])>>12 | 1
	return Session{ID: id, Version: id & 0xffff}
}

// Send turns a description in the call's order into the one that this dialog's peer gets.
// local is our address as the peer knows it. The body is not changed; an empty one stays empty.
func (s *Session) Send(body []byte, local netip.Addr) ([]byte, error) {
	if len(body) == 0 {
		return nil, nil
	}
	head, blocks, err := split(body)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(s.Lines), len(s.Lines)+len(blocks))
	for place, block := range blocks {
		slot := s.slotFor(place)
		if slot == len(s.Lines) {
			s.Lines, out = append(s.Lines, Line{}), append(out, "")
		}
		s.Lines[slot] = Line{Kind: kindOf(block), Peer: place, Last: firstLine(block)}
		out[slot] = block
	}
	for slot := range out {
		if out[slot] == "" {
			s.Lines[slot].Peer = dead
			out[slot] = rejected(s.Lines[slot].Last)
		}
	}
	return s.identify(join(head, out), local)
}

// slotFor finds the line for a place in the call's order: its own, or a dead one that may be
// used again (RFC 3264 §8.2), or a new one at the end.
func (s *Session) slotFor(place int) int {
	if i := slices.IndexFunc(s.Lines, func(l Line) bool { return l.Peer == place }); i >= 0 {
		return i
	}
	if i := slices.IndexFunc(s.Lines, func(l Line) bool { return l.Peer == dead }); i >= 0 {
		return i
	}
	return len(s.Lines)
}

// Receive turns a description from this dialog's peer into the call's order. Lines that are
// dead here and stay rejected do not exist in the call.
func (s *Session) Receive(body []byte) ([]byte, error) {
	if len(body) == 0 {
		return nil, nil
	}
	head, blocks, err := split(body)
	if err != nil {
		return nil, err
	}
	next := 0
	for _, l := range s.Lines {
		next = max(next, l.Peer+1)
	}
	for slot, block := range blocks {
		if slot == len(s.Lines) {
			s.Lines = append(s.Lines, Line{Peer: dead})
		}
		l := &s.Lines[slot]
		l.Kind, l.Last = kindOf(block), firstLine(block)
		if l.Peer == dead && !isRejected(block) {
			l.Peer = next
			next++
		}
	}
	if s.inOrder(len(blocks)) { // nothing moved: the peer's own bytes
		return slices.Clone(body), nil
	}
	out := make([]string, next)
	for slot, block := range blocks {
		if place := s.Lines[slot].Peer; place != dead {
			out[place] = block
		}
	}
	return join(head, slices.DeleteFunc(out, func(b string) bool { return b == "" })), nil
}

// inOrder reports whether the first n lines stand as they do in the call.
func (s *Session) inOrder(n int) bool {
	for slot := range n {
		if s.Lines[slot].Peer != slot {
			return false
		}
	}
	return true
}

// identify writes our o= line.
func (s *Session) identify(body []byte, local netip.Addr) ([]byte, error) {
	doc, err := sdp.Parse(body)
	if err != nil {
		return nil, fmt.Errorf("session description: %w", err)
	}
	origin := sdp.Origin{Username: "-", SessionID: strconv.FormatUint(s.ID, 10), Address: local.Unmap()}
	if !local.IsValid() {
		origin.Host = "0.0.0.0"
	}
	doc.SetOrigin(origin)
	sum := sha256.Sum256(doc.Marshal())
	if digest := hex.EncodeToString(sum[:12]); digest != s.Digest {
		s.Digest = digest
		s.Version++
	}
	origin.Version = s.Version
	doc.SetOrigin(origin)
	return doc.Marshal(), nil
}

// split cuts a description into its session part and its media sections.
func split(body []byte) (head string, blocks []string, err error) {
	if _, err := sdp.Parse(body); err != nil {
		return "", nil, fmt.Errorf("session description: %w", err)
	}
	text := string(body)
	for {
		at := strings.LastIndex(text, "\nm=")
		if at < 0 {
			break
		}
		blocks = append(blocks, text[at+1:])
		text = text[:at+1]
	}
	slices.Reverse(blocks)
	return text, blocks, nil
}

func join(head string, blocks []string) []byte {
	var b strings.Builder
	b.WriteString(head)
	for _, block := range blocks {
		b.WriteString(block)
		if !strings.HasSuffix(block, "\n") {
			b.WriteString("\r\n")
		}
	}
	return []byte(b.String())
}

func firstLine(block string) string {
	line, _, _ := strings.Cut(block, "\n")
	return strings.TrimSuffix(line, "\r")
}

func kindOf(block string) string {
	kind, _, _ := strings.Cut(strings.TrimPrefix(block, "m="), " ")
	return kind
}

func isRejected(block string) bool {
	fields := strings.Fields(firstLine(block))
	return len(fields) > 1 && fields[1] == "0"
}

// rejected is an m-line with port 0 that keeps its kind, transport and formats.
func rejected(line string) string {
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return "m=audio 0 RTP/AVP 0\r\n"
	}
	fields[1] = "0"
	return strings.Join(fields, " ") + "\r\n"
}

// Clone returns an independent copy, for another fork of the same INVITE.
func (s *Session) Clone() Session {
	c := *s
	c.Lines = slices.Clone(s.Lines)
	return c
}

// Clone returns an independent copy of the dialog: for the owner that it is handed over to.
func (d *Dialog) Clone() *Dialog {
	c := *d
	c.Routes = slices.Clone(d.Routes)
	c.Session = d.Session.Clone()
	return &c
}

// SendAs is Send for the answer to an offer that was numbered by itself: body is in the order of this dialog's peer
// already, and places says for each of its lines where it stands in the call's order, negative for nowhere.
func (s *Session) SendAs(body []byte, places []int, local netip.Addr) ([]byte, error) {
	_, blocks, err := split(body)
	if err != nil {
		return nil, err
	}
	s.Lines = make([]Line, len(blocks))
	for slot, block := range blocks {
		place := dead
		if slot < len(places) && places[slot] >= 0 {
			place = places[slot]
		}
		s.Lines[slot] = Line{Kind: kindOf(block), Peer: place, Last: firstLine(block)}
	}
	return s.identify(body, local)
}
