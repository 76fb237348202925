package call

import "linehall/media/line"

// holder is the call as the ledger of the lines knows it.
func (c *call) holder() line.Holder {
	return line.Holder{Class: c.class, Name: c.id, Since: c.rec.StartedAt}
}
