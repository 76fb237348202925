package room

import (
	"slices"
	"time"

	"linehall/internal/site"
	"linehall/media/line"
	"linehall/sfu/allocate"
	"linehall/sfu/forward"
	"linehall/sfu/signal"
)

const (
	// An encoder's rate becomes this on the wire: wireShare for the headers of full packets, retransmissions and reports, and
	// wireFrames for the headers of the last packet of each frame, however small it is (30 of 68 octets).
	wireShare  = 1.08
	wireFrames = 16_000
	// linger is how long a layer that nobody watches any more is still sent, on a line that has room: the next viewer has it at once.
	linger = 2 * time.Second
	// A browser sends fewer layers than it offers when it captures less than smallCapture (Chromium: two of three at 640x360,
	// one at 320x180): the room notices after settleSmall and asks again after retrySmall. A larger capture has all of them, but
	// the highest may wait for the browser's own estimation of its uplink.
	smallCapture = 540
	settleSmall  = 4 * time.Second
	settleLarge  = 20 * time.Second
	retrySmall   = 5 * time.Minute
	retryLarge   = 30 * time.Second
	// roundBps keeps commands from changing with every small change of a budget.
	roundBps = 10_000
)

// videoSlot is who is in one of a participant's video m-lines.
type videoSlot struct {
	participant, media, rid, reason string
}

func (v videoSlot) content() bool { return v.media == signal.MediaContent }

// stepKey names a layer of one of a publisher's streams.
type stepKey struct {
	kind forward.Kind
	rid  string
}

// source is a stream of the division and where it comes from.
type source struct {
	p     *participant
	kind  forward.Kind
	track *forward.Track
	rids  []string
	live  []*forward.Layer
}

// wish is a view of the division and where it goes.
type wish struct {
	p    *participant
	slot int
	from int // index of the source
}

// plan is one decision under way.
type plan struct {
	now     time.Time
	sources []source
	wishes  []wish
	streams []allocate.Stream
	views   []allocate.View
	result  allocate.Result
}

// decide looks at who wants to see whom, divides the lines, and carries it out.
func (r *Room) decide() {
	r.dirty = false
	d := &plan{now: time.Now()}
	r.collectSources(d)
	for _, p := range r.participants {
		p.widen()
		p.frame()
		p.assign()
		r.collectWishes(d, p)
	}
	budgets := r.budgets()
	d.result = allocate.Divide(budgets, d.streams, d.views)
	r.use(d)
	d.show()
	r.orderStills(d)
	for _, p := range r.participants {
		p.sendSlots()
		p.command(d, budgets)
		p.sendLine(d, budgets)
	}
}

// collectSources lists the streams that can be shown.
func (r *Room) collectSources(d *plan) {
	for _, p := range r.participants {
		u := p.peer.Uplink()
		if u == nil || p.phone != nil {
			continue
		}
		if !p.dark() {
			d.add(p, u.Track(forward.Camera))
		}
		if p.shares() {
			d.add(p, u.Track(forward.Content))
		}
	}
}

func (d *plan) add(p *participant, t *forward.Track) {
	s := source{p: p, kind: t.Kind(), track: t}
	for _, l := range t.Layers() {
		if l.Live(d.now) {
			s.live = append(s.live, l)
		}
	}
	steps := p.steps(t.Kind(), s.live, d.now)
	for _, step := range steps {
		s.rids = append(s.rids, step.RID)
	}
	d.sources = append(d.sources, s)
	d.streams = append(d.streams, allocate.Stream{Site: string(p.site), Content: t.Kind() == forward.Content, Steps: steps, StillBps: p.room.stillRate(t.Kind())})
}

