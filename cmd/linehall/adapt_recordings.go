package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"linehall/media/record"
	"linehall/sip/call"
	"linehall/web/api"
)

// recordingsView shows what was recorded to the API, and lets it record.
type recordingsView struct {
	recorder *record.Recorder
	calls    *call.Service
}

// Recordings lists recordings, newest first.
func (v recordingsView) Recordings(ctx context.Context, q api.RecordingQuery) ([]api.Recording, error) {
	found, err := v.recorder.List(ctx, record.Filter{Call: q.Call, From: q.From, To: q.To, Limit: q.Limit})
	if err != nil {
		return nil, err
	}
	shown := make([]api.Recording, 0, len(found))
	for i := range found {
		shown = append(shown, shownRecording(&found[i]))
	}
	return shown, nil
}

// Recording returns one.
func (v recordingsView) Recording(ctx context.Context, id string) (api.Recording, error) {
	i, err := v.recorder.Get(ctx, id)
	if err != nil {
		return api.Recording{}, unrecorded(err)
	}
	return shownRecording(&i), nil
}

func shownRecording(i *record.Info) api.Recording {
	party := func(p record.Party) api.Party {
		return api.Party{Extension: p.Extension, DisplayName: p.Name, Site: string(p.Site)}
	}
	r := api.Recording{
		ID: i.ID, CallID: i.Call, Part: i.Part, State: "kept", StartedAt: i.StartedAt, EndedAt: i.EndedAt, DurationSeconds: i.Seconds,
		From: party(i.From), To: party(i.To), StartedBy: i.StartedBy, Rule: i.Rule, Announced: i.Announced, EndedBy: i.EndedBy, Reason: i.Why,
		SizeBytes: i.Bytes, Encrypted: i.Encrypted, MissingPackets: int64(i.Missing), KeysOmitted: i.KeysOmitted, Undecodable: []string{}, //nolint:gosec // a count
	}
	if i.EndedAt == nil {
		r.State = "recording"
	}
	r.Undecodable = append(r.Undecodable, i.Silent...)
	return r
}

// Audio opens a recording as a file.
func (v recordingsView) Audio(ctx context.Context, id, form string) (api.Audio, error) {
	if leg, ok := map[string]int{"rtp_caller": 0, "rtp_callee": 1}[form]; ok {
		if _, err := v.recorder.Get(ctx, id); err != nil {
			return api.Audio{}, unrecorded(err)
		}
		return api.Audio{
			Name: id + "-" + form[len("rtp_"):] + ".rtpdump", Type: "application/octet-stream", Close: func() error { return nil },
			Write: func(w io.Writer) error { return v.recorder.Dump(ctx, w, id, leg) },
		}, nil
	}
	sound, err := v.recorder.Sound(ctx, id)
	if err != nil {
		return api.Audio{}, unrecorded(err)
	}
	file := api.Audio{Modified: sound.Info.StartedAt.Add(sound.Length()), Close: sound.Close}
	if form == "flac" {
		file.Name, file.Type, file.Write = id+".flac", "audio/flac", sound.WriteFLAC
		return file, nil
	}
	file.Name, file.Type, file.Content = id+".wav", "audio/wav", sound.WAV()
	return file, nil
}

// DeleteRecording deletes one that has ended.
func (v recordingsView) DeleteRecording(ctx context.Context, id string) error {
	return unrecorded(v.recorder.Delete(ctx, id))
}

// Record begins or ends the recording of a call.
func (v recordingsView) Record(ctx context.Context, id string, on bool, by string) error {
	err := v.calls.Record(ctx, id, on, by)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, call.ErrUnknownCall):
		return fmt.Errorf("call %s: %w", id, api.ErrNotFound)
	case errors.Is(err, call.ErrBusy), errors.Is(err, record.ErrBlocked):
		return fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	for _, why := range []error{
		record.ErrForbidden, record.ErrEncrypted, record.ErrNotHere, record.ErrNoAudio, record.ErrUnannounced, record.ErrRecording, record.ErrNotRecording,
		call.ErrMustStay, call.ErrNotAnswered,
	} {
		if errors.Is(err, why) {
			return fmt.Errorf("%w: %w", api.ErrInvalid, err)
		}
	}
	return err
}

func unrecorded(err error) error {
	switch {
	case errors.Is(err, record.ErrUnknown):
		return fmt.Errorf("%w: %w", api.ErrNotFound, err)
	case errors.Is(err, record.ErrInUse), errors.Is(err, record.ErrSilent), errors.Is(err, record.ErrDamaged):
		return fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	return err
}
