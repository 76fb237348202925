package doctor

import (
	"context"

	"linehall/configs"
	"linehall/media/kernel"
	"linehall/media/relay"
)

// kernelPath tries to load the program that carries settled calls; nothing is attached, and nothing stays.
func kernelPath(_ context.Context, config configs.Config) Finding {
	const check = "kernel media"
	if config.Listen.RTP.Kernel == relay.KernelOff {
		return good(check, "switched off (listen.rtp.kernel)")
	}
	if err := kernel.Probe(); err != nil {
		return note(check, err.Error(), "calls run through the sockets, at more CPU; run doctor as the service's user with CAP_BPF and CAP_NET_ADMIN, or set listen.rtp.kernel: off")
	}
	if config.Listen.RTP.Pins == "" {
		return note(check, "settled calls run inside the kernel, but stop there when the process ends", "set listen.rtp.pins to a directory in a BPF file system")
	}
	return good(check, "settled calls run inside the kernel")
}
