package record

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
)

// Audit keeps the record of what was done (internal/audit).
type Audit interface {
	Append(ctx context.Context, e audit.Event) error
}

// Options are the parts of a Recorder.
type Options struct {
	DB         *sql.DB
	Folder     string // for the files; made when it is not there
	Secrets    Secrets
	Audit      Audit
	Clock      func() int64 // by which packets come (relay.Relay.Clock)
	Config     Config
	Class      string // of service, of terminals whose row names none
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Panics     prometheus.Counter

	// Space tells the size of the disk and what is free of it; nil: of the folder's.
	Space func() (size, free int64, err error)
}

// Recorder keeps all recordings.
type Recorder struct {
	o            Options
	log          *slog.Logger
	confirmation *cue
	rules        atomic.Pointer[rules]
	blocked      atomic.Bool
	full         atomic.Bool // the disk is; as of the last look
	metrics      *metrics

	mu     sync.Mutex // guards what follows
	runs   map[*run]struct{}
	active map[string]struct{} // their ids
	ended  bool                // Run has
}

const (
	// drainEvery is how much a crash may cost.
	drainEvery = 200 * time.Millisecond
	// syncEvery is how much a power cut may cost.
	syncEvery = 10 * time.Second
	// retryEvery is how often a full disk is looked at.
	retryEvery = 2 * time.Second
	// tidyEvery is how often recordings are looked at that were kept long enough.
	tidyEvery = time.Minute
	// slack keeps a disk at the edge of its reserve from going back and forth.
	slack = 32 << 20
)

// Open returns the recorder; its table must be there (database.Migrate). What a crash interrupted is closed.
func Open(ctx context.Context, o Options) (*Recorder, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Space == nil {
		o.Space = func() (int64, int64, error) { return space(o.Folder) }
	}
	if err := os.MkdirAll(o.Folder, folderMode); err != nil {
		return nil, fmt.Errorf("recordings: %w", err)
	}
	r := &Recorder{o: o, log: o.Log, runs: map[*run]struct{}{}, active: map[string]struct{}{}}
	var err error
	if r.confirmation, err = confirmationTone(); err != nil {
		return nil, err
	}
	prepared, err := r.Prepare(o.Config, o.Class)
	if err != nil {
		return nil, err
	}
	r.Install(prepared)
	r.metrics = newMetrics(r, o.Registerer)
	if err := r.recover(ctx); err != nil {
		return nil, err
	}
	r.look()
	return r, nil
}

func space(folder string) (size, free int64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, 0, fmt.Errorf("recordings: %w", err)
	}
	return int64(s.Blocks) * s.Bsize, int64(s.Bavail) * s.Bsize, nil
}

// path is where a recording's file lies: a folder per month.
func (r *Recorder) path(i *Info) string {
	return filepath.Join(r.o.Folder, i.StartedAt.UTC().Format("2006-01"), i.ID+".rec")
}

// find returns the path of a recording: the month may have changed between its beginning and the end of an announcement.
func (r *Recorder) find(i *Info) string {
	path := r.path(i)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if found, err := filepath.Glob(filepath.Join(r.o.Folder, "*", i.ID+".rec")); err == nil && len(found) > 0 {
		return found[0]
	}
	return path
}

// Blocked reports whether the disk is too full to record.
func (r *Recorder) Blocked() bool { return r.blocked.Load() }

// Active returns how many calls are being recorded.
func (r *Recorder) Active() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.runs)
}

// open makes the file and the row of a recording, once it is on record that it begins.
func (r *Recorder) open(ctx context.Context, n *run) (err error) {
	defer func() {
		if err != nil {
			r.metrics.failed.Inc()
		}
	}()
	if r.Blocked() {
		return ErrBlocked
	}
	i := &n.info
	if strings.ContainsAny(i.ID, "/\\*?[") {
		return fmt.Errorf("recording %q: not a name", i.ID)
	}
	if err := r.o.Audit.Append(ctx, audit.Event{Actor: i.StartedBy, Source: "local", Action: "recording.start", Object: i.ID, Detail: map[string]string{
		"from": i.From.Extension, "to": i.To.Extension, "rule": i.Rule,
	}}); err != nil {
		return err
	}
	path := r.path(i)
	if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
		return fmt.Errorf("recordings: %w", err)
	}
	var secrets Secrets
	if r.rules.Load().config.Encrypt {
		secrets, i.Encrypted = r.o.Secrets, true
	}
	file, err := create(path, fileHeader{ID: i.ID, Call: i.Call, StartedAt: i.StartedAt}, secrets)
	if err != nil {
		return err
	}
	if err := r.insert(ctx, i); err != nil {
		return errors.Join(err, file.file.Close(), os.Remove(path))
	}
	n.file, n.path, n.id = file, path, i.ID
	n.chunk.addJSON(entryAbout, 0, i)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs[n], r.active[n.id] = struct{}{}, struct{}{}
	return nil
}

