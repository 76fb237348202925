package observe

import "linehall/internal/setting"

// Config is the section "observability".
type Config struct {
	Log LogConfig `yaml:"log"`
}

// LogConfig says what is logged, and how.
type LogConfig struct {
	Format string `yaml:"format"` // text | json
	Level  string `yaml:"level"`  // debug | info | warn | error
}

// LogFormats lists the accepted values of the key "format".
func LogFormats() []string { return []string{"text", "json"} }

// LogLevels lists the accepted values of the key "level".
func LogLevels() []string { return []string{"debug", "info", "warn", "error"} }

// DefaultConfig holds what applies when a key is absent.
func DefaultConfig() Config { return Config{Log: LogConfig{Format: "text", Level: "info"}} }

// Validate reports every value that is not accepted.
func (c Config) Validate() error {
	var found setting.Complaints
	found.OneOf("log.format", c.Log.Format, LogFormats())
	found.OneOf("log.level", c.Log.Level, LogLevels())
	return found.Err()
}
