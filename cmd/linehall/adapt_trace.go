package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"linehall/media/capture"
	"linehall/sip/call"
	"linehall/sip/trace"
	"linehall/web/api"
)

// traceView shows the messages of calls to the API.
type traceView struct {
	book     *trace.Book
	captures *capture.Book
	calls    *call.Service
}

// Trace returns the ladder of a call.
func (v traceView) Trace(ctx context.Context, id string) (api.Trace, error) {
	ladder, err := v.book.Ladder(ctx, id)
	if err != nil {
		return api.Trace{}, untraced(id, err)
	}
	shown := api.Trace{ID: id, Parties: []api.TraceParty{}, Steps: []api.TraceStep{}}
	for _, p := range ladder.Parties {
		shown.Parties = append(shown.Parties, api.TraceParty{Name: p.Name, Address: p.Address.String(), Transport: p.Transport})
	}
	for _, s := range ladder.Steps {
		shown.Steps = append(shown.Steps, api.TraceStep{At: s.At.UTC(), Party: s.Party, Received: s.In, Summary: s.Summary, Repeated: s.Repeated, Text: s.Text})
	}
	return shown, nil
}

// CaptureMedia begins or ends the capture of a call's media.
func (v traceView) CaptureMedia(ctx context.Context, id string, on bool, by string) error {
	switch err := v.calls.CaptureMedia(ctx, id, on, by); {
	case errors.Is(err, call.ErrUnknownCall):
		return fmt.Errorf("call %s: %w", id, api.ErrNotFound)
	case errors.Is(err, call.ErrBusy):
		return fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	case err != nil:
		return fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	return nil
}

// Capture returns a capture file, with what was captured of the media if that is wanted.
func (v traceView) Capture(ctx context.Context, id string, media bool) ([]byte, error) {
	messages, err := v.book.Messages(ctx, id)
	if err != nil {
		return nil, untraced(id, err)
	}
	packets := make([]trace.Packet, 0, len(messages))
	for _, m := range messages {
		packets = append(packets, m.Packet())
	}
	if c := v.captures.Of(id); media && c != nil {
		for p := range c.Packets() {
			packets = append(packets, trace.Packet{At: p.At, Source: p.Party, Dest: p.Local, Contents: p.Contents})
		}
	}
	var file bytes.Buffer
	err = trace.WritePCAP(&file, packets)
	return file.Bytes(), err
}

func untraced(id string, err error) error {
	if errors.Is(err, trace.ErrUnknown) {
		return fmt.Errorf("trace of call %s: %w", id, api.ErrNotFound)
	}
	return err
}
