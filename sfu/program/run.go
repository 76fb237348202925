package program

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"linehall/internal/observe"
	"linehall/sfu/forward"
	"linehall/sfu/room"
)

const (
	// drainEvery is how often packets are taken from the publishers' goroutines.
	drainEvery = 100 * time.Millisecond
	// maxInbox bounds what a slot may leave between two of these looks: a second of the highest layer, and then some.
	maxInbox = 4096
	// keyframeEvery is how long a recording does without a keyframe, without which nobody can seek.
	keyframeEvery = 20 * time.Second
	// keyframeAgain is how often one that was lost is asked for.
	keyframeAgain = time.Second
)

// inbox takes what a publisher's goroutine brings. It implements forward.Sink.
type inbox struct {
	slot *forward.Slot

	mu   sync.Mutex // guards what follows; held for one copy
	list []arrival
	lost uint64
}

// Take copies a packet.
func (b *inbox) Take(p *forward.Taken) {
	a := arrival{Taken: *p, came: time.Now()}
	a.Payload = append([]byte(nil), p.Payload...)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.list) >= maxInbox {
		b.lost++
		return
	}
	b.list = append(b.list, a)
}

func (b *inbox) drain() []arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.list
	b.list = nil
	return list
}

// lane is one slot on its way into the file.
type lane struct {
	inbox
	index     int // of the voice; -1: the picture
	order     order
	clock     clock
	frames    assembler
	keyAt     time.Time // a keyframe came
	askedAt   time.Time
	wantsKey  bool
	lostTotal uint64
}

// film is what goes into one row of files: the programme, or a participant.
type film struct {
	member string // "" = the programme
	name   room.Person
	lanes  []*lane
	mux    mux
	part   int // under way
	ended  bool
}

// run is one recording from its beginning to its end. The room's goroutine posts to it; its own does the rest.
type run struct {
	s    *Service
	info Info
	lost func(why string)
	log  *slog.Logger

	mu    sync.Mutex // guards what follows
	posts []func()   // for the run's goroutine; bounded by what a room does in a drain's time
	end   string     // why it is to end; "": it goes on
	parts []int      // that were begun

	wake  chan struct{}
	ctx   context.Context //nolint:containedctx // of loop, for what it calls back
	films []*film         // the run's goroutine's
	cast  room.Cast
}

// Cast tells who is seen and heard.
func (r *run) Cast(c room.Cast) {
	at := time.Now()
	r.post(func() { r.noteCast(c, at) })
}

// Add records a participant by itself.
func (r *run) Add(who room.Person, f room.Feed) {
	r.post(func() { r.addFilm(who.Member, who, f) })
}

// Remove ends that.
func (r *run) Remove(member string) {
	r.post(func() {
		for _, f := range r.films {
			if f.member == member && !f.ended {
				f.ended = true
				r.close(f)
			}
		}
	})
}

// End ends the recording.
func (r *run) End(why string) {
	r.mu.Lock()
	if r.end == "" {
		r.end = why
	}
	r.mu.Unlock()
	r.stir()
}

func (r *run) post(f func()) {
	r.mu.Lock()
	r.posts = append(r.posts, f)
	r.mu.Unlock()
	r.stir()
}

func (r *run) stir() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// loop records until the recording or the appliance ends.
func (r *run) loop(ctx context.Context) {
	r.ctx = context.WithoutCancel(ctx) // what is under way at the end is written
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	for {
		stop := ""
		select {
		case <-ctx.Done():
			stop = "shutdown"
		case <-r.wake:
		case <-tick.C:
		}
		r.mu.Lock()
		posts := r.posts
		r.posts = nil
		if r.end != "" {
			stop = r.end
		}
		r.mu.Unlock()
		for _, f := range posts {
			f()
		}
		err := r.turn(time.Now(), stop != "")
		if err == nil && stop == "" && r.s.Blocked() {
			err = ErrFull
		}
		if err != nil && stop == "" {
			stop = whyOf(err)
			r.log.Error("recording ends", slog.Any(observe.Err, err))
			r.s.metrics.failed.Inc()
			defer r.lost(stop)
		}
		if stop != "" {
			r.finish(context.WithoutCancel(ctx), stop)
			return
		}
	}
}

// whyOf is the reason for the minutes.
func whyOf(err error) string {
	if errors.Is(err, ErrFull) {
		return "disk_full"
	}
	return "disk: " + err.Error()
}

