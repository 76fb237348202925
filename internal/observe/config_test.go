package observe

import "testing"

func TestConfigIsChecked(t *testing.T) {
	config := DefaultLog()
	if err := config.Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	config.Level = "warning"
	if err := config.Validate(); err == nil || err.Error() != `level: unknown value "warning"; did you mean "warn"?` {
		t.Errorf("got %v", err)
	}
}
