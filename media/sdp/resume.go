package sdp

import (
	"errors"
	"slices"
)

// ErrNoAddress is the error of Resume for a description that does not say where its writer receives.
var ErrNoAddress = errors.New("a section on hold has no address")

// Resume takes a description out of hold: every section in use sends and receives. It is for a description that its
// writer made for another peer and that a new one is offered: the old peer's hold is none of the new one's business.
// A hold of RFC 2543 (0.0.0.0) hides where the writer receives; then the description cannot be used.
func (d *Document) Resume() error {
	for _, m := range d.media {
		if m.Port() == 0 {
			continue
		}
		if a := m.Address(); a.IsValid() && a.IsUnspecified() {
			return ErrNoAddress
		}
		if m.Direction() != SendRecv { // what needs no change stays as it was written
			m.SetDirection(SendRecv)
		}
	}
	return nil
}

// Same reports whether two descriptions of one writer say the same: but for the identity in their o= lines, and whether
// sendrecv, which holds where nothing else is said, is spelt out.
func Same(a, b *Document) bool {
	return a.bare() == b.bare()
}

func (d *Document) bare() string {
	c := d.Clone()
	c.SetOrigin(Origin{Host: "0.0.0.0"})
	if !slices.ContainsFunc(c.session.lines, func(l line) bool { dir := direction(l.text); return dir != "" && dir != SendRecv }) {
		for _, s := range c.sections() {
			s.remove(func(text string) bool { return direction(text) == SendRecv })
		}
	}
	return string(c.Marshal())
}
