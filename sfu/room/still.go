package room

import (
	"fmt"
	"slices"
	"time"

	"linehall/sfu/forward"
	"linehall/sfu/peer"
	"linehall/sfu/signal"
)

// Where a line does not carry the lowest layer of a camera, its viewer gets a still picture every few seconds, over the
// signalling: the publisher's page makes it when the room asks, and it is part of the video's share of both lines (and measured with
// the signalling that carries it, media/bulk).
const (
	stillInterval = 5 * time.Second
	// stillPause is the shortest time between two: what comes sooner is dropped.
	stillPause = stillInterval - time.Second
	// stillFresh is how long the last one is worth showing to whoever begins to look.
	stillFresh = 3 * stillInterval
	// stillBps is one of signal.MaxStill every stillInterval on the wire: base64 (4/3), TLS, TCP and the link (1.1).
	stillBps = 20_000
)

// stills is a publisher's side of it.
type stills struct {
	viewers []*participant
	newest  []byte
	at      time.Time
}

// stillRate is what a still picture of a stream takes; 0: there are none of it.
func (r *Room) stillRate(kind forward.Kind) int64 {
	if kind != forward.Camera {
		return 0
	}
	return stillBps
}

// stillsSent are the sources that somebody gets still pictures of: each is sent up once.
func (d *plan) stillsSent() map[int]bool {
	sent := map[int]bool{}
	for i, w := range d.wishes {
		if d.result.Stills[i] {
			sent[w.from] = true
		}
	}
	return sent
}

// orderStills asks the publishers that somebody needs a still of, and tells the others to stop.
func (r *Room) orderStills(d *plan) {
	wanted := map[*participant][]*participant{}
	for i, w := range d.wishes {
		if d.result.Stills[i] {
			owner := d.sources[w.from].p
			wanted[owner] = append(wanted[owner], w.p)
		}
	}
	for _, p := range r.participants {
		p.showStills(wanted[p], d.now)
	}
}

func (p *participant) showStills(viewers []*participant, now time.Time) {
	before := p.stills.viewers
	p.stills.viewers = viewers
	if active := len(viewers) > 0; active != p.sent.stills {
		p.sent.stills = active
		p.send(signal.StillOrder{Type: "stills", Active: active, IntervalMs: stillInterval.Milliseconds(), MaxOctets: signal.MaxStill})
	}
	for _, v := range viewers {
		if !slices.Contains(before, v) && now.Sub(p.stills.at) < stillFresh {
			p.giveStill(v)
		}
	}
}

// takeStill takes a picture from the publisher's page.
func (p *participant) takeStill(picture []byte, now time.Time) error {
	if !p.sent.stills || p.dark() {
		return fmt.Errorf("%w: nobody asked for still pictures", peer.ErrState)
	}
	if now.Sub(p.stills.at) < stillPause {
		return errTooOften
	}
	p.stills.newest, p.stills.at = picture, now
	for _, v := range p.stills.viewers {
		p.giveStill(v)
	}
	return nil
}

func (p *participant) giveStill(v *participant) {
	v.send(signal.Still{Type: "still", Participant: p.id, JPEG: p.stills.newest})
}
