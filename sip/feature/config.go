package feature

import (
	"time"

	"linehall/internal/setting"
)

// Config is the section "feature".
type Config struct {
	HotDesk    HotDeskConfig    `yaml:"hot_desk"`
	Completion CompletionConfig `yaml:"completion"`
	// Tones are those that people hear from the appliance: CN, China's, or generic, what ITU-T E.180
	// recommends.
	Tones string `yaml:"tones"`
}

// HotDeskConfig bounds how long somebody uses another desk's phone.
type HotDeskConfig struct {
	// Stay is the longest time between log-in and the end.
	Stay time.Duration `yaml:"stay"`
	// Night ends every stay at that time of day, in the appliance's time zone; "" never.
	Night string `yaml:"night"`
}

// CompletionConfig is about calls that are tried again when the callee is free.
type CompletionConfig struct {
	// Expires is how long a wish is kept.
	Expires time.Duration `yaml:"expires"`
}

// DefaultConfig holds what applies when a key is absent. ETSI EN 300 359-1 lets a wish for
// completion live between 15 and 45 minutes.
func DefaultConfig() Config {
	return Config{
		HotDesk:    HotDeskConfig{Stay: 12 * time.Hour, Night: "22:00"},
		Completion: CompletionConfig{Expires: 45 * time.Minute},
		Tones:      "CN",
	}
}

// Validate reports every value out of range.
func (c Config) Validate() error {
	var found setting.Complaints
	found.Between("hot_desk.stay", c.HotDesk.Stay, 10*time.Minute, 7*24*time.Hour)
	if c.HotDesk.Night != "" {
		if _, err := time.Parse(clockForm, c.HotDesk.Night); err != nil {
			found.Add("hot_desk.night", "%q is no time of day; write it like \"22:00\", or \"\" for none", c.HotDesk.Night)
		}
	}
	found.Between("completion.expires", c.Completion.Expires, time.Minute, 24*time.Hour)
	if c.Tones != "CN" && c.Tones != "generic" {
		found.Add("tones", "%q has no table of tones; there are CN and generic%s", c.Tones, setting.Hint(c.Tones, []string{"CN", "generic"}))
	}
	return found.Err()
}

// ends is when a stay that begins now is over at the latest.
func (c HotDeskConfig) ends(now time.Time) time.Time {
	end := now.Add(c.Stay)
	night, err := time.Parse(clockForm, c.Night)
	if err != nil {
		return end
	}
	at := time.Date(now.Year(), now.Month(), now.Day(), night.Hour(), night.Minute(), 0, 0, now.Location())
	if !at.After(now) {
		at = at.AddDate(0, 0, 1)
	}
	if at.Before(end) {
		return at
	}
	return end
}
