package program

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"linehall/internal/audit"
	"linehall/internal/observe"
	"linehall/internal/setting"
	"linehall/sfu/room"
)

// Audit keeps the record of what was done (internal/audit).
type Audit interface {
	Append(ctx context.Context, e audit.Event) error
}

// Policy is what of the section "recording" holds for meetings too.
type Policy struct {
	Encrypt  bool
	KeepDays int           // 0: for ever
	MaxShare setting.Share // of the disk
	Reserve  int           // megabytes that stay free
}

// Options are the parts of a Service.
type Options struct {
	DB         *sql.DB
	Folder     string // for the files; made when it is not there
	Secrets    Secrets
	Audit      Audit
	Policy     Policy
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Panics     prometheus.Counter
	// Space tells the size of the disk and what is free of it; nil: of the folder's.
	Space func() (size, free int64, err error)
	// FFmpeg is the program for exports; "": found in the path.
	FFmpeg string
}

// Service keeps the recordings of meetings.
type Service struct {
	o       Options
	log     *slog.Logger
	policy  atomic.Pointer[Policy]
	blocked atomic.Bool
	metrics *metrics
	exports exports

	mu     sync.Mutex      // guards what follows
	ctx    context.Context //nolint:containedctx // the life of Run, in which recordings are started
	early  []*run          // of before Run
	active map[string]*run // by id
	ended  bool            // Run has, or is about to
	runs   sync.WaitGroup
}

const (
	lookEvery = 2 * time.Second
	tidyEvery = time.Minute
	// slack keeps a disk at the edge of its reserve from going back and forth.
	slack = 64 << 20
)

// Errors of recordings.
var (
	// ErrFull means that the disk has no room for another recording.
	ErrFull = errors.New("the disk is too full to record")
	// ErrInUse is the error of Delete for a recording that goes on.
	ErrInUse = errors.New("the recording goes on")
	// ErrUnfinished is the error for a file that is being written.
	ErrUnfinished = errors.New("this part is still being written")
)

// Open returns the service; its tables must be there (database.Migrate).
func Open(o Options) (*Service, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Space == nil {
		o.Space = func() (int64, int64, error) { return space(o.Folder) }
	}
	if err := os.MkdirAll(o.Folder, folderMode); err != nil {
		return nil, fmt.Errorf("recordings of meetings: %w", err)
	}
	s := &Service{o: o, log: o.Log, active: map[string]*run{}}
	s.Install(o.Policy)
	s.metrics = newMetrics(s, o.Registerer)
	s.look()
	return s, nil
}

// Install takes another policy; what is being recorded goes on as it began.
func (s *Service) Install(p Policy) { s.policy.Store(&p) }

func space(folder string) (size, free int64, err error) {
	var f unix.Statfs_t
	if err := unix.Statfs(folder, &f); err != nil {
		return 0, 0, fmt.Errorf("recordings of meetings: %w", err)
	}
	return int64(f.Blocks) * f.Bsize, int64(f.Bavail) * f.Bsize, nil
}

// path is where a file lies: a folder per month.
func (s *Service) path(file string, started time.Time) string {
	return filepath.Join(s.o.Folder, started.UTC().Format("2006-01"), filepath.Base(file))
}

// Blocked reports whether the disk is too full to record.
func (s *Service) Blocked() bool { return s.blocked.Load() }

// Active counts the recordings under way.
func (s *Service) Active() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.active)
}

// look sees whether the disk has room.
func (s *Service) look() {
	reserve := int64(s.policy.Load().Reserve) << 20
	if s.Blocked() { // not back at the first byte
		reserve += slack
	}
	_, free, err := s.o.Space()
	if err != nil {
		s.log.Warn("the disk of the recordings cannot be looked at", slog.Any(observe.Err, err))
		return
	}
	full := free < reserve
	if s.blocked.Swap(full) != full && full {
		s.log.Error("recording of meetings stops: the disk is too full")
	}
}

