package main

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"sync"

	"linehall/configs"
	"linehall/internal/auth"
	"linehall/sfu/congestion"
	"linehall/sfu/program"
	"linehall/sfu/room"
	"linehall/sfu/schedule"
	"linehall/sfu/signal"
	"linehall/web/session"
)

// conference is the meeting rooms.
type conference struct {
	rooms    *room.Manager
	book     *room.Book
	schedule *schedule.Service
	films    *program.Service
	pool     *congestion.Pool
	signal   http.Handler
	shutdown chan struct{} // closed: no new signalling
	closing  sync.Once
	dismiss  chan struct{} // closed: the rooms end
	ended    chan struct{} // closed: every participant was told
}

func openConference(ctx context.Context, config configs.Config, g *ground, media *mediaPlane) (*conference, error) {
	book, err := room.OpenBook(ctx, g.db, g.writer, g.log, g.registry)
	if err != nil {
		return nil, err
	}
	plans, err := schedule.Open(ctx, g.db, g.box)
	if err != nil {
		return nil, err
	}
	if err := applySchedule(plans, config); err != nil {
		return nil, err
	}
	films, err := program.Open(program.Options{
		DB: g.db, Folder: filepath.Join(config.Appliance.Data, "programmes"), Secrets: g.box, Audit: g.audit, Policy: programmePolicy(config),
		Log: g.log, Registerer: g.registry, Panics: g.panics,
	})
	if err != nil {
		return nil, err
	}
	c := &conference{book: book, schedule: plans, films: films, pool: congestion.NewPool(media.ledger), shutdown: make(chan struct{}), dismiss: make(chan struct{}), ended: make(chan struct{})}
	c.rooms = room.NewManager(room.Options{ //nolint:contextcheck // rooms live as long as the manager runs
		Config: config.Conference, Plane: media.plane, Ledger: media.ledger, Atlas: g.atlas,
		Log: g.log, Registry: g.registry, Panics: g.panics, Dropped: g.dropped, Book: book, Schedule: plans, Congestion: c.pool, Recorder: films,
	})
	c.signal = signal.NewHandler(signal.Options{
		Rooms: c.rooms, Number: func(r *http.Request) string { return r.PathValue("number") },
		Log: g.log, Panics: g.panics, Dropped: g.dropped, Shutdown: c.shutdown, Still: stillAllowed,
	})
	return c, nil
}

// errChanged means that whoever joined has become somebody else: another role, another room.
var errChanged = errors.New("the right to be in the room has changed")

// stillAllowed ends the stay of a venue whose link was revoked, of a user who was removed, and of whoever may do something
// else by now.
func stillAllowed(ctx context.Context) error {
	now, err := session.Still(ctx)
	before, _ := auth.PrincipalFrom(ctx)
	return stay(before, now, err)
}

// stay judges what the session's answer means. That it could not be asked, for a busy database or a full disk, is no
// reason to throw a venue out of its meeting: it is asked again.
func stay(before, now auth.Principal, err error) error {
	switch {
	case errors.Is(err, session.ErrEnded), errors.Is(err, auth.ErrNotFound):
		return err
	case err != nil:
		return nil
	case before != now:
		return errChanged
	}
	return nil
}

// stage runs the rooms until they are dismissed, which the front door does while it can still tell the pages.
func (c *conference) stage() stage {
	return stage{name: "conference", parts: []part{{"rooms", c.run}, {"line measurement", c.pool.Run}, {"recordings of meetings", c.films.Run}}}
}

func (c *conference) run(ctx context.Context) error {
	roomsCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-c.dismiss:
			cancel()
		case <-roomsCtx.Done():
		}
	}()
	err := c.rooms.Run(roomsCtx)
	close(c.ended)
	select {
	case <-c.dismiss:
		<-ctx.Done() // dismissed in order; the stage ends with the others
		return ctx.Err()
	default:
		return err
	}
}

// leave takes nobody in any more and tells every participant that the appliance goes, so that the pages come back by
// themselves. It returns when all have been told or ctx ends.
func (c *conference) leave(ctx context.Context) {
	c.closing.Do(func() {
		close(c.shutdown)
		close(c.dismiss)
	})
	select {
	case <-c.ended:
	case <-ctx.Done():
	}
}
