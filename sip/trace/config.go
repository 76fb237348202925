package trace

import (
	"net"
	"strconv"
	"time"

	"linehall/internal/setting"
)

// Config is the section "observability.trace".
type Config struct {
	Keep    time.Duration `yaml:"keep"`     // how long the messages of a call are kept; 0 keeps none
	MaxSize int           `yaml:"max_size"` // megabytes on disk; the oldest calls go first
	HEP     HEPConfig     `yaml:"hep"`
}

// HEPConfig names a server that gets a copy of every message (HEP version 3 over UDP).
type HEPConfig struct {
	Address  string         `yaml:"address"`  // host:port; "" sends nothing
	Agent    int            `yaml:"agent"`    // capture agent ID
	Password setting.Secret `yaml:"password"` // authentication key; "" sends none
}

// DefaultConfig keeps three days, as much as a quarter of a gigabyte.
func DefaultConfig() Config {
	return Config{Keep: 72 * time.Hour, MaxSize: 256, HEP: HEPConfig{Agent: 2001}}
}

// Validate reports every value that is not accepted.
func (c Config) Validate() error {
	var found setting.Complaints
	if c.Keep < 0 || c.Keep > 366*24*time.Hour {
		found.Add("keep", "%s is not between 0s and 8784h", c.Keep)
	}
	if c.MaxSize < 1 || c.MaxSize > 1<<20 {
		found.Add("max_size", "%d is not between 1 and 1048576 megabytes", c.MaxSize)
	}
	if c.HEP.Agent < 1 || int64(c.HEP.Agent) > 1<<32-1 {
		found.Add("hep.agent", "%d is not between 1 and 4294967295", c.HEP.Agent)
	}
	if c.HEP.Address != "" {
		host, port, err := net.SplitHostPort(c.HEP.Address)
		number, numeric := strconv.Atoi(port)
		if err != nil || host == "" || numeric != nil || number < 1 || number > 65535 {
			found.Add("hep.address", "%q is no host and port, like 10.0.0.9:9060", c.HEP.Address)
		}
	}
	return found.Err()
}
