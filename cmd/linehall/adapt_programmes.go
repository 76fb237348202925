package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"linehall/configs"
	"linehall/internal/auth"
	"linehall/sfu/chair"
	"linehall/sfu/program"
	"linehall/sfu/room"
	"linehall/sfu/signal"
	"linehall/web/api"
)

// programmesView shows what was recorded of meetings to the API, and lets it record.
type programmesView struct {
	service *program.Service
	rooms   *room.Manager
	book    *room.Book
}

// programmePolicy is what the section "recording" says to meetings too.
func programmePolicy(c configs.Config) program.Policy {
	return program.Policy{Encrypt: c.Recording.Encrypt, KeepDays: c.Recording.KeepDays, MaxShare: c.Recording.MaxShare, Reserve: c.Recording.Reserve}
}

// Programmes lists recorded meetings, newest first.
func (v programmesView) Programmes(ctx context.Context, q api.ProgrammeQuery) ([]api.Programme, error) {
	found, err := v.service.List(ctx, program.Filter{Room: q.Room, From: q.From, To: q.To, Limit: q.Limit})
	if err != nil {
		return nil, err
	}
	shown := make([]api.Programme, 0, len(found))
	for i := range found {
		parts, err := v.service.Parts(ctx, found[i].ID)
		if err != nil {
			return nil, err
		}
		shown = append(shown, shownProgramme(&found[i], parts))
	}
	return shown, nil
}

func shownProgramme(i *program.Info, parts []program.Part) api.Programme {
	p := api.Programme{
		ID: i.ID, Room: i.Room, RoomName: i.RoomName, Meeting: i.Meeting, State: "recording", StartedAt: i.StartedAt, EndedAt: i.EndedAt,
		StartedBy: api.Names{ZH: i.ByName.Zh, EN: i.ByName.En}, Reason: i.Why, Tracks: i.Tracks,
	}
	last := i.StartedAt
	for _, one := range parts {
		p.SizeBytes += one.Bytes
		p.Encrypted = p.Encrypted || one.Encrypted
		if one.Member == "" {
			p.Parts++
		}
		if one.EndedAt != nil && one.EndedAt.After(last) {
			last = *one.EndedAt
		}
	}
	if i.EndedAt != nil {
		p.State = "kept"
	} else {
		last = time.Now()
	}
	p.DurationSeconds = last.Sub(i.StartedAt).Seconds()
	return p
}

// Programme returns everything about one.
func (v programmesView) Programme(ctx context.Context, id string) (api.ProgrammeDetails, error) {
	var d api.ProgrammeDetails
	i, err := v.service.Get(ctx, id)
	if err != nil {
		return d, unrecordedMeeting(err)
	}
	parts, err := v.service.Parts(ctx, id)
	if err != nil {
		return d, err
	}
	d.Programme = shownProgramme(&i, parts)
	for _, p := range parts {
		one := api.ProgrammePart{
			Number: p.Number, Member: p.Member, Name: api.Names{ZH: p.Name.Zh, EN: p.Name.En}, StartedAt: p.StartedAt, EndedAt: p.EndedAt,
			OffsetSeconds: p.StartedAt.Sub(i.StartedAt).Seconds(), SizeBytes: p.Bytes, VideoCodec: strings.TrimPrefix(p.Video, "video/"),
			Width: p.Width, Height: p.Height, Voices: p.Voices, Encrypted: p.Encrypted, CutOff: p.CutOff,
		}
		if p.EndedAt != nil {
			one.DurationSeconds = p.EndedAt.Sub(p.StartedAt).Seconds()
		}
		d.Files = append(d.Files, one)
	}
	if d.Chapters, err = v.chapters(ctx, &i, d.DurationSeconds); err != nil {
		return d, err
	}
	made, err := v.service.Exports(ctx, id)
	for _, e := range made {
		d.Exports = append(d.Exports, shownExport(e))
	}
	return d, err
}

func shownExport(e program.Export) api.ProgrammeExport {
	return api.ProgrammeExport{ID: e.ID, Format: e.Format, State: e.State, Progress: e.Progress, Error: e.Error, By: e.By, CreatedAt: e.CreatedAt, SizeBytes: e.Bytes}
}

// unmarked are entries of the minutes that are no chapters.
var unmarked = []string{chair.Chat, chair.Joined, chair.Left, chair.Waiting, chair.Refused, chair.AnswerRoll, chair.RequestFloor, chair.WithdrawFloor, chair.PollTurn, chair.UnmuteSelf}

