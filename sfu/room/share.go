package room

import (
	"linehall/internal/site"
	"linehall/media/line"
	"linehall/sfu/allocate"
	"linehall/sfu/forward"
)

// A voice on the wire: Opus at 32 kbit/s (the answer says so) in 20 ms packets of 80 octets, RTP 12, header extensions 8,
// authentication tag 16, UDP 8, IPv4 20.
const (
	voicePackets = 50
	voiceOctets  = 80 + 12 + 8 + 16 + 8 + 20
)

// share is what the room may use of one site's line for video, while somebody of that site is in it.
type share struct {
	site    site.ID
	content *line.Elastic
	video   *line.Elastic
	members int
}

// enterShare counts the participant to its site.
func (r *Room) enterShare(p *participant) {
	ledger := r.manager.options.Ledger
	if ledger == nil {
		return
	}
	s := r.sites[p.site]
	if s == nil {
		changed := func(line.Rate) { r.post(func() { r.dirty = true }) } // a full mailbox is no loss: every tick looks again
		s = &share{site: p.site, content: ledger.Elastic(line.Content, p.site, changed), video: ledger.Elastic(line.Video, p.site, changed)}
		r.sites[p.site] = s
	}
	s.members++
	p.share = s
}

func (r *Room) leaveShare(p *participant) {
	s := p.share
	if s == nil {
		return
	}
	p.share = nil
	s.members--
	if s.members == 0 {
		s.video.Close()
		s.content.Close()
		delete(r.sites, s.site)
	}
}

// reserve books the participant's voices on the line of a site, fewer of them if the line is short, and moves the participant
// there: its lease, its share of the line, its site. What it held elsewhere is released after that. An error means that not
// even one voice fits and that nothing changed: the participant keeps what it has.
func (p *participant) reserve(id site.ID) error {
	ledger := p.room.manager.options.Ledger
	if ledger == nil || p.phone != nil { // a telephone's call has booked its line
		p.site = id
		return nil
	}
	voice := ledger.WireRate(id, voicePackets, voiceOctets)
	up := voice
	if p.watch != nil {
		up = 0
	}
	var (
		lease *line.Lease
		err   error
	)
	voices := p.mostVoices()
	for ; voices > 0; voices-- {
		lease, err = ledger.Reserve(line.ConferenceAudio, line.Demand{Site: id, Rate: line.Rate{Up: up, Down: voice * int64(voices)}})
		if err == nil {
			break
		}
	}
	if err != nil {
		return err //nolint:wrapcheck // *line.Refused says it all
	}
	p.lease.Release()
	p.room.leaveShare(p)
	p.site, p.lease, p.voices = id, lease, voices
	p.room.enterShare(p)
	p.queue()
	return nil
}

// mostVoices is what the room forwards, as far as the participant has m-lines for it: a reload may change the room's number.
func (p *participant) mostVoices() int { return min(p.room.config.Voices, len(p.audio)) }

// widen asks for the voices that did not fit when the participant joined.
func (p *participant) widen() {
	if p.lease == nil || p.voices >= p.mostVoices() {
		return
	}
	voice := p.room.manager.options.Ledger.WireRate(p.site, voicePackets, voiceOctets)
	up := voice
	if p.watch != nil {
		up = 0
	}
	if p.lease.Resize(line.Demand{Site: p.site, Rate: line.Rate{Up: up, Down: voice * int64(p.voices+1)}}) == nil {
		p.voices++
	}
}

// setMeters tells uplink and slots where to count.
func (p *participant) setMeters() {
	ledger := p.room.manager.options.Ledger
	if ledger == nil || p.phone != nil { // the relay measures a telephone's
		return
	}
	p.setMeasured()
	if p.uplink != nil {
		p.uplink.SetMeters([3]forward.Meter{
			forward.Microphone: ledger.Meter(p.site, line.Up, line.ConferenceAudio),
			forward.Camera:     ledger.Meter(p.site, line.Up, line.Video),
			forward.Content:    ledger.Meter(p.site, line.Up, line.Content),
		})
	}
	for _, s := range p.peer.AudioSlots() {
		s.SetMeter(ledger.Meter(p.site, line.Down, line.ConferenceAudio))
	}
	for i := range p.video {
		p.meterVideo(i)
	}
}

func (p *participant) meterVideo(i int) {
	ledger := p.room.manager.options.Ledger
	if ledger == nil {
		return
	}
	class := line.Video
	if p.video[i].content() {
		class = line.Content
	}
	if i < len(p.flows) {
		p.flows[i].SetContent(class == line.Content)
	}
	p.peer.VideoSlots()[i].SetMeter(ledger.Meter(p.site, line.Down, class))
}

// budgets reads what every line has left for content and video together: content comes first, so its budget is the sum.
func (r *Room) budgets() map[string]allocate.Budget {
	m := make(map[string]allocate.Budget, len(r.sites))
	for id, s := range r.sites {
		b := s.content.Budget()
		if b.Up >= line.Unlimited && b.Down >= line.Unlimited {
			continue
		}
		m[string(id)] = allocate.Budget{Up: b.Up, Down: b.Down}
	}
	return m
}
