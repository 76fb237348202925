package main

import (
	"net/netip"
	"path/filepath"

	"linehall/configs"
	"linehall/media/anchor"
	"linehall/media/line"
	"linehall/media/relay"
	"linehall/media/webrtc"
)

// mediaPlane is the ledger of the lines, the relay of calls and the shared port of browsers.
type mediaPlane struct {
	ledger *line.Ledger
	relay  *relay.Relay
	anchor *anchor.Anchor
	plane  *webrtc.Plane
}

func openMedia(config configs.Config, g *ground) (*mediaPlane, error) {
	ledger := line.NewLedger(g.atlas.Table(), g.log, g.registry)
	ports := config.Listen.RTP.Ports
	voice, err := relay.New(relay.Options{
		First: ports.First, Last: ports.Last, Tick: config.Listen.RTP.Tick == relay.TickAuto, Log: g.log, Registerer: g.registry, Dropped: g.dropped, Panics: g.panics,
	})
	if err != nil {
		return nil, err
	}
	var advertise []netip.Addr
	if own := config.AdvertiseAddr(); own.IsValid() {
		advertise = []netip.Addr{own}
	}
	plane, err := webrtc.Open(webrtc.Options{
		UDP: string(config.Listen.Media.UDP), TCP: string(config.Listen.Media.TCP), Advertise: advertise,
		Directory: filepath.Join(config.Appliance.Data, "webrtc"), Log: g.log, Registry: g.registry, Dropped: g.dropped,
	})
	if err != nil {
		return nil, err
	}
	return &mediaPlane{
		ledger: ledger, relay: voice, plane: plane,
		anchor: anchor.New(anchor.Options{Relay: voice, Ledger: ledger, Log: g.log, Registerer: g.registry}),
	}, nil
}

func (m *mediaPlane) stage() stage {
	return stage{name: "media", parts: []part{{"relay", m.relay.Run}, {"browser media", m.plane.Run}}}
}
