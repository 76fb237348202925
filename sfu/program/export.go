package program

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"linehall/internal/observe"
)

// Formats of exports.
const (
	MP4  = "mp4"
	WebM = "webm"
)

// States of exports.
const (
	ExportWaiting   = "waiting"
	ExportRunning   = "running"
	ExportDone      = "done"
	ExportFailed    = "failed"
	ExportCancelled = "cancelled"
)

// Errors of exports.
var (
	ErrNoFFmpeg  = errors.New("ffmpeg is not installed on the appliance: apt install ffmpeg")
	ErrNoParts   = errors.New("nothing of this recording is finished yet")
	ErrTooMany   = errors.New("enough exports are waiting already")
	errCancelled = errors.New("cancelled")
)

// maxExports bounds those that wait or run; one runs at a time, at the lowest priority.
const maxExports = 8

// Export is one file with everything in it, made of a recording.
type Export struct {
	ID        string    `json:"id"`
	Programme string    `json:"programme"`
	Format    string    `json:"format"`
	State     string    `json:"state"`
	Progress  float64   `json:"progress"` // 0 to 1
	Error     string    `json:"error,omitempty"`
	By        string    `json:"by"`
	CreatedAt time.Time `json:"created_at"`
	File      string    `json:"file"`
	Bytes     int64     `json:"bytes"`
	Encrypted bool      `json:"encrypted"`
}

// exports are those under way.
type exports struct {
	turn sync.Mutex // held by the one that runs
	jobs sync.WaitGroup

	mu  sync.Mutex // guards now
	now map[string]*job
}

type job struct {
	export Export
	cancel context.CancelCauseFunc
	done   chan struct{}
}

func (x *exports) wait() { x.jobs.Wait() }

// cancelAll ends the exports of a recording and waits for that.
func (x *exports) cancelAll(programme string) {
	x.mu.Lock()
	var ending []*job
	for _, j := range x.now {
		if j.export.Programme == programme {
			j.cancel(errCancelled)
			ending = append(ending, j)
		}
	}
	x.mu.Unlock()
	for _, j := range ending {
		<-j.done
	}
}

func (s *Service) ffmpeg() (string, error) {
	name := s.o.FFmpeg
	if name == "" {
		name = "ffmpeg"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", ErrNoFFmpeg
	}
	return path, nil
}

// Export begins to make one file of what is finished of a recording. It is done beside everything else.
func (s *Service) Export(ctx context.Context, id, format, by string) (Export, error) { //nolint:contextcheck // the work lives as long as the service, not as the request
	program, err := s.ffmpeg()
	if err != nil {
		return Export{}, err
	}
	info, err := s.Get(ctx, id)
	if err != nil {
		return Export{}, err
	}
	parts, err := s.Parts(ctx, id)
	if err != nil {
		return Export{}, err
	}
	parts = slices.DeleteFunc(parts, func(p Part) bool { return p.Member != "" || p.EndedAt == nil || !p.EndedAt.After(p.StartedAt) })
	if len(parts) == 0 {
		return Export{}, ErrNoParts
	}
	if s.Blocked() {
		return Export{}, ErrFull
	}
	e := Export{ID: "x" + rand.Text()[:12], Programme: id, Format: format, State: ExportWaiting, By: by, CreatedAt: time.Now()}
	e.File = id + "-" + e.ID + "." + format
	s.mu.Lock()
	life := s.ctx
	ended := s.ended || life == nil
	s.mu.Unlock()
	if ended {
		return Export{}, ErrUnfinished
	}
	jobCtx, cancel := context.WithCancelCause(life)
	j := &job{export: e, cancel: cancel, done: make(chan struct{})}
	x := &s.exports
	x.mu.Lock()
	if len(x.now) >= maxExports {
		x.mu.Unlock()
		cancel(nil)
		return Export{}, ErrTooMany
	}
	if x.now == nil {
		x.now = map[string]*job{}
	}
	x.now[e.ID] = j
	x.mu.Unlock()
	if err := s.exec(ctx, "INSERT INTO programme_export (id, programme, created_at, bytes, info) VALUES (?, ?, ?, 0, ?)", e.ID, id, e.CreatedAt.UnixMilli(), encoded(e)); err != nil {
		cancel(nil)
		x.mu.Lock()
		delete(x.now, e.ID)
		x.mu.Unlock()
		return Export{}, err
	}
	x.jobs.Go(func() {
		defer close(j.done)
		defer cancel(nil)
		defer observe.Recover(s.log, s.o.Panics, "export of a meeting")
		s.work(jobCtx, j, program, &info, parts)
	})
	return e, nil
}

