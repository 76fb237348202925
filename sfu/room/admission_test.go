package room_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/auth"
	"linehall/media/line"
	"linehall/sfu/signal"
)

// fakeClient is a connection that hands every message to a function.
type fakeClient struct{ take func(any) }

func (c *fakeClient) Send(m any) { c.take(m) }
func (*fakeClient) End(string)   {}

func (*fakeClient) Told() <-chan struct{} {
	told := make(chan struct{})
	close(told)
	return told
}

func branch1() auth.Principal {
	return auth.Principal{Kind: auth.KindDevice, Role: auth.Room, Room: "9000", Venue: "branch1"}
}

// voicesOf is what is reserved for voices to a site.
func voicesOf(l *line.Ledger, id string) int64 {
	for _, s := range l.Snapshot() {
		if string(s.Site) == id && s.Direction == line.Down {
			for _, c := range s.Classes {
				if c.Class == line.ConferenceAudio {
					return c.Reserved
				}
			}
		}
	}
	return 0
}

func TestAJoinThatNobodyWaitsForLeavesNobodyInTheRoom(t *testing.T) {
	t.Parallel()
	var ledger *line.Ledger
	w := newWorld(t, worldOptions{sites: narrow(2_000_000, 2_000_000), ledger: &ledger})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gone := make(chan struct{})
	client := &fakeClient{func(m any) {
		if _, ok := m.(signal.Welcome); ok { // the room is in the middle of the admission
			cancel()
			<-gone
		}
	}}
	if _, err := w.manager.Join(ctx, "9000", branch1(), signal.Request{Type: "join"}, client); err == nil {
		t.Error("joined although the connection is gone")
	}
	if len(w.manager.Snapshot()[0].Participants) != 0 {
		t.Error("in the list before the admission")
	}
	close(gone)
	// The next one comes after the ghost, in the room's order.
	if _, err := w.manager.Join(t.Context(), "9000", auth.Principal{Kind: auth.KindDevice, Role: auth.Room, Room: "9000", Venue: "hq"},
		signal.Request{Type: "join"}, &fakeClient{func(any) {}}); err != nil {
		t.Fatal(err)
	}
	if list := w.manager.Snapshot()[0].Participants; len(list) != 1 || list[0].Venue != "hq" {
		t.Errorf("in the room: %+v", list)
	}
	if bps := voicesOf(ledger, "branch1"); bps != 0 {
		t.Errorf("%d bit/s are still reserved", bps)
	}
}

func TestAJoinOfAConnectionThatIsGoneIsNotServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.manager.Join(ctx, "9000", branch1(), signal.Request{Type: "join"}, &fakeClient{func(any) { t.Error("welcome") }}); err == nil {
		t.Error("joined")
	}
	if _, err := w.manager.Join(t.Context(), "9000", branch1(), signal.Request{Type: "join"}, &fakeClient{func(any) {}}); err != nil {
		t.Fatal(err)
	}
	if n := len(w.manager.Snapshot()[0].Participants); n != 1 {
		t.Errorf("%d participants", n)
	}
}

func TestARemovedParticipantDoesNotKeepItsPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	member, err := w.manager.Join(t.Context(), "9000", branch1(), signal.Request{Type: "join"}, &fakeClient{func(any) {}})
	if err != nil {
		t.Fatal(err)
	}
	member.Lost() // the connection may be gone already
	member.Remove()
	until(t, "the room is empty", func() bool { return len(w.manager.Snapshot()[0].Participants) == 0 })
}

func TestAReloadReachesARoomWithAFullMailbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	stuck, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	joined := make(chan signal.Member, 1)
	go func() {
		member, err := w.manager.Join(t.Context(), "9000", branch1(), signal.Request{Type: "join"}, &fakeClient{func(any) {
			once.Do(func() { close(stuck); <-release })
		}})
		if err != nil {
			t.Error(err)
		}
		joined <- member
	}()
	<-stuck
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 300 { // more than the mailbox holds
		_, _ = w.manager.Join(ctx, "9000", branch1(), signal.Request{Type: "join"}, &fakeClient{func(any) {}})
	}
	c := demoConfig()
	c.Rooms[0].Name = "又名"
	if err := w.manager.Apply(c); err != nil {
		t.Fatal(err)
	}
	close(release)
	<-joined
	until(t, "the new name", func() bool { return w.manager.Snapshot()[0].Name == "又名" })
}

func TestTheMetricsAreThereBeforeAnybodyJoins(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	w := newWorld(t, worldOptions{reg: reg})
	c := demoConfig()
	c.Rooms = append(c.Rooms, c.Rooms[0])
	c.Rooms[1].Number = "9001"
	if err := w.manager.Apply(c); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetCounter().GetValue() != 0 || m.GetGauge().GetValue() != 0 || m.GetHistogram().GetSampleCount() != 0 {
				t.Errorf("%s is not 0: %v", f.GetName(), m)
			}
			label := ""
			for _, l := range m.GetLabel() {
				label = l.GetValue()
			}
			got[f.GetName()] = append(got[f.GetName()], label)
		}
	}
	want := map[string][]string{
		"linehall_conference_participants":           {"9000", "9001"},
		"linehall_sfu_forward_seconds":               {""},
		"linehall_sfu_keyframes_deferred_total":      {""},
		"linehall_sfu_pace_refused_total":            {"frame", "retransmission"},
		"linehall_sfu_pace_seconds":                  {""},
		"linehall_sfu_packets_total":                 {"camera", "content", "microphone", "retransmission"},
		"linehall_sfu_retransmissions_refused_total": {""},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestEveryPageIsToldOfTheShutdownBeforeTheRoomsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	const pages = 8
	var welcomed, over sync.WaitGroup
	welcomed.Add(pages)
	for range pages {
		socket, _, err := websocket.Dial(t.Context(), w.url, &websocket.DialOptions{Subprotocols: []string{signal.Subprotocol}})
		if err != nil {
			t.Fatal(err)
		}
		socket.SetReadLimit(signal.MaxMessage)
		if err := socket.Write(t.Context(), websocket.MessageText, []byte(`{"type":"join"}`)); err != nil {
			t.Fatal(err)
		}
		over.Go(func() {
			var last signal.Ended
			for {
				_, frame, err := socket.Read(t.Context())
				if err != nil {
					break
				}
				last = signal.Ended{}
				if err := json.Unmarshal(frame, &last); err != nil {
					t.Error(err)
				}
				if last.Type == "welcome" {
					welcomed.Done()
				}
			}
			if d := cmp.Diff(signal.Ended{Type: "ended", Reason: signal.Shutdown}, last); d != "" {
				t.Errorf("the last message (-want +got):\n%s", d)
			}
		})
	}
	welcomed.Wait()
	w.dismiss()
	w.cut() // what was not written when Run returned never comes
	over.Wait()
}
