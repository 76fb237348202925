package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"linehall/sip/trace"
	"linehall/web/api"
)

// traceView shows the messages of calls to the API.
type traceView struct{ book *trace.Book }

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

// Capture returns a capture file.
func (v traceView) Capture(ctx context.Context, id string) ([]byte, error) {
	messages, err := v.book.Messages(ctx, id)
	if err != nil {
		return nil, untraced(id, err)
	}
	packets := make([]trace.Packet, 0, len(messages))
	for _, m := range messages {
		packets = append(packets, m.Packet())
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