// work makes the file and notes what came of it.
func (s *Service) work(ctx context.Context, j *job, program string, info *Info, parts []Part) {
	x := &s.exports
	x.turn.Lock()
	err := context.Cause(ctx)
	if err == nil {
		x.set(j, func(e *Export) { e.State = ExportRunning })
		err = s.convert(ctx, j, program, info, parts)
	}
	x.turn.Unlock()
	x.set(j, func(e *Export) {
		switch {
		case err == nil:
			e.State, e.Progress = ExportDone, 1
		case errors.Is(context.Cause(ctx), errCancelled):
			e.State = ExportCancelled
		default:
			e.State, e.Error = ExportFailed, err.Error()
		}
	})
	if err != nil {
		s.log.Warn("export of a meeting ended", slog.String("recording", info.ID), slog.Any(observe.Err, err))
		if err := os.Remove(s.path(j.export.File, info.StartedAt)); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.log.Warn("rest of an export not deleted", slog.Any(observe.Err, err))
		}
	}
	end := context.WithoutCancel(ctx)
	if err := s.exec(end, "UPDATE programme_export SET bytes = ?, info = ? WHERE id = ?", j.export.Bytes, encoded(j.export), j.export.ID); err != nil {
		s.log.Error("end of an export not noted", slog.Any(observe.Err, err))
	}
	x.mu.Lock()
	delete(x.now, j.export.ID)
	x.mu.Unlock()
}

func (x *exports) set(j *job, f func(*Export)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f(&j.export)
}

// convert runs ffmpeg: parts go in and the file comes out through pipes, so that nothing lies on the disk in clear that does
// not do so already.
func (s *Service) convert(ctx context.Context, j *job, program string, info *Info, parts []Part) (err error) {
	var closing []io.Closer
	defer func() {
		for _, c := range closing {
			_ = c.Close() // a pipe's end, or a file that was only read
		}
	}()
	args := []string{"-n", "19", program, "-nostdin", "-hide_banner", "-loglevel", "error", "-nostats", "-progress", "pipe:1"}
	var extra []*os.File
	var feeds sync.WaitGroup
	for i := range parts {
		v, err := openVolume(s.path(parts[i].File, info.StartedAt), s.o.Secrets, false)
		if err != nil {
			return err
		}
		r, w, err := os.Pipe()
		if err != nil {
			return errors.Join(fmt.Errorf("export: %w", err), v.Close())
		}
		closing = append(closing, r, v)
		// A change of a picture's size must not make the graph anew, which would begin the sound again; scale follows by itself.
		args = append(args, "-reinit_filter", "0", "-f", "matroska", "-i", "pipe:"+strconv.Itoa(3+i))
		extra = append(extra, r)
		feeds.Go(func() {
			_, _ = io.Copy(w, io.NewSectionReader(v, 0, v.size)) // ffmpeg has its own view of an input that breaks off
			_ = w.Close()
		})
	}
	out, sink, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	closing = append(closing, out)
	args = append(args, "-filter_complex", graph(parts), "-map", "[v]", "-map", "[a]", "-threads", "1", "-filter_complex_threads", "1")
	args = append(args, encoders(j.export.Format)...)
	args = append(args, "pipe:"+strconv.Itoa(3+len(parts)))
	cmd := exec.CommandContext(ctx, "nice", args...) //nolint:gosec // numbers and names of ours
	cmd.ExtraFiles = slices.Concat(extra, []*os.File{sink})
	var said bytes.Buffer
	cmd.Stderr = &tail{buffer: &said}
	progress, err := cmd.StdoutPipe()
	if err != nil {
		return errors.Join(fmt.Errorf("export: %w", err), sink.Close())
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("export: %w", err), sink.Close())
	}
	_ = sink.Close() // ffmpeg has it
	for _, r := range extra {
		_ = r.Close() // as above; writing ends when ffmpeg does
	}
	var total time.Duration
	for _, p := range parts {
		total += p.EndedAt.Sub(p.StartedAt)
	}
	feeds.Go(func() { s.follow(j, progress, total) })
	kept := s.keepOutput(j, info, out)
	feeds.Wait()
	err = cmd.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return fmt.Errorf("ffmpeg: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return kept
}

// keepOutput writes what ffmpeg makes.
func (s *Service) keepOutput(j *job, info *Info, out io.Reader) error {
	var secrets Secrets
	if s.policy.Load().Encrypt {
		secrets = s.o.Secrets
	}
	path := s.path(j.export.File, info.StartedAt)
	v, err := createVolume(path, filepath.Base(path), secrets)
	if err == nil {
		err = s.pour(v, out)
		s.exports.set(j, func(e *Export) { e.Bytes, e.Encrypted = v.end, secrets != nil })
		err = errors.Join(err, v.Sync(), v.Close())
	}
	if err != nil {
		_, _ = io.Copy(io.Discard, out) // or ffmpeg waits for ever
	}
	return err
}

func (s *Service) pour(v *volume, out io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := io.ReadFull(out, buf)
		if n > 0 {
			if s.Blocked() {
				return ErrFull
			}
			if err := v.Append(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("export: %w", err)
		}
	}
}

// follow reads how far ffmpeg is.
func (s *Service) follow(j *job, r io.Reader, total time.Duration) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if us, ok := strings.CutPrefix(lines.Text(), "out_time_us="); ok && total > 0 {
			if n, err := strconv.ParseInt(us, 10, 64); err == nil {
				part := min(max(float64(n)*1000/float64(total), 0), 0.99)
				s.exports.set(j, func(e *Export) { e.Progress = max(e.Progress, part) })
			}
		}
	}
}

