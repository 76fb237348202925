package main

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"

	"github.com/spf13/cobra"

	"linehall/configs"
	"linehall/internal/holder"
	"linehall/internal/observe"
	"linehall/media/anchor"
	"linehall/media/bulk"
	"linehall/media/capture"
	"linehall/media/gateway"
	"linehall/media/line"
	"linehall/media/record"
	"linehall/media/relay"
	"linehall/media/webrtc"
)

// mediaPlane is the ledger of the lines, the relay of calls and the shared port of browsers.
type mediaPlane struct {
	ledger *line.Ledger
	bulk   *bulk.Shaper
	kernel kernelMedia
	relay  *relay.Relay
	anchor *anchor.Anchor
	plane  *webrtc.Plane
	// browsers leads the calls of phones in browsers over the plane.
	browsers *gateway.Gateway
	tapes    *record.Recorder
	captures *capture.Book
}

func openMedia(ctx context.Context, config configs.Config, g *ground) (*mediaPlane, error) {
	ledger := line.NewLedger(g.atlas.Table(), g.log, g.registry)
	ports, inside := config.Listen.RTP.Ports, openKernel(config, g.log)
	if err := g.held.err; err != nil { // calls of before the restart find their ports all the same
		g.log.Warn("sockets of before the restart were not handed over", observe.Err, err)
	}
	kept := make([]relay.Kept, len(g.held.files))
	for i, f := range g.held.files {
		kept[i] = relay.Kept(f)
	}
	voice, err := relay.New(relay.Options{
		First: ports.First, Last: ports.Last, Kernel: inside.carrier(), Tick: config.Listen.RTP.Tick == relay.TickAuto, Keeper: g.held.store, Kept: kept, Log: g.log, Registerer: g.registry, Dropped: g.dropped, Panics: g.panics,
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
	browsers := gateway.New(gateway.Options{Plane: plane, Log: g.log, Dropped: g.dropped, Panics: g.panics})
	tapes, err := record.Open(ctx, record.Options{
		DB: g.db, Folder: filepath.Join(config.Appliance.Data, "recordings"), Secrets: g.box, Audit: g.audit, Clock: voice.Clock,
		Config: config.Recording, Class: config.Dialplan.DefaultClass, Log: g.log, Registerer: g.registry, Panics: g.panics,
	})
	if err != nil {
		return nil, err
	}
	return &mediaPlane{
		captures: capture.NewBook(config.Observability.Capture, voice.Clock),
		tapes:    tapes, ledger: ledger, bulk: bulk.New(ledger, g.atlas), kernel: inside, relay: voice, plane: plane, browsers: browsers,
		anchor: anchor.New(anchor.Options{Relay: voice, Gateway: browsers, Ledger: ledger, Log: g.log, Registerer: g.registry}),
	}, nil
}

func (m *mediaPlane) stage() stage {
	parts := []part{{"recordings", m.tapes.Run}, {"relay", m.carry}, {"browser media", m.plane.Run}, {"browser calls", m.browsers.Run}, {"media captures", m.captures.Run}}
	if m.kernel.path != nil {
		parts = append(parts, part{"kernel media", m.kernel.path.Run})
	}
	return stage{name: "media", parts: parts}
}

// carry runs the relay; when its streams have closed, what the kernel goes on carrying is the next process's.
func (m *mediaPlane) carry(ctx context.Context) error {
	return errors.Join(m.relay.Run(ctx), m.kernel.close())
}

// holdCommand makes this program the holder of the relay's sockets.
const holdCommand = "hold"

func newHold() *cobra.Command {
	return &cobra.Command{
		Use: holdCommand, Short: "keeps the sockets of calls while the appliance restarts; it starts this by itself", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return holder.Run() },
	}
}
