package inventory_test

import (
	"testing"
	"time"

	"linehall/provisioning/inventory"
)

func TestHours(t *testing.T) {
	for text, inside := range map[string]map[string]bool{
		"":            {"00:00:00": true, "12:00:00": true},
		"22:00-05:30": {"21:59:59": false, "22:00:00": true, "23:59:59": true, "00:00:00": true, "05:29:59": true, "05:30:00": false, "12:00:00": false},
		"1:00 - 2:00": {"00:59:59": false, "01:00:00": true, "02:00:00": false, "13:30:00": false},
	} {
		hours, err := inventory.ParseHours(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		for clock, want := range inside {
			at, err := time.Parse(time.TimeOnly, clock)
			if err != nil {
				t.Fatal(err)
			}
			if got := hours.Contains(at); got != want {
				t.Errorf("%s in %q: %v", clock, text, got)
			}
		}
	}
	for _, text := range []string{"22:00", "22:00-22:00", "24:00-01:00", "ten-eleven", "22-05", "-"} {
		if _, err := inventory.ParseHours(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}
