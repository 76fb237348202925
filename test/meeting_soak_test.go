package test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"linehall/cmd/linesim/venue"
)

// leader is a chair page without a page: it joins a room's signalling from beside its venue, and leads.
type leader struct {
	t      *testing.T
	socket *websocket.Conn

	mu      sync.Mutex
	state   signalled // the last whole meeting
	refused []string
}

// signalled is what the test reads of the server's messages.
type signalled struct {
	Type    string `json:"type"`
	Code    string `json:"code"`
	Message string `json:"message"`
	ID      string `json:"id"`
	Chair   string `json:"chair"`
	OnAir   string `json:"on_air"`
	Floor   string `json:"floor"`
	Banner  string `json:"banner"`
	Layout  string `json:"layout"`
	MuteAll bool   `json:"mute_all"`
}

func lead(ctx context.Context, t *testing.T, link venue.Link, trust *tls.Config) *leader {
	t.Helper()
	socket, err := venue.Connect(ctx, link, netip.Addr{}, trust)
	if err != nil {
		t.Fatalf("the chair page: %v", err)
	}
	l := &leader{t: t, socket: socket}
	t.Cleanup(func() { _ = socket.CloseNow() })
	go l.read(ctx)
	l.say(ctx, map[string]any{"type": "join", "client": "test chair", "control": true})
	return l
}

func (l *leader) read(ctx context.Context) {
	for {
		_, frame, err := l.socket.Read(ctx)
		if err != nil {
			return
		}
		var m signalled
		if json.Unmarshal(frame, &m) != nil {
			continue
		}
		l.mu.Lock()
		switch m.Type {
		case "meeting":
			l.state = m
		case "error":
			l.refused = append(l.refused, m.Code+": "+m.Message)
		}
		l.mu.Unlock()
	}
}

func (l *leader) meeting() (state signalled, refused []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state, l.refused
}

func (l *leader) say(ctx context.Context, message map[string]any) {
	l.t.Helper()
	b, err := json.Marshal(message)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := l.socket.Write(ctx, websocket.MessageText, b); err != nil {
		l.t.Fatalf("the chair page: %v", err)
	}
}

// act has the chair do something and waits until the meeting is as it should be.
func (l *leader) act(ctx context.Context, name string, arguments map[string]any, done func(signalled) bool) {
	l.t.Helper()
	message := map[string]any{"type": "act", "act": name}
	maps.Copy(message, arguments)
	l.say(ctx, message)
	eventually(l.t, 20*time.Second, name, func() error {
		state, refused := l.meeting()
		switch {
		case len(refused) > 0:
			return fmt.Errorf("refused: %v", refused)
		case !done(state):
			return fmt.Errorf("the meeting is %+v", state)
		}
		return nil
	})
}

// attendee is a native venue that comes and goes.
type attendee struct {
	venue *venue.Venue
	stop  context.CancelFunc
	done  chan error
}

