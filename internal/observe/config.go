package observe

import "linehall/internal/setting"

// LogConfig is the section "observability.log": what is logged, and how.
type LogConfig struct {
	Format string `yaml:"format"` // text | json
	Level  string `yaml:"level"`  // debug | info | warn | error
}

// LogFormats lists the accepted values of the key "format".
func LogFormats() []string { return []string{"text", "json"} }

// LogLevels lists the accepted values of the key "level".
func LogLevels() []string { return []string{"debug", "info", "warn", "error"} }

// DefaultLog holds what applies when a key is absent.
func DefaultLog() LogConfig { return LogConfig{Format: "text", Level: "info"} }

// Validate reports every value that is not accepted.
func (c LogConfig) Validate() error {
	var found setting.Complaints
	found.OneOf("format", c.Format, LogFormats())
	found.OneOf("level", c.Level, LogLevels())
	return found.Err()
}
