package focus

import (
	"sync"
	"time"
)

// Guessing PINs is limited by who calls, over all calls and rooms: a caller of ours by its number, whoever is outside
// together with everybody else outside, because numbers there can be forged.
const (
	// pinTries are the wrong PINs that end a call.
	pinTries = 3
	// callerTries are those of one of our numbers, outsideTries those of all others together, within pinWindow.
	callerTries  = 6
	outsideTries = 30
	pinWindow    = 15 * time.Minute
	// mostCallers bounds what is remembered: more than an organisation has telephones.
	mostCallers = 1024
)

// outside is the key of everybody who is none of ours.
const outside = ""

// pins counts wrong PINs.
type pins struct {
	mu    sync.Mutex // guards wrong
	wrong map[string][]time.Time
}

func newPINs() *pins { return &pins{wrong: map[string][]time.Time{}} }

func most(key string) int {
	if key == outside {
		return outsideTries
	}
	return callerTries
}

// blocked reports whether somebody has tried too often.
func (p *pins) blocked(key string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.recent(key, now)) >= most(key)
}

// recent forgets what is old; p.mu is held.
func (p *pins) recent(key string, now time.Time) []time.Time {
	list := p.wrong[key]
	for len(list) > 0 && now.Sub(list[0]) > pinWindow {
		list = list[1:]
	}
	if len(list) == 0 {
		delete(p.wrong, key)
		return nil
	}
	p.wrong[key] = list
	return list
}

// failed notes a wrong PIN.
func (p *pins) failed(key string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.recent(key, now)
	if list == nil && len(p.wrong) >= mostCallers {
		for k := range p.wrong {
			p.recent(k, now)
		}
		if len(p.wrong) >= mostCallers {
			return // a thousand callers of ours guess at once: each still has three tries a call
		}
	}
	if len(list) < outsideTries {
		p.wrong[key] = append(list, now)
	}
}
