package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The upper stages leave and end before the lower ones, and nothing is left running.
func TestStagesEndInReverseOrder(t *testing.T) {
	var mu sync.Mutex // guards events
	var events []string
	note := func(event string) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, event)
	}
	started := make(chan struct{}, 2)
	waits := func(name string) part {
		return part{name, func(ctx context.Context) error {
			started <- struct{}{}
			<-ctx.Done()
			note(name + " ended")
			return ctx.Err()
		}}
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; <-started; cancel() }()
	err := runStages(ctx, slog.New(slog.DiscardHandler), []stage{
		{name: "ground", parts: []part{waits("storage")}},
		{name: "domains", parts: []part{waits("calls")}, leave: func(context.Context) { note("calls leave") }},
	})
	if err != nil {
		t.Fatalf("a normal end is no error: %v", err)
	}
	if diff := cmp.Diff([]string{"calls leave", "calls ended", "storage ended"}, events); diff != "" {
		t.Error(diff)
	}
}

func TestAPartThatFailsEndsEverything(t *testing.T) {
	broken := errors.New("port taken")
	ended := make(chan struct{})
	err := runStages(t.Context(), slog.New(slog.DiscardHandler), []stage{
		{name: "ground", parts: []part{{"storage", func(ctx context.Context) error { <-ctx.Done(); close(ended); return nil }}}},
		{name: "domains", parts: []part{{"sip", func(context.Context) error { return broken }}}},
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want the cause", err)
	}
	<-ended
}

func TestAPartThatEndsByItselfIsAFailure(t *testing.T) {
	err := runStages(t.Context(), slog.New(slog.DiscardHandler), []stage{
		{name: "domains", parts: []part{{"sip", func(context.Context) error { return nil }}}},
	})
	if !errors.Is(err, errPartEnded) {
		t.Errorf("got %v", err)
	}
}
