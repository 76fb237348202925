package record

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"time"

	"linehall/internal/observe"
)

// The way of a packet to the disk, all in the goroutine of Recorder.Run:
//
//	ring → pending (keys are taken out) → chunk → file

// drain writes what waits in the ring of a recording, and closes it when it is to end.
func (r *Recorder) drain(ctx context.Context, n *run) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.file == nil {
		return
	}
	n.take()
	r.metrics.lost.Add(float64(n.missing()))
	n.release(n.closing)
	r.write(n)
	if n.closing {
		r.close(ctx, n)
	}
}

// take empties the ring.
func (n *run) take() {
	zero := n.zero.Load()
	var uses *table
	if n.info.KeysOmitted {
		uses = n.formats.table()
	}
	if n.fresh && zero != 0 {
		n.release(true)
		n.chunk.addJSON(entryFormats, n.last(), n.formats)
		n.fresh = false
	}
	for {
		leg, at, b, ok := n.ring.pop(nil)
		if !ok {
			return
		}
		n.pending = append(n.pending, held{leg: leg, at: time.Duration(at - zero), packet: b})
		if uses != nil {
			n.omit(uses)
		}
	}
}

// last is the time of the newest entry, in microseconds.
func (n *run) last() int64 { return n.chunk.last }

// release moves packets from pending to the chunk: all, or those that were held back long enough.
func (n *run) release(all bool) {
	if len(n.pending) == 0 {
		return
	}
	newest, kept := n.pending[len(n.pending)-1].at, 0
	for _, p := range n.pending {
		if !all && n.info.KeysOmitted && newest-p.at < holdBack {
			break
		}
		kept++
		if p.omitted {
			clear(p.packet)
			continue
		}
		n.info.Packets[p.leg&1]++
		n.chunk.add(byte(p.leg&1), p.at.Microseconds(), p.packet)
	}
	n.pending = append(n.pending[:0], n.pending[kept:]...)
}

// missing is how many packets more were lost since it was last asked, and notes it in the file.
func (n *run) missing() uint64 {
	lost := n.ring.lost.Load()
	more := lost - n.lost
	if more > 0 {
		n.lost, n.info.Missing = lost, n.info.Missing+more
		n.chunk.add(entryGap, n.last(), nil)
	}
	return more
}

// write writes the chunk; a disk that takes nothing loses it, and recording goes on when it takes something again.
func (r *Recorder) write(n *run) {
	if len(n.chunk.bytes) == 0 {
		return
	}
	if time.Now().Before(n.retry) || r.full.Load() {
		n.discard(r)
		return
	}
	if err := n.file.chunk(n.chunk.bytes); err != nil {
		r.metrics.failed.Inc()
		r.log.Error("recording not written", slog.String("recording", n.id), slog.Any(observe.Err, err))
		n.retry = time.Now().Add(retryEvery)
		r.block(true, "write")
		n.discard(r)
		return
	}
	r.metrics.bytes.Add(float64(len(n.chunk.bytes)))
	n.chunk.reset()
	n.begun = true
}

// discard gives up what the disk did not take. What the file needs to be understood is said again.
func (n *run) discard(r *Recorder) {
	packets := n.info.Packets
	n.info.Packets = n.kept()
	lost := packets[0] + packets[1] - n.info.Packets[0] - n.info.Packets[1]
	n.info.Missing += lost
	r.metrics.lost.Add(float64(lost))
	n.chunk.reset()
	if !n.begun {
		n.chunk.addJSON(entryAbout, 0, n.info)
	}
	n.fresh = true
}

// kept counts the packets that the chunk does not hold.
func (n *run) kept() [2]uint64 {
	out := n.info.Packets
	for rest := n.chunk.bytes; len(rest) > 0; {
		kind, _, _, after, ok := entry(rest)
		if !ok {
			break
		}
		if rest = after; kind == entryCaller || kind == entryCallee {
			out[kind]--
		}
	}
	return out
}

// close ends the file and the row.
func (r *Recorder) close(ctx context.Context, n *run) {
	defer r.drop(n)
	i := &n.info
	if zero := n.zero.Load(); zero != 0 {
		i.StartedAt = time.Now().Add(-time.Duration(r.o.Clock() - zero)).UTC()
	}
	i.Seconds = math.Round(n.end.Seconds()*1000) / 1000
	at := i.StartedAt.Add(n.end)
	i.EndedAt, i.Bytes = &at, n.file.good
	n.chunk.addJSON(entryEnd, max(n.last(), n.end.Microseconds()), i)
	if !r.full.Load() {
		if err := n.file.chunk(n.chunk.bytes); err != nil {
			r.log.Error("end of a recording not written", slog.String("recording", n.id), slog.Any(observe.Err, err))
		}
	}
	i.Bytes = n.file.good
	err := errors.Join(n.file.file.Sync(), n.file.file.Close())
	n.file = nil
	if err != nil {
		r.log.Error("recording not closed", slog.String("recording", n.id), slog.Any(observe.Err, err))
	}
	r.stopped(ctx, i)
	if i.Packets == [2]uint64{} { // nothing was said, or the announcement was not heard
		if err := errors.Join(os.Remove(n.path), r.forget(ctx, i.ID)); err != nil {
			r.log.Error("empty recording not deleted", slog.String("recording", n.id), slog.Any(observe.Err, err))
		}
		return
	}
	if err := r.update(ctx, i); err != nil {
		r.log.Error("end of a recording not stored", slog.String("recording", n.id), slog.Any(observe.Err, err))
	}
}
