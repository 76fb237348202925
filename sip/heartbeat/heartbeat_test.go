package heartbeat_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linehall/internal/site"
	"linehall/media/line"
	"linehall/sip/heartbeat"
	"linehall/sip/location"
	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

// branch is a site with a phone, a ledger, and a beat that watches them, in memory and in its own time.
type branch struct {
	t      *testing.T
	ledger *line.Ledger
	start  time.Time
	socket *stacktest.Socket

	mu       sync.Mutex
	answer   bool // the phone says 200 to OPTIONS
	bindings []location.Binding
}

func (b *branch) Snapshot() []location.Binding {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.bindings)
}

func (b *branch) set(answer bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = answer
}

func (b *branch) register(phones ...location.Binding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bindings = phones
}

// phone is the binding of the phone that answers.
func phone() location.Binding {
	return location.Binding{
		AOR: "sip:2001@linehall.test", Contact: "sip:2001@10.0.1.2:5060", Site: "branch1", Updated: time.Now(),
		Flow: stack.Flow{Transport: stack.UDP, Local: netip.MustParseAddrPort("10.0.0.1:5060"), Remote: netip.MustParseAddrPort("10.0.1.2:5060")},
	}
}

func watch(t *testing.T, downAfter time.Duration, body func(b *branch, atlas *site.Atlas)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var network stacktest.Net
		s, err := stack.New(stack.Options{Domain: "linehall.test", Packets: []stack.PacketSocket{network.Listen("10.0.0.1:5060")}})
		if err != nil {
			t.Fatal(err)
		}
		atlas := site.NewAtlas(table(t, downAfter))
		b := &branch{t: t, ledger: line.NewLedger(atlas.Table(), nil, nil), answer: true, bindings: []location.Binding{phone()}, start: time.Now()}
		beat, err := heartbeat.New(heartbeat.Options{Stack: s, Locations: b, Sites: atlas, Ledger: b.ledger, Domain: "linehall.test"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		for _, run := range []func(context.Context) error{s.Run, beat.Run} {
			work.Go(func() {
				if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		b.socket = network.Listen("10.0.1.2:5060")
		work.Go(func() { b.ring(b.socket) })
		body(b, atlas)
		cancel()
		_ = b.socket.Close()
		work.Wait()
	})
}

func table(t *testing.T, downAfter time.Duration) *site.Table {
	t.Helper()
	tb, err := site.NewTable([]site.Site{
		{ID: "hq", Main: true},
		{ID: "branch1", Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24")}, Line: &site.Line{Up: 2e6, Down: 2e6, DownAfter: downAfter}},
		{ID: "branch2", Line: &site.Line{Up: 2e6, Down: 2e6, DownAfter: downAfter}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

// ring is the phone.
func (b *branch) ring(s *stacktest.Socket) {
	buffer := make([]byte, 4096)
	for {
		n, from, _, err := s.ReadFrom(buffer)
		if err != nil {
			return
		}
		m := stacktest.Parse(string(buffer[:n]))
		b.mu.Lock()
		answer := b.answer
		b.mu.Unlock()
		if answer && strings.HasPrefix(string(buffer[:n]), "OPTIONS ") {
			s.Answer(from.String(), m, "200 OK")
		}
	}
}

// message is a keep-alive of the phone.
func (b *branch) message() {
	b.socket.Send("10.0.0.1:5060", "NOTIFY sip:linehall.test SIP/2.0", "Via: SIP/2.0/UDP 10.0.1.2:5060;branch=z9hG4bK"+rand.Text(),
		"From: <sip:2001@linehall.test>;tag="+rand.Text(), "To: <sip:linehall.test>", "Call-ID: "+rand.Text(), "CSeq: 1 NOTIFY",
		"Max-Forwards: 70", "Event: keep-alive")
}

// at lets that much time pass since the start and checks the line.
func (b *branch) at(since time.Duration, down bool) {
	b.t.Helper()
	time.Sleep(since - time.Since(b.start))
	synctest.Wait()
	if got := b.ledger.Down("branch1"); got != down {
		b.t.Errorf("after %v: down %v, want %v", since, got, down)
	}
	if b.ledger.Down("branch2") {
		b.t.Errorf("after %v: a line of which nobody was ever heard is down", since)
	}
}

func TestSilenceIsALineThatIsDown(t *testing.T) {
	watch(t, time.Minute, func(b *branch, _ *site.Atlas) {
		b.at(10*time.Minute, false) // it answers
		b.set(false)
		b.at(10*time.Minute+30*time.Second, false) // it was heard in the last third of a minute
		b.at(12*time.Minute, true)
		b.register() // all bindings have expired: it stays down
		b.at(time.Hour, true)
		b.register(phone())
		b.at(time.Hour+time.Minute, true)
		b.set(true)
		b.at(time.Hour+time.Minute+10*time.Second, false)
	})
}

func TestMediaIsLife(t *testing.T) {
	watch(t, time.Minute, func(b *branch, _ *site.Atlas) {
		b.at(time.Minute, false)
		b.set(false)
		voice := b.ledger.Meter("branch1", line.Up, line.Voice)
		for range 60 {
			voice.Add(1, 200)
			time.Sleep(5 * time.Second)
		}
		b.at(6*time.Minute, false)
		b.at(8*time.Minute, true)
		voice.Add(1, 200)
		b.at(8*time.Minute+5*time.Second, false)
	})
}

// Any message is life, and ends the silence at once.
func TestMessagesAreLife(t *testing.T) {
	watch(t, time.Minute, func(b *branch, _ *site.Atlas) {
		b.at(time.Minute, false)
		b.set(false)
		for i := range 20 {
			b.message()
			b.at(time.Minute+time.Duration(i+1)*30*time.Second, false)
		}
		b.at(13*time.Minute, true)
		b.message()
		b.at(13*time.Minute+time.Millisecond, false)
	})
}

// Phones that never answer a question say nothing about their line by their silence.
func TestSitesThatAnswerNothingAreNotJudged(t *testing.T) {
	watch(t, time.Minute, func(b *branch, _ *site.Atlas) {
		b.set(false)
		b.message()
		b.at(time.Hour, false)
	})
}

// A reload that no longer watches the line takes its verdict back.
func TestUnwatched(t *testing.T) {
	watch(t, time.Minute, func(b *branch, atlas *site.Atlas) {
		b.at(time.Minute, false)
		b.set(false)
		b.at(3*time.Minute, true)
		atlas.Store(table(t, 0))
		b.at(4*time.Minute, false)
		b.at(time.Hour, false)
	})
}

func TestNewWantsItsParts(t *testing.T) {
	if _, err := heartbeat.New(heartbeat.Options{}); err == nil {
		t.Error("nothing was missed")
	}
}
