package relay

import (
	"path/filepath"

	"linehall/internal/setting"
)

// Config is "listen.rtp": where the relay's sockets are.
type Config struct {
	// Ports is the range the relay may use: RTP on even ports, RTCP on the odd
	// port above, so a relayed call takes four.
	Ports setting.Ports `yaml:"ports"`
	// Tick says whether the relay may share wake-ups under load, which delays packets by up to a millisecond: auto, off.
	Tick string `yaml:"tick"`
	// Kernel says whether settled calls may move into the kernel: auto (where the machine allows it), off.
	Kernel string `yaml:"kernel"`
	// Pins is a directory in a BPF file system, under which what is in the kernel outlives the process; "" for nowhere.
	Pins string `yaml:"pins"`
}

// Values of Config.Tick and Config.Kernel.
const (
	TickAuto   = "auto"
	TickOff    = "off"
	KernelAuto = "auto"
	KernelOff  = "off"
)

// DefaultConfig holds what applies when a key is absent.
func DefaultConfig() Config {
	return Config{Ports: setting.Ports{First: 10000, Last: 29999}, Tick: TickAuto, Kernel: KernelAuto, Pins: "/sys/fs/bpf/linehall"}
}

// fewestPorts is what one relayed call with audio and video takes: two legs,
// two media, RTP and RTCP.
const fewestPorts = 8

// Validate reports a range that cannot carry a call.
func (c Config) Validate() error {
	var found setting.Complaints
	switch {
	case c.Ports.First%2 != 0:
		found.Add("ports", "range %s begins at an odd port; RTP ports are even (RFC 3550 section 11): did you mean \"%d-%d\"?",
			c.Ports, c.Ports.First+1, c.Ports.Last)
	case c.Ports.Count() < fewestPorts:
		found.Add("ports", "range %s is too small: one relayed call takes up to %d ports", c.Ports, fewestPorts)
	}
	if c.Tick != TickAuto && c.Tick != TickOff {
		found.Add("tick", "%q is neither %s nor %s", c.Tick, TickAuto, TickOff)
	}
	if c.Kernel != KernelAuto && c.Kernel != KernelOff {
		found.Add("kernel", "%q is neither %s nor %s", c.Kernel, KernelAuto, KernelOff)
	}
	if c.Pins != "" && !filepath.IsAbs(c.Pins) {
		found.Add("pins", "%q is not an absolute path", c.Pins)
	}
	return found.Err()
}