// attends lets a venue take part until it leaves.
func attends(ctx context.Context, t *testing.T, link venue.Link, trust *tls.Config) *attendee {
	t.Helper()
	v, err := venue.New(venue.Config{Link: link, TLS: trust, Bind: netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(ctx)
	at := &attendee{venue: v, stop: stop, done: make(chan error, 1)}
	go func() { at.done <- v.Run(ctx) }()
	return at
}

func (at *attendee) leave(t *testing.T) {
	t.Helper()
	at.stop()
	if err := <-at.done; err != nil {
		t.Errorf("a venue left: %v", err)
	}
}

// A meeting of six venues lasts an hour, in which a thousand things happen: the chair leads, venues leave and come back. All
// of it is in the minutes, everybody still sees everybody at the end, and the memory is what it was after the first hundred.
// LINEHALL_SOAK=10m makes the hour ten minutes.
func TestSoakMeetingOfAnHour(t *testing.T) {
	if os.Getenv("LINEHALL_SOAK") == "" {
		t.Skip("runs under make soak: a meeting of an hour")
	}
	length := time.Hour
	if given, err := time.ParseDuration(os.Getenv("LINEHALL_SOAK")); err == nil {
		length = given
	}
	const events = 1000
	a := startAppliance(t)
	trust := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the pages of browsers check whose it is
	ctx := t.Context()
	names := []string{"hq", "branch1", "branch2", "branch3", "branch4", "branch5"}
	links, people := map[string]venue.Link{}, map[string]*attendee{}
	for _, name := range names {
		link, err := venue.ParseLink(strings.TrimSpace(a.run("room", "link", "9000", "--venue", name)))
		if err != nil {
			t.Fatal(err)
		}
		links[name] = link
		people[name] = attends(ctx, t, link, trust)
	}
	t.Cleanup(func() {
		for _, at := range people {
			at.leave(t)
		}
	})
	present := func(want int) {
		t.Helper()
		a.eventually(30*time.Second, fmt.Sprintf("%d venues are there", want), func() error {
			var room struct {
				Participants []struct{ Venue string } `json:"participants"`
			}
			a.decode(&room, "room", "show", "9000")
			if len(room.Participants) != want {
				return fmt.Errorf("%d are", len(room.Participants))
			}
			return nil
		})
	}
	present(len(names))
	chair := lead(ctx, t, links["hq"], trust)
	chair.act(ctx, "chair.request", nil, func(m signalled) bool { return m.Chair == "hq" })

	tick := time.NewTicker(length / events)
	defer tick.Stop()
	at := func(i int) string { return names[1+i%(len(names)-1)] }
	event := func(i int) {
		target := map[string]any{"target": at(i)}
		switch i % 10 {
		case 0:
			chair.act(ctx, "broadcast", target, func(m signalled) bool { return m.OnAir == at(i) })
		case 1:
			chair.act(ctx, "floor.give", target, func(m signalled) bool { return m.Floor == at(i) && m.MuteAll })
		case 2:
			chair.act(ctx, "discussion", nil, func(m signalled) bool { return m.Floor == "" && m.OnAir == "" && !m.MuteAll })
		case 3:
			text := fmt.Sprintf("第 %d 项", i)
			chair.act(ctx, "banner", map[string]any{"text": text}, func(m signalled) bool { return m.Banner == text })
		case 4:
			chair.act(ctx, "layout", map[string]any{"layout": "grid", "on": true}, func(m signalled) bool { return m.Layout == "grid" })
		case 5:
			chair.act(ctx, "layout", map[string]any{"layout": "speaker", "on": false}, func(m signalled) bool { return m.Layout == "speaker" })
		case 6:
			chair.act(ctx, "mute.all", map[string]any{"on": true}, func(m signalled) bool { return m.MuteAll })
		case 7:
			chair.act(ctx, "mute.all", map[string]any{"on": false}, func(m signalled) bool { return !m.MuteAll })
		case 8:
			people[at(i)].leave(t)
			delete(people, at(i))
			present(len(names) - 1)
		case 9: // who left comes back
			name := at(i - 1)
			people[name] = attends(ctx, t, links[name], trust)
			present(len(names))
		}
	}
	var heap float64
	for i := range events {
		if i == events/10 {
			heap = a.settledHeap()
		}
		<-tick.C
		event(i)
		if t.Failed() {
			t.Fatalf("event %d", i)
		}
	}
	after := a.settledHeap()
	t.Logf("live heap %.1f MiB, then %.1f MiB", heap/(1<<20), after/(1<<20))
	if after > 1.1*heap {
		t.Errorf("the heap grew from %.0f to %.0f bytes", heap, after)
	}
	eventually(t, time.Minute, "everybody sees everybody", func() error {
		for name, at := range people {
			seen := 0
			for _, s := range at.venue.Report().Seen {
				if s.FirstFrame {
					seen++
				}
			}
			if seen < len(names)-1 {
				return fmt.Errorf("%s has seen %d others", name, seen)
			}
		}
		return nil
	})
	var kept struct{ Minutes []struct{ Action string } }
	a.decode(&kept, "room", "minutes", "9000")
	if n := len(kept.Minutes); n < events {
		t.Errorf("%d entries in the minutes of %d events", n, events)
	}
}
