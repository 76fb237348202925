package kernel

import (
	"errors"

	"linehall/media/rtcp"
)

// EnterNow enters a flow, and prepares the devices itself where Run would.
func EnterNow(p *Path, f Flow, s rtcp.State) error {
	_, err := p.Enter(f, s)
	if errors.Is(err, ErrPreparing) {
		if err = p.prepare(); err == nil {
			_, err = p.Enter(f, s)
		}
	}
	return err
}
