package subscribe

import (
	"testing"
	"time"
)

// Lamps step back while calls have to wait for the machine, and come back soon.
func TestThrottle(t *testing.T) {
	th := newThrottle()
	if got := th.rate(2000); got != 2000 {
		t.Errorf("at rest %d", got)
	}
	for range 20 {
		th.probed(30 * time.Millisecond)
	}
	if got := th.rate(2000); got != 100 {
		t.Errorf("short of CPU %d", got)
	}
	for range 40 {
		th.probed(time.Millisecond)
	}
	if got := th.rate(2000); got != 2000 {
		t.Errorf("after 400 ms %d", got)
	}
}
