package room

import (
	"context"
	"crypto/rand"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"linehall/internal/auth"
	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/media/line"
	"linehall/sfu/forward"
	"linehall/sfu/pace"
	"linehall/sfu/peer"
	"linehall/sfu/signal"
)

// The kinds of participants.
const (
	kindBrowser = "browser"
	kindNative  = "native"
)

// participant is somebody in the room. It belongs to the room's goroutine, except out, which the peer's goroutine uses too.
type participant struct {
	room      *Room
	id        string
	resume    string
	venue     *VenueConfig
	name      signal.Text
	kind      string
	site      site.ID
	joinedAt  time.Time
	who       auth.Principal
	member    string     // the key by which the meeting knows it
	control   bool       // a chair page: sees and leads, is not seen or heard
	watch     *watcher   // nil: takes part
	phone     *phoneLine // nil: it has connections of its own
	leads     bool       // may be chair by its role
	knowsPIN  bool       // of the chair
	unsafeAV1 bool
	limits    limits

	client   signal.Client // nil while the connection is broken
	out      atomic.Pointer[signal.Client]
	brokenAt time.Time

	peer   *peer.Peer
	cancel context.CancelFunc
	uplink *forward.Uplink // whose meters and mutes are set

	audioMuted, videoMuted, hasContent bool
	hasAudio, hasVideo                 bool
	speaking                           bool

	views   []signal.View // that the page wants
	shown   []signal.View // of these, and the programme: what it is to be sent
	video   []videoSlot
	audio   []audioSlot
	needed  map[stepKey]time.Time // when a layer was last shown to somebody
	askedAt map[string]time.Time  // since when the camera's layers are asked for
	absent  map[string]time.Time  // since when a layer that was asked for is known not to come
	capture int                   // height of the camera, as far as it is known
	lease   *line.Lease
	voices  int // how many the line carries to it
	share   *share
	flows   []*pace.Flow // of the video slots, in the queue of the site's line
	measured
	stills stills
	// elsewhere is the site that the media comes from, while its line has no room; "": site is right.
	elsewhere site.ID
	triedAt   time.Time
	sent      sentState
	stats     peer.Stats
	figures   [2]*signal.Figures // as the client measured: publish, subscribe
}

// sentState is what the client was told last, so that only changes are sent.
type sentState struct {
	slots  signal.Slots
	layers signal.Commands
	line   signal.Line
	lineAt time.Time
	stills bool // that there are to be still pictures
}

type audioSlot struct{ participant string }

func newParticipant(r *Room, venue *VenueConfig, who auth.Principal, join signal.Request, client signal.Client) *participant {
	p := &participant{
		room: r, id: newID(), resume: rand.Text(), venue: venue, kind: kindNative, joinedAt: time.Now(),
		site: who.Site, needed: map[stepKey]time.Time{}, askedAt: map[string]time.Time{}, absent: map[string]time.Time{},
	}
	p.who, p.control, p.leads, p.limits = who, join.Control, leads(who), newLimits()
	p.member = memberOf(who, p.id)
	p.knowsPIN = join.Control && !p.leads && (venue == nil || !r.chairs(venue)) // judge has checked it
	voices := r.config.Voices
	if p.control {
		voices = 0 // it stands in a room whose own page plays the sound
	}
	p.name = nameOf(venue, who, join)
	if venue != nil {
		p.site = venue.Site
	}
	if p.site == "" && r.manager.options.Atlas != nil {
		p.site = r.manager.options.Atlas.Main()
	}
	p.unsafeAV1 = unsafeAV1(join.Client)
	if strings.HasPrefix(join.Client, "Mozilla/") {
		p.kind = kindBrowser
	}
	p.video = make([]videoSlot, r.manager.options.Videos)
	p.audio, p.voices = make([]audioSlot, voices), voices
	p.measure()
	p.peer = peer.New(peer.Options{
		Plane: r.manager.options.Plane, Events: events{p}, Log: r.log.With(observe.Participant, p.id), Metrics: r.manager.metrics,
		Dropped: r.manager.options.Dropped, Voices: voices, Videos: r.manager.options.Videos,
		Transport: p.transport(), WithoutRecovery: r.manager.options.WithoutRecovery,
	})
	p.attach(client)
	return p
}

// nameOf is what somebody is called.
func nameOf(venue *VenueConfig, who auth.Principal, join signal.Request) signal.Text {
	switch {
	case venue != nil:
		return signal.Text(venue.Name)
	case join.Name != "":
		return signal.Text{Zh: join.Name, En: join.Name}
	}
	return signal.Text{Zh: who.Name, En: who.Name}
}

func (p *participant) venueID() string {
	if p.venue == nil {
		return ""
	}
	return p.venue.ID
}

func (p *participant) attach(c signal.Client) {
	p.client = c
	p.out.Store(&c)
}

func (p *participant) send(message any) {
	if p.client != nil {
		p.client.Send(message)
	}
}

func (p *participant) refuse(request string, err error) {
	p.refuseAct(request, "", err)
}

func (p *participant) refuseAct(request, act string, err error) {
	p.send(signal.Error{Type: "error", Code: codeOf(err), Message: err.Error(), Request: request, Act: act})
}