// steps are the layers that a stream can have, with heights as far as they were seen.
func (p *participant) steps(kind forward.Kind, live []*forward.Layer, now time.Time) []allocate.Step {
	if kind == forward.Content {
		return []allocate.Step{rate("", contentHeight, true)}
	}
	if len(live) > 0 && live[0].RID() == "" {
		step := rate("", max(live[0].Height(), cameraHeight), false)
		step.Shares = live[0].TemporalShares()
		return []allocate.Step{step}
	}
	full := cameraHeight
	for _, l := range live {
		if h := l.Height(); h > 0 {
			full = h * scale(l.RID())
		}
	}
	if full != p.capture {
		p.capture = full
		clear(p.absent) // another size of capture: the browser may send other layers
	}
	var steps []allocate.Step
	for _, rid := range []string{forward.Low, forward.Medium, forward.High} {
		height := full / scale(rid)
		var shares []float64
		if i := slices.IndexFunc(live, func(l *forward.Layer) bool { return l.RID() == rid }); i >= 0 {
			delete(p.absent, rid)
			if h := live[i].Height(); h > 0 {
				height = h
			}
			shares = live[i].TemporalShares()
		} else if p.missing(rid, len(live) > 0, now) {
			continue
		}
		step := rate(rid, height, false)
		step.Shares = shares
		steps = append(steps, step)
	}
	if len(steps) == 0 {
		return []allocate.Step{rate(forward.Low, full/scale(forward.Low), false)}
	}
	return steps
}

// missing says whether a layer that is asked for does not come: a browser that captures little sends fewer layers than it
// offered. It is asked for again after a while.
func (p *participant) missing(rid string, sending bool, now time.Time) bool {
	settle, retry := settleLarge, retryLarge
	if p.capture < smallCapture {
		settle, retry = settleSmall, retrySmall
	}
	if since, ok := p.absent[rid]; ok {
		if now.Sub(since) < retry {
			return true
		}
		delete(p.absent, rid)
		delete(p.askedAt, rid)
		return false
	}
	if since, ok := p.askedAt[rid]; ok && sending && now.Sub(since) > settle {
		p.absent[rid] = now
		return true
	}
	return false
}

const (
	cameraHeight  = 720
	contentHeight = 1080
)

func scale(rid string) int {
	switch rid {
	case forward.Low:
		return 4
	case forward.Medium:
		return 2
	}
	return 1
}

// rate is what a layer of some height takes on the wire (reference: encoder ceilings of VP8, 200/500/1500 kbit/s).
func rate(rid string, height int, content bool) allocate.Step {
	s := allocate.Step{RID: rid, Height: height}
	var bps, low float64
	switch {
	case content:
		bps, low = 1_500_000, 150_000
	case height > 540:
		bps, low = 1_500_000, 500_000
	case height > 270:
		bps, low = 500_000, 200_000
	case height > 120:
		bps, low = 200_000, 80_000
	default:
		bps, low = 100_000, 50_000
	}
	s.Bps, s.MinBps = int64(bps*wireShare)+wireFrames, int64(low*wireShare)+wireFrames
	return s
}

// assign gives every wanted picture an m-line; those that have one keep it.
func (p *participant) assign() {
	for i := range p.video {
		v := &p.video[i]
		if v.participant != "" && !slices.ContainsFunc(p.shown, func(w signal.View) bool { return w.Participant == v.participant && w.Media == v.media }) {
			p.vacate(i)
		}
	}
	for _, w := range p.shown {
		if slices.ContainsFunc(p.video, func(v videoSlot) bool { return v.participant == w.Participant && v.media == w.Media }) {
			continue
		}
		if p.room.find(w.Participant) == nil {
			continue
		}
		if i := slices.IndexFunc(p.video, func(v videoSlot) bool { return v.participant == "" }); i >= 0 {
			p.video[i] = videoSlot{participant: w.Participant, media: w.Media}
			p.peer.Classify(p.peer.VideoSlots()[i], p.video[i].content())
			p.meterVideo(i)
		}
	}
}

func (p *participant) vacate(i int) {
	p.video[i] = videoSlot{}
	p.peer.VideoSlots()[i].Follow(nil)
}

