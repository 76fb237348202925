package peer

import (
	"log/slog"

	"github.com/pion/rtcp"

	"linehall/sfu/forward"
)

// NewVoice makes the peer of somebody who has no connections of ours: a telephone, whose packets are given to its uplink.
func NewVoice(o Options) *Peer {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Voices, o.Videos = 0, 0
	p := New(o)
	p.voice = true
	p.uplink.Store(forward.NewUplink(forward.UplinkOptions{
		Batch: o.Plane, Log: o.Log, Metrics: o.Metrics, Dropped: o.Dropped, WithoutRecovery: true,
		Send: func([]rtcp.Packet) error { return nil }, // reports are the business of its call
	}))
	return p
}
