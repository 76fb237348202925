package auth

import (
	"testing"
	"time"

	"linehall/internal/setting"
)

func TestConfigIsChecked(t *testing.T) {
	config := DefaultConfig()
	if err := config.Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	config.Lockout.MaxDelay = config.Lockout.Delay - time.Millisecond
	if found := setting.Unfold(config.Validate()); len(found) != 1 || found[0].Path != "lockout.max_delay" {
		t.Errorf("got %v", found)
	}
}