// finish has a recording end with the next drain.
func (r *Recorder) finish(ctx context.Context, n *run, by, why string) {
	n.mu.Lock()
	n.closing, n.info.EndedBy, n.info.Why = true, by, why
	if zero := n.zero.Load(); zero != 0 {
		n.end = time.Duration(r.o.Clock() - zero)
	}
	n.mu.Unlock()
	r.mu.Lock()
	ended := r.ended
	r.mu.Unlock()
	if ended { // nobody drains any more
		r.drain(ctx, n)
	}
}

// Run writes until ctx ends, deletes what was kept long enough, and watches the disk. What is recorded at the end is closed:
// the calls go on, and so does their recording, in the next process and another file.
func (r *Recorder) Run(ctx context.Context) error {
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() { r.syncFiles(ctx) })
	others.Go(func() { r.tidyUp(ctx) })
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	looked := time.Now()
	for {
		select {
		case <-ctx.Done():
			r.end(context.WithoutCancel(ctx))
			return nil
		case <-tick.C:
		}
		if time.Since(looked) >= retryEvery {
			looked = time.Now()
			r.look()
		}
		for _, n := range r.all() {
			r.safely(ctx, n)
		}
	}
}

// safely keeps a defect in one recording from ending the others.
func (r *Recorder) safely(ctx context.Context, n *run) {
	ok := false
	defer func() {
		if !ok {
			r.drop(n)
		}
	}()
	defer observe.Recover(r.log, r.o.Panics, "recording")
	r.drain(ctx, n)
	ok = true
}

// end closes what is under way.
func (r *Recorder) end(ctx context.Context) {
	for _, n := range r.all() {
		n.mu.Lock()
		closing := n.closing
		n.mu.Unlock()
		if !closing {
			n.phase.Store(phaseOff)
			r.finish(ctx, n, "system", "the appliance stopped")
		}
		r.safely(ctx, n)
	}
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	for _, n := range r.all() { // that began meanwhile
		r.finish(ctx, n, "system", "the appliance stopped")
	}
}

func (r *Recorder) all() []*run {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*run, 0, len(r.runs))
	for n := range r.runs {
		list = append(list, n)
	}
	return list
}

func (r *Recorder) drop(n *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.runs, n)
	delete(r.active, n.id)
}

// look sees whether the disk has room.
func (r *Recorder) look() {
	reserve := int64(r.rules.Load().config.Reserve) << 20
	if r.full.Load() { // not back at the first byte
		reserve += slack
	}
	_, free, err := r.o.Space()
	if err != nil {
		r.log.Warn("the disk of the recordings cannot be looked at", slog.Any(observe.Err, err))
		return
	}
	r.full.Store(free < reserve)
	r.block(free < reserve, "reserve")
}

func (r *Recorder) block(yes bool, why string) {
	if r.blocked.Swap(yes) == yes {
		return
	}
	if yes {
		r.log.Error("recording stops: the disk is too full", slog.String(observe.Reason, why))
	} else {
		r.log.Info("recording goes on: the disk has room again")
	}
}

// syncFiles brings what was written to the platter now and then; a slow disk holds up nobody else.
func (r *Recorder) syncFiles(ctx context.Context) {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, n := range r.all() {
			n.mu.Lock()
			file := n.file
			n.mu.Unlock()
			if file == nil {
				continue
			}
			if err := file.file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
				r.log.Warn("recording not synced", slog.String("recording", n.id), slog.Any(observe.Err, err))
			}
		}
	}
}
