package relay

import (
	"testing"

	"linehall/internal/setting"
)

func TestConfigIsChecked(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for _, ports := range []setting.Ports{{First: 10001, Last: 20000}, {First: 10000, Last: 10006}, {}} {
		if err := (Config{Ports: ports}).Validate(); err == nil {
			t.Errorf("range %s was accepted", ports)
		}
	}
}
