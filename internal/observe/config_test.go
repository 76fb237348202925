package observe

import "testing"

func TestConfigIsChecked(t *testing.T) {
	config := DefaultConfig()
	if err := config.Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	config.Log.Level = "warning"
	if err := config.Validate(); err == nil || err.Error() != `log.level: unknown value "warning"; did you mean "warn"?` {
		t.Errorf("got %v", err)
	}
}