// chapters are who was seen, and what the chair did.
func (v programmesView) chapters(ctx context.Context, i *program.Info, seconds float64) ([]api.Chapter, error) {
	marks, err := v.service.Marks(ctx, i.ID)
	if err != nil {
		return nil, err
	}
	list := make([]api.Chapter, 0, len(marks))
	for _, m := range marks {
		list = append(list, api.Chapter{At: m.At, Kind: m.Kind, Name: api.Names{ZH: m.Name.Zh, EN: m.Name.En}})
	}
	minutes, err := v.book.Minutes(ctx, i.Meeting, maxChapters)
	if err != nil {
		return nil, err
	}
	end := i.StartedAt.Add(time.Duration(seconds * float64(time.Second)))
	for _, m := range minutes {
		if m.At.Before(i.StartedAt.Truncate(time.Second)) || m.At.After(end) || slices.Contains(unmarked, m.Action) {
			continue
		}
		list = append(list, api.Chapter{At: m.At, Kind: "act", Action: m.Action, Name: minuteName(m.ActorName), Target: minuteName(m.TargetName), Detail: m.Detail})
	}
	slices.SortStableFunc(list, func(a, b api.Chapter) int { return a.At.Compare(b.At) })
	for n := range list {
		list[n].OffsetSeconds = max(list[n].At.Sub(i.StartedAt).Seconds(), 0)
	}
	return list, nil
}

const maxChapters = 10_000

// Part opens a finished file.
func (v programmesView) Part(ctx context.Context, id string, number int) (api.Audio, error) {
	return opened(v.service.Open(ctx, id, number))
}

// PartSound opens the mixed sound of a finished file.
func (v programmesView) PartSound(ctx context.Context, id string, number int) (api.Audio, error) {
	return opened(v.service.Sound(ctx, id, number))
}

// OpenExport opens what an export has made.
func (v programmesView) OpenExport(ctx context.Context, id, export string) (api.Audio, error) {
	return opened(v.service.OpenExport(ctx, id, export))
}

func opened(c *program.Content, err error) (api.Audio, error) {
	if err != nil {
		return api.Audio{}, unrecordedMeeting(err)
	}
	return api.Audio{Name: c.Name, Type: c.Type, Modified: c.Modified, Content: c, Close: c.Close}, nil
}

// DeleteProgramme deletes one that has ended.
func (v programmesView) DeleteProgramme(ctx context.Context, id string) error {
	return unrecordedMeeting(v.service.Delete(ctx, id))
}

// ExportProgramme begins to make one file of a recording.
func (v programmesView) ExportProgramme(ctx context.Context, id, format, by string) (api.ProgrammeExport, error) {
	e, err := v.service.Export(ctx, id, format, by)
	return shownExport(e), unrecordedMeeting(err)
}

// DropExport ends an export, or deletes what it has made.
func (v programmesView) DropExport(ctx context.Context, id, export string) error {
	return unrecordedMeeting(v.service.DropExport(ctx, id, export))
}

// RecordRoom begins or ends the recording of a room's meeting.
func (v programmesView) RecordRoom(ctx context.Context, number string, who auth.Principal, on, tracks bool) error {
	err := v.rooms.Record(ctx, number, who, on, tracks)
	var refused *chair.Error
	switch {
	case errors.Is(err, signal.ErrNotFound):
		return fmt.Errorf("room %s: %w", number, api.ErrNotFound)
	case errors.As(err, &refused):
		return fmt.Errorf("%w: %w", api.ErrConflict, err)
	}
	return err
}

func unrecordedMeeting(err error) error {
	switch {
	case errors.Is(err, program.ErrUnknown):
		return fmt.Errorf("%w: %w", api.ErrNotFound, err)
	case errors.Is(err, program.ErrInUse), errors.Is(err, program.ErrUnfinished), errors.Is(err, program.ErrNoParts):
		return fmt.Errorf("%w: %w", api.ErrConflict, err)
	case errors.Is(err, program.ErrDamaged):
		return fmt.Errorf("%w: %w", api.ErrInvalid, err)
	case errors.Is(err, program.ErrNoFFmpeg), errors.Is(err, program.ErrTooMany), errors.Is(err, program.ErrFull):
		return fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	return err
}
