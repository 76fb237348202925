package peer

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	pion "github.com/pion/webrtc/v4"

	"linehall/media/webrtc"
)

func TestTheAnswerLimitsOpus(t *testing.T) {
	const answer = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\nm=video 9 UDP/TLS/RTP/SAVPF 97\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
	got := limitOpus(answer)
	if !strings.Contains(got, "a=fmtp:111 minptime=10;useinbandfec=1;stereo=0;maxaveragebitrate=32000\r\n") || !strings.Contains(got, "a=fmtp:97 apt=96\r\n") {
		t.Errorf("got %q", got)
	}
	if again := limitOpus(got); again != got {
		t.Errorf("a second time it becomes %q", again)
	}
}

// told records what a peer tells.
type told struct {
	offers  chan string
	refused chan error
}

func (e told) PublishAnswer(string)                {}
func (e told) SubscribeOffer(sdp string)           { e.offers <- sdp }
func (e told) Path(string, netip.AddrPort, string) {}
func (e told) Failed(string)                       {}
func (e told) Refused(_ string, err error)         { e.refused <- err }

func TestRequestsThatDoNotFitAreRefused(t *testing.T) {
	plane, err := webrtc.Open(webrtc.Options{UDP: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer plane.Close() //nolint:errcheck // the end of the test
	events := told{offers: make(chan string, 4), refused: make(chan error, 4)}
	p := New(Options{Plane: plane, Events: events, Voices: 3, Videos: 8})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	offer := <-events.offers
	if n := strings.Count(offer, "m=audio"); n != 3 {
		t.Errorf("%d m-lines for voices, want 3", n)
	}
	if n := strings.Count(offer, "m=video"); n != 8 {
		t.Errorf("%d m-lines for pictures, want 8", n)
	}
	for _, s := range append(p.AudioSlots(), p.VideoSlots()...) {
		if p.MID(s) == "" {
			t.Error("a slot has no m-line although it was offered")
		}
	}
	for name, request := range map[string]func() error{
		"an offer that is none":                   func() error { return p.PublishOffer("v=0\r\nnonsense") },
		"an answer that is none":                  func() error { return p.SubscribeAnswer("x") },
		"a candidate for a connection not opened": func() error { return p.Candidate(Publish, pion.ICECandidateInit{Candidate: "x"}) },
	} {
		if err := request(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		select {
		case <-events.refused:
		case <-time.After(5 * time.Second):
			t.Errorf("%s is not refused", name)
		}
	}
	if err := p.RestartSubscribe(); err != nil { // the first offer was never answered: a new connection
		t.Fatal(err)
	}
	if again := <-events.offers; again == offer {
		t.Error("the same offer again")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAFloodOfRequestsIsRefused(t *testing.T) {
	p := New(Options{})
	var err error
	for range mailboxSize + 1 {
		err = p.RestartSubscribe()
	}
	if !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want %v", err, ErrBusy)
	}
}

// Whoever closes a connection holds pion's lock on it and waits for the goroutine that receives: what that one has to tell the
// publisher must not wait for the same lock. A browser that said goodbye in the middle of its packets kept the appliance from
// ending.
func TestTheReceivingGoroutineNeverWaitsToReport(t *testing.T) {
	p := New(Options{}) // does not run: nobody takes the reports
	done := make(chan error)
	go func() {
		var err error
		for range reportBacklog + 1 {
			err = p.tell(nil, []rtcp.Packet{&rtcp.PictureLossIndication{}})
		}
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, ErrBusy) {
			t.Errorf("got %v, want %v", err, ErrBusy)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits")
	}
}