func (r *Room) collectWishes(d *plan, p *participant) {
	for i, v := range p.video {
		if v.participant == "" {
			continue
		}
		owner := r.find(v.participant)
		if owner == nil {
			p.vacate(i)
			continue
		}
		kind := forward.Camera
		if v.content() {
			kind = forward.Content
		}
		from := slices.IndexFunc(d.sources, func(s source) bool { return s.p == owner && s.kind == kind })
		if from < 0 {
			p.hide(i, owner)
			continue
		}
		w := p.shown[slices.IndexFunc(p.shown, func(w signal.View) bool { return w.Participant == v.participant && w.Media == v.media })]
		d.wishes = append(d.wishes, wish{p: p, slot: i, from: from})
		d.views = append(d.views, allocate.View{Stream: from, Site: string(p.site), Height: w.Height})
	}
}

// hide keeps the m-line for a picture that its owner does not send now.
func (p *participant) hide(i int, owner *participant) {
	v := &p.video[i]
	v.rid, v.reason = "", ""
	if !v.content() && owner.dark() {
		v.reason = signal.ReasonMuted
	}
	p.peer.VideoSlots()[i].Follow(nil)
}

// use tells the ledger what was given out.
func (r *Room) use(d *plan) {
	content, video := map[site.ID]line.Rate{}, map[site.ID]line.Rate{}
	of := func(s source) map[site.ID]line.Rate {
		if s.kind == forward.Content {
			return content
		}
		return video
	}
	for i, s := range d.sources {
		for _, bps := range d.result.Rates[i] {
			m := of(s)
			m[s.p.site] = m[s.p.site].Plus(line.Rate{Up: bps})
		}
	}
	for i, w := range d.wishes {
		m := of(d.sources[w.from])
		m[w.p.site] = m[w.p.site].Plus(line.Rate{Down: d.result.Taken[i]})
	}
	for from := range d.stillsSent() {
		owner := d.sources[from].p
		video[owner.site] = video[owner.site].Plus(line.Rate{Up: d.streams[from].StillBps})
	}
	for id, s := range r.sites {
		s.content.Use(content[id])
		s.video.Use(video[id])
	}
}

// show makes every slot follow what it was given.
func (d *plan) show() {
	for i, w := range d.wishes {
		s := d.sources[w.from]
		step := d.result.Views[i]
		v, slot := &w.p.video[w.slot], w.p.peer.VideoSlots()[w.slot]
		if step < 0 {
			v.rid, v.reason = "", signal.ReasonLine
			slot.Follow(nil)
			continue
		}
		for k := range step + 1 {
			if d.result.Rates[w.from][k] > 0 || k == step {
				s.p.needed[stepKey{s.kind, s.rids[k]}] = d.now
			}
		}
		v.reason = ""
		if limited(d, i) {
			v.reason = signal.ReasonLine
		}
		layer := choose(s.live, s.rids[step])
		if current, _ := slot.Following(); layer == nil && current != nil {
			continue // what is shown goes on until something else is there
		}
		slot.SetTemporal(d.result.Temporal[i])
		slot.Follow(layer)
		v.rid = ""
		switch {
		case undecodable(slot, layer):
			v.reason = signal.ReasonCodec
		case layer != nil:
			v.rid = layer.RID()
		}
	}
}

// limited says whether a view got less than its picture could use.
func limited(d *plan, view int) bool {
	if d.result.Temporal[view] < allocate.AllTemporal {
		return true
	}
	steps, step := d.streams[d.views[view].Stream].Steps, d.result.Views[view]
	return step+1 < len(steps) && steps[step].Height < d.views[view].Height
}

// choose finds the highest layer that is being received up to a RID, or else the lowest.
func choose(live []*forward.Layer, rid string) *forward.Layer {
	var best *forward.Layer
	for _, l := range live {
		if best == nil || scale(l.RID()) >= scale(rid) {
			best = l
		}
	}
	return best
}
