package test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// element asks a page about an element: its data attributes and text, nil when there is none.
func (b *browsers) element(venue, selector string, chair bool) map[string]string {
	b.t.Helper()
	var found map[string]string
	b.do(map[string]any{"do": "look", "venue": venue, "selector": selector, "chair": chair}, &found)
	return found
}

// shows waits until a venue's page has an element.
func (b *browsers) shows(venue, selector, what string) {
	b.t.Helper()
	b.wait(venue, selector, what, false)
}

func (b *browsers) wait(venue, selector, what string, chair bool) {
	b.t.Helper()
	eventually(b.t, 30*time.Second, what, func() error {
		if b.element(venue, selector, chair) == nil {
			return fmt.Errorf("the page of %s has no %s", venue, selector)
		}
		return nil
	})
}

// press presses a button as soon as it is there and can be pressed.
func (b *browsers) press(venue, selector string, chair bool) {
	b.t.Helper()
	eventually(b.t, 30*time.Second, selector+" of "+venue, func() error {
		var pressed bool
		b.do(map[string]any{"do": "press", "venue": venue, "selector": selector, "chair": chair}, &pressed)
		if !pressed {
			return fmt.Errorf("it cannot be pressed")
		}
		return nil
	})
}

// hears waits until a venue's page hears so many voices of others.
func (b *browsers) hears(venue string, want int) {
	b.t.Helper()
	eventually(b.t, 30*time.Second, fmt.Sprintf("%s hears %d voices", venue, want), func() error {
		var n int
		if b.do(map[string]any{"do": "voices", "venue": venue}, &n); n != want {
			return fmt.Errorf("it hears %d", n)
		}
		return nil
	})
}

// chairLeads walks through the main acts of the chair, from the chair page beside the main venue's own, and judges them by
// what the pages of the others show and play. What it leaves behind, a chair and a banner, outlives the restart that follows.
func chairLeads(t *testing.T, a *appliance, b *browsers) {
	t.Helper()
	const branch1 = `[data-testid=chair-venue][data-member=branch1] `
	b.do(map[string]any{"do": "chair", "venue": "hq"}, nil)
	b.press("hq", `[data-testid=chair-request-chair]`, true)
	b.shows("branch1", `[data-testid=room-chair][data-chair=hq]`, "who is chair")
	b.shows("hq", `[data-testid=room-lead]`, "the same chair on its TV")

	b.press("hq", branch1+`[data-testid=chair-broadcast]`, true)
	b.shows("branch5", `[data-testid=room-stage][data-main=branch1] [data-venue=branch1][data-picture=true]`, "the broadcast venue large")
	b.shows("branch1", `[data-testid=room-stage][data-main=hq]`, "who is on air sees the chair")
	b.wait("hq", `[data-testid=chair-preview] [data-member=branch1][data-picture=true]`, "the programme on the chair page", true)

	b.press("branch1", `[data-testid=room-hand]`, false)
	b.press("hq", `[data-testid=chair-request][data-member=branch1] [data-testid=chair-request-give]`, true)
	b.shows("branch5", `[data-testid=room-note-muted]`, "muted by the chair")
	b.hears("hq", 1)
	b.press("hq", `[data-testid=chair-discussion]`, true)
	b.hears("hq", 2)

	b.press("hq", `[data-testid=chair-roll]`, true)
	b.press("branch1", `[data-testid=room-roll-answer]`, false)
	b.wait("hq", `[data-testid=roll-entry][data-member=branch1][data-answer=answered]`, "the answer on the sheet", true)
	b.press("hq", `[data-testid=chair-roll]`, true)

	b.press("branch1", `[data-testid=room-chat]`, false)
	b.press("branch1", `[data-testid=chat] .chat-quick button`, false) // a ready answer
	b.wait("hq", `[data-testid=chair-tab-chat]`, "messages", true)
	b.press("hq", `[data-testid=chair-tab-chat]`, true)
	b.wait("hq", `[data-testid=chat-lines] li`, "the message on the chair page", true)
	b.do(map[string]any{"do": "type", "venue": "hq", "selector": `[data-testid=chair-banner]`, "text": "Ten minutes", "chair": true}, nil)
	b.shows("branch5", `[data-testid=room-banner]`, "the banner")

	b.do(map[string]any{"do": "chairless", "venue": "hq"}, nil)
	b.shows("branch1", `[data-testid=room-chair][data-chair=hq]`, "the chair is its TV as well")

	minutes := a.run("room", "minutes", "9000", "--format", "csv")
	for _, want := range []string{",hq,", "chair.request", "broadcast,branch1", "floor.request", "floor.give,branch1", "discussion", "roll.answer", "banner"} {
		if !strings.Contains(minutes, want) {
			t.Errorf("the minutes do not say %s: %s", want, minutes)
		}
	}
}