// start runs the peer until the participant ends.
func (p *participant) start() {
	p.setMeasured()
	ctx, cancel := context.WithCancel(p.room.ctx)
	p.cancel = cancel
	p.room.peers.Go(func() {
		defer observe.Recover(p.room.log, p.room.manager.options.Panics, "peer")
		if err := p.peer.Run(ctx); err != nil {
			p.room.log.Error("peer ended", observe.Participant, p.id, observe.Err, err)
			p.room.post(func() { p.room.remove(p, signal.Removed) })
		}
	})
}

// end releases what the participant holds; its peer closes beside the room.
func (p *participant) end() {
	for _, s := range append(slices.Clone(p.peer.VideoSlots()), p.peer.AudioSlots()...) {
		s.Follow(nil)
	}
	p.unqueue()
	if p.cancel != nil {
		p.cancel()
	}
	if p.lease != nil {
		p.lease.Release()
	}
	p.room.leaveShare(p)
	p.unmeasure()
}

func (p *participant) welcome() {
	w := signal.Welcome{
		Type: "welcome", Instance: p.room.manager.instance, Participant: p.id, Resume: p.resume,
		Room: signal.RoomRef{Number: p.room.config.Number, Name: p.room.config.Name}, Layers: p.initialCommands(),
	}
	if p.venue != nil {
		w.Venue = &signal.VenueRef{ID: p.venue.ID, Name: p.name}
	}
	p.send(w)
}

func (p *participant) public() signal.Participant {
	return signal.Participant{
		ID: p.id, Venue: p.venueID(), Name: p.name, Site: string(p.site), Kind: p.kind, AudioMuted: p.silent(), VideoMuted: p.dark(),
		HasAudio: p.hasAudio, HasVideo: p.hasVideo, HasContent: p.shares(), JoinedAt: p.joinedAt,
		Member: p.member, ChairMuted: p.chairMuted(), CameraOff: p.chairDark(),
	}
}

// refresh takes over what changed by itself since the last look.
func (p *participant) refresh(now time.Time) {
	p.stats = p.peer.Stats()
	if p.elsewhere != "" && p.stats.Remote.IsValid() {
		p.moved(p.stats.Remote, now)
	}
	u := p.peer.Uplink()
	if u == nil {
		return
	}
	if u != p.uplink {
		p.uplink = u
		p.setMeters()
		p.applyMute()
	}
	audio, video := u.Track(forward.Microphone).Live(now), u.Track(forward.Camera).Live(now)
	if audio != p.hasAudio || video != p.hasVideo {
		p.hasAudio, p.hasVideo = audio, video
		p.room.listChanged()
	}
}

// moveInterval is how often a participant asks for voices on the line that it moved to, as long as there are none.
const moveInterval = 10 * time.Second

// moved takes over the site that the participant's media comes from.
func (p *participant) moved(remote netip.AddrPort, now time.Time) {
	atlas := p.room.manager.options.Atlas
	if atlas == nil {
		return
	}
	id, ok := atlas.Locate(remote.Addr())
	if !ok || id == p.site {
		p.elsewhere = ""
		return
	}
	if id == p.elsewhere && now.Sub(p.triedAt) < moveInterval {
		return
	}
	if id != p.elsewhere {
		p.room.log.Info("participant is at another site than configured", observe.Participant, p.id, "configured", string(p.site), observe.Site, string(id))
	}
	p.elsewhere, p.triedAt = id, now
	if err := p.reserve(id); err != nil {
		p.room.log.Warn("no room for conference audio on the line", observe.Participant, p.id, observe.Err, err)
		return // tried again by refresh; until then the old line answers for it
	}
	p.elsewhere = ""
	p.setMeters()
	p.room.listChanged()
}

// events passes on what the peer's goroutine tells: descriptions go straight to the page, the rest through the room.
type events struct{ p *participant }

func (e events) direct(message any) { (*e.p.out.Load()).Send(message) }

func (e events) PublishAnswer(sdp string) {
	e.direct(signal.Description{Type: "publish_answer", SDP: sdp})
	e.p.room.post(func() { e.p.refresh(time.Now()); e.p.room.dirty = true })
}

func (e events) SubscribeOffer(sdp string) {
	e.direct(signal.Description{Type: "subscribe_offer", SDP: sdp})
	e.p.room.post(func() { e.p.sent.slots = signal.Slots{}; e.p.room.dirty = true })
}

func (e events) Path(connection string, remote netip.AddrPort, transport string) {
	e.p.room.post(func() {
		e.p.room.log.Info("media connected", observe.Participant, e.p.id, "connection", connection, observe.Remote, remote.String(), "transport", transport)
		e.p.moved(remote, time.Now())
		e.p.room.dirty = true
	})
}

func (e events) Failed(connection string) {
	e.p.room.log.Info("media path lost", observe.Participant, e.p.id, "connection", connection)
}

func (e events) Refused(request string, err error) {
	e.direct(signal.Error{Type: "error", Code: codeOf(err), Message: err.Error(), Request: request})
}
