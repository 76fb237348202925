package room

import (
	"sync"

	"linehall/internal/site"
	"linehall/media/line"
	"linehall/sfu/pace"
)

// lines are the queues towards the sites, shared by all rooms: the bottleneck is the line, not the room.
type lines struct {
	ledger *line.Ledger // nil: nobody is behind a line
	pacer  *pace.Pacer

	mu    sync.Mutex // guards sites
	sites map[site.ID]*pace.Site
}

// site is the queue of a site's line, which sends at the rate that the ledger leaves for elastic classes: calls that come and go
// change it before they are answered. nil: there is no ledger. Ids come from the configuration, so the map is bounded.
func (l *lines) site(id site.ID) *pace.Site {
	if l.ledger == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.sites[id]; ok {
		return s
	}
	s := l.pacer.Site()
	var mu sync.Mutex // the rate that is set last is the newest
	var watch *line.Elastic
	follow := func(line.Rate) {
		mu.Lock()
		defer mu.Unlock()
		if watch != nil {
			left := watch.Budget()
			s.SetRate(left.Down, l.ledger.Overhead(id), left.Down < line.Unlimited)
		}
	}
	w := l.ledger.Watch(id, follow)
	mu.Lock()
	watch = w
	mu.Unlock()
	follow(line.Rate{})
	l.sites[id] = s
	return s
}

// queue puts the participant's pictures into the queue of its site's line, and takes them out of the one before.
func (p *participant) queue() {
	p.unqueue()
	s := p.room.manager.lines.site(p.site)
	if s == nil {
		return
	}
	for i, slot := range p.peer.VideoSlots() {
		f := s.Flow()
		f.SetContent(p.video[i].content())
		p.flows = append(p.flows, f)
		slot.SetPacer(f)
	}
}

func (p *participant) unqueue() {
	for i, f := range p.flows {
		p.peer.VideoSlots()[i].SetPacer(nil)
		f.Close()
	}
	p.flows = nil
}
