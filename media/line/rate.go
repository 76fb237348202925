package line

import (
	"fmt"
	"math"

	"linehall/internal/site"
)

// Unlimited is the budget of a site that has no line.
const Unlimited = math.MaxInt64

// Rate is what something takes of a line in each direction, in bit/s on the wire: the line's overhead is included.
type Rate struct{ Up, Down int64 }

// In returns the rate of one direction.
func (r Rate) In(d Direction) int64 {
	if d == Up {
		return r.Up
	}
	return r.Down
}

// Plus returns the sum of both rates.
func (r Rate) Plus(o Rate) Rate { return Rate{Up: r.Up + o.Up, Down: r.Down + o.Down} }

// Max returns the larger rate of each direction.
func (r Rate) Max(o Rate) Rate { return Rate{Up: max(r.Up, o.Up), Down: max(r.Down, o.Down)} }

// Demand is what one site's line must carry.
type Demand struct {
	Site site.ID
	Rate Rate
}

// Cause says why a line takes nothing more.
type Cause string

// The causes.
const (
	NoRoom       Cause = ""               // its rate is given away
	TooManyCalls Cause = "too_many_calls" // it has as many calls as it may have
	LineDown     Cause = "down"           // nothing comes over it
)

// Refused says which line had no room. It is the error of Reserve and Resize.
type Refused struct {
	Site      site.ID
	Direction Direction // with NoRoom
	Class     Class
	Cause     Cause
	Wanted    int64 // bit/s that were asked for in addition; with NoRoom
	Free      int64 // bit/s that were left for this class
}

func (e *Refused) Error() string {
	switch e.Cause {
	case TooManyCalls:
		return fmt.Sprintf("line of %s has as many calls as it may have", e.Site)
	case LineDown:
		return fmt.Sprintf("line of %s is down", e.Site)
	case NoRoom:
	}
	return fmt.Sprintf("line of %s %s: %s wants %d bit/s, %d are free", e.Site, e.Direction, e.Class, e.Wanted, e.Free)
}