// Run records until ctx ends. What a crash left is given its index, old recordings are deleted, and the disk is watched.
func (s *Service) Run(ctx context.Context) error {
	s.mu.Lock()
	s.ctx = ctx
	for _, r := range s.early {
		s.start(r) //nolint:contextcheck // the context of Run is in s
	}
	s.early = nil
	s.mu.Unlock()
	var others sync.WaitGroup
	others.Go(func() { s.repair(ctx) })
	look, tidy := time.NewTicker(lookEvery), time.NewTicker(tidyEvery)
	defer look.Stop()
	defer tidy.Stop()
	for {
		select {
		case <-ctx.Done():
			s.mu.Lock()
			s.ended = true
			s.mu.Unlock()
			s.runs.Wait()
			s.exports.wait()
			others.Wait()
			return nil
		case <-look.C:
			s.look()
		case <-tidy.C:
			if err := s.Tidy(ctx, time.Now()); err != nil && ctx.Err() == nil {
				s.log.Error("recordings of meetings not tidied up", slog.Any(observe.Err, err))
			}
		}
	}
}

// Record begins to record a programme, or carries it on. It implements room.Recorder.
func (s *Service) Record(p room.Programme, main room.Feed, lost func(string)) room.Recording {
	r := &run{
		s: s, lost: lost, wake: make(chan struct{}, 1), log: s.log.With("recording", p.ID),
		info: Info{
			ID: p.ID, Room: p.Room, RoomName: p.RoomName, Meeting: p.Meeting, StartedAt: p.Since, By: p.By.Member, ByName: Text(p.By.Name), Tracks: p.Tracks,
		},
	}
	r.post(func() { r.addFilm("", room.Person{}, main) })
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
	case s.ctx == nil:
		s.early = append(s.early, r)
	default:
		s.start(r) //nolint:contextcheck // the context of Run is in s
	}
	return r
}

// start runs a recording; the caller holds mu.
func (s *Service) start(r *run) {
	ctx := s.ctx
	s.active[r.info.ID] = r
	s.runs.Go(func() {
		defer func() {
			s.mu.Lock()
			if s.active[r.info.ID] == r {
				delete(s.active, r.info.ID)
			}
			s.mu.Unlock()
		}()
		ok := false
		defer func() {
			if !ok {
				r.lost("internal")
			}
		}()
		defer observe.Recover(r.log, s.o.Panics, "recording of a meeting")
		s.begin(ctx, r)
		ok = true
	})
}

// begin puts on record that it begins, and records.
func (s *Service) begin(ctx context.Context, r *run) {
	err := s.mayBegin(ctx, r)
	if err != nil {
		s.metrics.failed.Inc()
		r.log.Error("recording does not begin", slog.Any(observe.Err, err))
		r.lost(whyOf(err))
		return
	}
	r.loop(ctx)
}

func (s *Service) mayBegin(ctx context.Context, r *run) error {
	if s.Blocked() {
		return ErrFull
	}
	if strings.ContainsAny(r.info.ID, "/\\*?[") {
		return fmt.Errorf("recording %q: not a name", r.info.ID)
	}
	action := "meeting.record"
	if old, err := s.Get(ctx, r.info.ID); err == nil {
		action = "meeting.record_on"
		r.info.StartedAt = old.StartedAt // its files lie in a folder by it
	}
	by := r.info.By
	if err := s.o.Audit.Append(ctx, audit.Event{Actor: by, Source: "local", Action: action, Object: r.info.ID, Detail: map[string]string{"room": r.info.Room}}); err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	return s.save(ctx, &r.info)
}

// stopped puts on record that a recording ended. After the end of the appliance the meeting carries it on.
func (s *Service) stopped(ctx context.Context, r *run, why string) {
	now := time.Now()
	r.info.EndedAt, r.info.Why = &now, why
	if err := s.save(ctx, &r.info); err != nil {
		r.log.Error("end of a recording not noted", slog.Any(observe.Err, err))
	}
	if err := s.o.Audit.Append(ctx, audit.Event{Actor: "system", Source: "local", Action: "meeting.record_end", Object: r.info.ID, Detail: map[string]string{
		"room": r.info.Room, "why": why,
	}}); err != nil {
		r.log.Error("end of a recording not on record", slog.Any(observe.Err, err))
	}
}
