package main

import (
	"strings"
	"sync/atomic"

	"github.com/emiago/sipgo/sip"

	"linehall/configs"
	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/sip/call"
	"linehall/sip/feature"
	"linehall/sip/focus"
	"linehall/sip/location"
	"linehall/sip/stack"
)

// meetingNumbers lets meeting rooms be numbers that ring: to the call core a room is a terminal of the main site whose phone
// is the focus. No file of terminals knows it, and nobody can register as one.
type meetingNumbers struct {
	domain string
	now    atomic.Pointer[map[string]directory.Terminal]
}

// apply takes the rooms of a configuration.
func (m *meetingNumbers) apply(config configs.Config, main site.ID) {
	rooms := map[string]directory.Terminal{}
	for _, r := range config.Conference.Rooms {
		rooms[r.Number] = directory.Terminal{Extension: r.Number, DisplayName: r.Name, Site: main, State: directory.Active, Class: r.Class}
	}
	m.now.Store(&rooms)
}

func (m *meetingNumbers) room(number string) (directory.Terminal, bool) {
	t, ok := (*m.now.Load())[number]
	return t, ok
}

// meetingDirectory adds the rooms to the terminals.
type meetingDirectory struct {
	call.Directory
	rooms *meetingNumbers
}

// ByExtension implements call.Directory.
func (d meetingDirectory) ByExtension(extension string) (directory.Terminal, bool) {
	if t, ok := d.Directory.ByExtension(extension); ok {
		return t, true
	}
	return d.rooms.room(extension)
}

// meetingLocations says where the phone of a room is.
type meetingLocations struct {
	feature.Whereabouts
	rooms *meetingNumbers
}

// Lookup implements call.Locator.
func (l meetingLocations) Lookup(aor string) []location.Binding {
	if found := l.Whereabouts.Lookup(aor); len(found) > 0 {
		return found
	}
	number, _, _ := strings.Cut(aor, "@")
	t, ok := l.rooms.room(number)
	if !ok || location.AOR(t.Extension, l.rooms.domain) != aor {
		return nil
	}
	flow := stack.InsideFlow()
	return []location.Binding{{AOR: aor, Contact: "sip:" + t.Extension + "@" + flow.Remote.String(), Flow: flow, Q: 1000, UserAgent: "Linehall focus", Site: t.Site}}
}

// meetingAuth knows the focus: what it calls, it calls for a room, with the room's class of service.
type meetingAuth struct {
	feature.Authenticator
	rooms *meetingNumbers
}

// Check implements call.Authenticator.
func (a meetingAuth) Check(req *stack.Request) (directory.Terminal, *sip.Response) {
	if number, inside := focus.CallerOf(req); inside {
		if t, ok := a.rooms.room(number); ok {
			return t, nil
		}
	}
	return a.Authenticator.Check(req)
}
