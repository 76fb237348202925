package main

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"path/filepath"

	"linehall/configs"
	"linehall/internal/observe"
	"linehall/media/kernel"
	"linehall/media/relay"
	"linehall/web/api"
)

// kernelMedia is the path of settled calls through the kernel, or the reason why there is none.
type kernelMedia struct {
	path *kernel.Path
	why  string
}

// openKernel opens the path where the configuration and the machine allow it. A machine that does not is no error:
// calls go through the sockets, and one line says why.
func openKernel(config configs.Config, log *slog.Logger) kernelMedia {
	rtp := config.Listen.RTP
	if rtp.Kernel == relay.KernelOff {
		return kernelMedia{why: "switched off (listen.rtp.kernel)"}
	}
	pins, err := pinsOf(config)
	if err == nil {
		var path *kernel.Path
		if path, err = kernel.Open(kernel.Options{Pins: pins, Flows: rtp.Ports.Count() / 2, Log: log}); err == nil { // one per RTP port
			return kernelMedia{path: path}
		}
	}
	log.Info("calls are not carried by the kernel", observe.Err, err)
	return kernelMedia{why: err.Error()}
}

// pinsOf is a directory for this appliance alone: there may be others on the machine, and only one works on a data
// directory at a time.
func pinsOf(config configs.Config) (string, error) {
	if config.Listen.RTP.Pins == "" {
		return "", nil
	}
	data, err := filepath.Abs(config.Appliance.Data)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(data))
	return filepath.Join(config.Listen.RTP.Pins, hex.EncodeToString(sum[:6])), nil
}

// carrier is what the relay gets: no path is no value.
func (k kernelMedia) carrier() relay.Kernel {
	if k.path == nil {
		return nil
	}
	return k.path
}

func (k kernelMedia) close() error {
	if k.path == nil {
		return nil
	}
	return k.path.Close()
}

// status is for the API.
func (k kernelMedia) status() api.KernelPath {
	if k.path == nil {
		return api.KernelPath{Reason: k.why, Devices: []string{}}
	}
	s := k.path.Status()
	return api.KernelPath{On: true, Flows: s.Flows, Devices: s.Devices, Hook: s.Hook, Pinned: s.Pinned, Reason: s.Unpinned}
}
