package anchor

import (
	"errors"

	"linehall/media/line"
)

// Anchor opens calls.
type Anchor struct{ o Options }

// New returns an anchor; it starts nothing.
func New(o Options) *Anchor { return &Anchor{o: o} }

// Call is the media of one call: its branches and what they reserved.
type Call struct {
	anchor *Anchor
	id     string
	class  line.Class
	caller Party
	paths  []*Path
}

// Open begins a call; nothing is reserved before the first offer.
func (a *Anchor) Open(callID string, class line.Class, caller Party) *Call {
	return &Call{anchor: a, id: callID, class: class, caller: caller}
}

// Path is the media between the caller and one target.
type Path struct {
	call   *Call
	key    string
	callee Party
	kind   Kind
}

// Branch opens a path to one target; its kind is decided by the sites of both parties.
func (c *Call) Branch(key string, callee Party) *Path {
	p := &Path{call: c, key: key, callee: callee, kind: Direct}
	c.paths = append(c.paths, p)
	return p
}

// Offer takes an offer from one side and returns the body for the other one.
func (p *Path) Offer(from Side, body []byte) ([]byte, error) { return body, nil }

// Answer takes the answer from one side and returns the body for the other one.
func (p *Path) Answer(from Side, body []byte) ([]byte, error) { return body, nil }

// Rollback returns to the last agreed state after a re-offer was refused.
func (p *Path) Rollback() {}

// Keep closes all other branches.
func (c *Call) Keep(p *Path) {}

// Kind says how the media runs.
func (p *Path) Kind() Kind { return p.kind }

// Codec returns the agreed audio codec, "" before the answer.
func (p *Path) Codec() string { return "" }

// Stats returns what arrived from the caller and from the callee.
func (p *Path) Stats() [2]LegStats { return [2]LegStats{} }

// State returns what Restore needs.
func (p *Path) State() ([]byte, error) { return nil, nil }

// Restore rebuilds an established call with the same ports and peers.
func (a *Anchor) Restore(callID string, class line.Class, state []byte) (*Call, *Path, error) {
	return nil, nil, errors.New("no state")
}

// Close ends all paths, gives the reservation back and returns the last stats of the kept one.
func (c *Call) Close() [2]LegStats { return [2]LegStats{} }