// turn moves what has come into the files.
func (r *run) turn(now time.Time, all bool) error {
	var errs []error
	for _, f := range r.films {
		if f.ended {
			continue
		}
		for _, l := range f.lanes {
			r.carry(f, l, now)
		}
		if err := f.mux.write(now, all); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// carry takes the packets of a slot as far as they go.
func (r *run) carry(f *film, l *lane, now time.Time) {
	for _, a := range l.drain() {
		l.order.push(a)
	}
	for {
		a, lost, ok := l.order.pop(now)
		if !ok {
			break
		}
		if lost {
			l.lostTotal++
			r.s.metrics.lost.Inc()
		}
		at := l.clock.place(&a)
		if l.index >= 0 {
			f.mux.add(waiting{key: trackKey{l.index, a.MIME}, at: at, data: a.Payload})
			continue
		}
		if picture, ok := l.frames.push(&a, at, lost); ok {
			if picture.key {
				l.keyAt = now
			}
			f.mux.add(waiting{key: trackKey{-1, picture.mime}, at: picture.at, keyf: picture.key, data: picture.data, w: picture.width, h: picture.height})
		}
	}
	if l.index >= 0 {
		return
	}
	l.wantsKey = l.frames.waits || f.mux.volume != nil && f.mux.blind && f.mux.picture != nil
	pause := keyframeEvery
	if l.wantsKey {
		pause = keyframeAgain
	}
	if now.Sub(l.keyAt) > pause && now.Sub(l.askedAt) > pause {
		l.askedAt = now
		l.slot.RequestKeyframe()
	}
}

// addFilm binds the slots of a feed.
func (r *run) addFilm(member string, who room.Person, feed room.Feed) {
	f := &film{member: member, name: who}
	f.mux = mux{
		voices: len(feed.Audio),
		open:   func(h *head) (*volume, error) { return r.openPart(f, h) },
		close:  func(v *volume, h *head, x *index) { r.closePart(f, v, h, x) },
	}
	now := time.Now()
	lanes := []*lane{{inbox: inbox{slot: feed.Video}, index: -1, keyAt: now}}
	for i, s := range feed.Audio {
		lanes = append(lanes, &lane{inbox: inbox{slot: s}, index: i})
	}
	f.lanes = lanes
	for _, l := range lanes {
		if err := l.slot.Tap(&l.inbox); err != nil {
			r.log.Error("slot not recorded", slog.Any(observe.Err, err))
		}
	}
	r.films = append(r.films, f)
}

// close ends the files of a film.
func (r *run) close(f *film) {
	for _, l := range f.lanes {
		l.slot.Untap()
	}
	if err := f.mux.write(time.Now(), true); err != nil {
		r.log.Warn("end of a recording not written", slog.Any(observe.Err, err))
	}
	f.mux.end()
}

// openPart begins a file.
func (r *run) openPart(f *film, h *head) (*volume, error) {
	p := Part{Programme: r.info.ID, Member: f.member, Name: Text(f.name.Name), StartedAt: h.Start}
	var err error
	if p.Number, err = r.s.nextPart(r.ctx, r.info.ID); err != nil {
		return nil, err
	}
	h.Title = r.info.RoomName
	if f.member != "" {
		h.Title += " " + f.name.Name.Zh
	}
	p.File = fmt.Sprintf("%s-%d.mkv", r.info.ID, p.Number)
	for i := range h.Tracks {
		if t := &h.Tracks[i]; t.video() {
			p.Video, p.Width, p.Height = t.MIME, t.Width, t.Height
		} else {
			p.Voices++
		}
	}
	var secrets Secrets
	if r.s.policy.Load().Encrypt {
		secrets, p.Encrypted = r.s.o.Secrets, true
	}
	path := r.s.path(p.File, r.info.StartedAt)
	if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
		return nil, fmt.Errorf("recordings: %w", err)
	}
	v, err := createVolume(path, p.File, secrets)
	if err != nil {
		return nil, err
	}
	if err := r.s.insertPart(r.ctx, &p); err != nil {
		return nil, errors.Join(err, v.Close(), os.Remove(path))
	}
	f.part = p.Number
	r.mu.Lock()
	r.parts = append(r.parts, p.Number)
	r.mu.Unlock()
	r.log.Info("part of a recording begun", slog.Int("part", p.Number))
	return v, nil
}

// closePart gives a file its index and its row its end.
func (r *run) closePart(f *film, v *volume, h *head, x *index) {
	if err := seal(v, h, x); err != nil {
		r.log.Error("index of a recording not written", slog.Any(observe.Err, err))
	}
	size := v.end
	if err := v.Close(); err != nil {
		r.log.Warn("file of a recording not closed", slog.Any(observe.Err, err))
	}
	if err := r.s.endPart(r.ctx, r.info.ID, f.part, x, size, false); err != nil {
		r.log.Error("end of a part not noted", slog.Any(observe.Err, err))
	}
}

// wrote says whether a part is this run's.
func (r *run) wrote(number int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.parts, number)
}

// noteCast marks who is seen, for the chapters.
func (r *run) noteCast(c room.Cast, at time.Time) {
	before := r.cast
	r.cast = c
	if c.Picture == before.Picture && c.Content == before.Content || c.Picture.Member == "" {
		return
	}
	kind := "picture"
	if c.Content {
		kind = "content"
	}
	if err := r.s.mark(r.ctx, r.info.ID, Mark{At: at, Kind: kind, Member: c.Picture.Member, Name: Text(c.Picture.Name)}); err != nil {
		r.log.Warn("chapter not noted", slog.Any(observe.Err, err))
	}
}

// finish closes everything.
func (r *run) finish(ctx context.Context, why string) {
	for _, f := range r.films {
		if !f.ended {
			f.ended = true
			r.close(f)
		}
	}
	r.s.stopped(ctx, r, why)
}