// tail keeps the last of what is written.
type tail struct{ buffer *bytes.Buffer }

const tailOctets = 1 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.buffer.Write(b)
	if n := t.buffer.Len(); n > tailOctets {
		t.buffer.Next(n - tailOctets)
	}
	return len(b), nil
}

// graph joins the parts: pictures fitted into 1280x720, all voices of a part in one, gaps of a voice filled with silence.
func graph(parts []Part) string {
	var b strings.Builder
	for i, p := range parts {
		seconds := strconv.FormatFloat(p.EndedAt.Sub(p.StartedAt).Seconds(), 'f', 3, 64)
		if p.Video != "" {
			fmt.Fprintf(&b, "[%d:v:0]scale=1280:720:force_original_aspect_ratio=decrease,pad=1280:720:(ow-iw)/2:(oh-ih)/2,setsar=1,fps=25,format=yuv420p[v%d];", i, i)
		} else {
			fmt.Fprintf(&b, "color=c=black:s=1280x720:r=25:d=%s,setsar=1,format=yuv420p[v%d];", seconds, i)
		}
		for _, k := range p.Heard {
			fmt.Fprintf(&b, "[%d:a:%d]aresample=48000:async=1:first_pts=0,aformat=sample_fmts=fltp:channel_layouts=mono[a%d_%d];", i, k, i, k)
		}
		switch len(p.Heard) {
		case 0:
			fmt.Fprintf(&b, "anullsrc=r=48000:cl=mono:d=%s,aformat=sample_fmts=fltp[a%d];", seconds, i)
		default:
			for _, k := range p.Heard {
				fmt.Fprintf(&b, "[a%d_%d]", i, k)
			}
			fmt.Fprintf(&b, "amix=inputs=%d:duration=longest:normalize=0[a%d];", len(p.Heard), i)
		}
	}
	for i := range parts {
		fmt.Fprintf(&b, "[v%d][a%d]", i, i)
	}
	fmt.Fprintf(&b, "concat=n=%d:v=1:a=1[v][a]", len(parts))
	return b.String()
}

func encoders(format string) []string {
	if format == WebM {
		return []string{"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1500k", "-c:a", "libopus", "-b:a", "64k", "-f", "webm"}
	}
	// In fragments: a pipe cannot be gone back in to write the table of contents.
	return []string{"-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-c:a", "aac", "-b:a", "96k", "-movflags", "+frag_keyframe+empty_moov+default_base_moof", "-f", "mp4"}
}

// Exports lists those of a recording, oldest first.
func (s *Service) Exports(ctx context.Context, id string) ([]Export, error) {
	list, err := query[Export](ctx, s.o.DB, "SELECT info FROM programme_export WHERE programme = ? ORDER BY created_at", id)
	s.exports.mu.Lock()
	defer s.exports.mu.Unlock()
	for i := range list {
		if j := s.exports.now[list[i].ID]; j != nil {
			list[i] = j.export
		}
	}
	return list, err
}

func (s *Service) export(ctx context.Context, id, export string) (Export, error) {
	list, err := s.Exports(ctx, id)
	if err != nil {
		return Export{}, err
	}
	if i := slices.IndexFunc(list, func(e Export) bool { return e.ID == export }); i >= 0 {
		return list[i], nil
	}
	return Export{}, fmt.Errorf("export %s: %w", export, ErrUnknown)
}

// DropExport ends an export under way, or deletes what it has made.
func (s *Service) DropExport(ctx context.Context, id, export string) error {
	e, err := s.export(ctx, id, export)
	if err != nil {
		return err
	}
	info, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	s.exports.mu.Lock()
	j := s.exports.now[export]
	s.exports.mu.Unlock()
	if j != nil {
		j.cancel(errCancelled)
		select {
		case <-j.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err := os.Remove(s.path(e.File, info.StartedAt)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("export: %w", err)
	}
	return s.exec(ctx, "DELETE FROM programme_export WHERE id = ?", export)
}

// closeExports notes which exports the end of the last process has broken off.
func (s *Service) closeExports(ctx context.Context) error {
	list, err := query[Export](ctx, s.o.DB, "SELECT info FROM programme_export")
	if err != nil {
		return err
	}
	s.exports.mu.Lock()
	defer s.exports.mu.Unlock()
	for _, e := range list {
		if (e.State != ExportWaiting && e.State != ExportRunning) || s.exports.now[e.ID] != nil {
			continue
		}
		e.State, e.Error = ExportFailed, "interrupted by a restart"
		if info, err := s.Get(ctx, e.Programme); err == nil {
			_ = os.Remove(s.path(e.File, info.StartedAt)) // deleted with the recording at the latest
		}
		if err := s.exec(ctx, "UPDATE programme_export SET bytes = 0, info = ? WHERE id = ?", encoded(e), e.ID); err != nil {
			return err
		}
	}
	return nil
}
