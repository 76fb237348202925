package served

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pion "github.com/pion/rtcp"

	"linehall/media/codec"
	"linehall/media/codec/codectest"
	"linehall/media/dtmf"
	"linehall/media/mix"
	"linehall/media/packet"
	"linehall/media/prompt"
	"linehall/media/rtcp"
)

// wire is a socket in memory: what is put into in arrives, what is sent is kept.
type wire struct {
	local, peer netip.AddrPort
	in          chan []byte
	closed      chan struct{}
	mu          sync.Mutex
	sent        []sent
}

type sent struct {
	at     time.Time
	packet []byte
}

func newWire(port uint16) *wire {
	return &wire{
		local: netip.AddrPortFrom(Host, port), peer: netip.AddrPortFrom(Host, 4000),
		in: make(chan []byte, 100), closed: make(chan struct{}),
	}
}

func (w *wire) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case p := <-w.in:
		return copy(b, p), w.peer, nil
	case <-w.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (w *wire) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if to == w.peer {
		w.sent = append(w.sent, sent{time.Now(), append([]byte(nil), b...)})
	}
	return len(b), nil
}

func (w *wire) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(w.local) }

func (w *wire) Close() error {
	close(w.closed)
	return nil
}

func offer(lines ...string) []byte {
	return []byte("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" + strings.Join(lines, "\r\n") + "\r\n")
}

func TestAnswers(t *testing.T) {
	for _, row := range []struct {
		name  string
		offer []string
		want  []string // lines of the answer
	}{
		{
			"the caller's first",
			[]string{"m=audio 4000 RTP/AVP 0 8 101", "a=rtpmap:101 telephone-event/8000"},
			[]string{"m=audio 5000 RTP/AVP 0 101", "a=rtpmap:0 PCMU/8000", "a=fmtp:101 0-15", "a=rtcp:5001", "a=sendrecv"},
		},
		{"wide band", []string{"m=audio 4000 RTP/AVP 9 8"}, []string{"m=audio 5000 RTP/AVP 9\r\n", "a=rtpmap:9 G722/8000"}},
		{"what we cannot speak is passed over", []string{"m=audio 4000 RTP/AVP 111 18 8", "a=rtpmap:111 opus/48000/2"}, []string{"m=audio 5000 RTP/AVP 8\r\n"}},
		{"keys of another clock are none", []string{"m=audio 4000 RTP/AVP 8 100", "a=rtpmap:100 telephone-event/48000"}, []string{"m=audio 5000 RTP/AVP 8\r\n"}},
		{"held", []string{"m=audio 4000 RTP/AVP 8", "a=sendonly"}, []string{"a=recvonly"}},
		{"only listening", []string{"m=audio 4000 RTP/AVP 8", "a=recvonly"}, []string{"a=sendonly"}},
		{"with a picture", []string{"m=video 4002 RTP/AVP 96", "m=audio 4000 RTP/AVP 8"}, []string{"m=video 0 RTP/AVP 96\r\nm=audio 5000 "}},
		{"two voices", []string{"m=audio 4000 RTP/AVP 8", "m=audio 4004 RTP/AVP 8"}, []string{"m=audio 5000 ", "m=audio 0 RTP/AVP 8"}},
		{"no format", []string{"m=audio 4000 RTP/AVP 18"}, nil},
		{"encrypted", []string{"m=audio 4000 RTP/SAVP 8"}, nil},
		{"no audio", []string{"m=video 4000 RTP/AVP 96"}, nil},
	} {
		l := newLeg(newWire(5000), newWire(5001))
		answer, err := l.Answer(offer(row.offer...))
		if (err == nil) != (row.want != nil) || err != nil && !errors.Is(err, ErrNoFormat) {
			t.Errorf("%s: %v", row.name, err)
		}
		for _, line := range row.want {
			if !strings.Contains(string(answer), line) {
				t.Errorf("%s: no %q in\n%s", row.name, line, answer)
			}
		}
		l.Close()
	}
}

// speak sends 20 ms of sound every 20 ms, and keys between them as the party's phone would.
func speak(w *wire, sound []int16, keys string) {
	mouth := mix.NewMouth(mix.Line{Format: codec.PCMA, Type: 8, Event: 101})
	for n := 0; (n+1)*mix.FrameSamples <= len(sound); n++ {
		if n%25 == 24 && len(keys) > 0 {
			mouth.Press(keys[0], 100*time.Millisecond)
			keys = keys[1:]
		}
		w.in <- append([]byte(nil), mouth.Say(sound[n*mix.FrameSamples:(n+1)*mix.FrameSamples])...)
		time.Sleep(codec.Frame)
	}
}

func (w *wire) heard(t *testing.T) (samples []int16) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, s := range w.sent {
		h, ok := packet.Parse(s.packet)
		first, _ := packet.Parse(w.sent[0].packet)
		if !ok || h.Type != 8 || h.Sequence != first.Sequence+uint16(i) || h.Timestamp != first.Timestamp+uint32(160*i) || h.Marker != (i == 0) {
			t.Fatalf("packet %d: %+v", i, h)
		}
		if at := s.at.Sub(w.sent[0].at); at != time.Duration(i)*codec.Frame {
			t.Fatalf("packet %d left after %v", i, at)
		}
		samples, _ = codec.ALaw{}.Decode(samples, s.packet[h.Payload:h.End])
	}
	return samples
}

// An echo test as it runs: the tone comes back, a key comes back as tones, # ends it. Packets leave every 20 ms, also
// while ones of strangers come.
func TestEchoOverRTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rtp := newWire(5000)
		l := newLeg(rtp, newWire(5001))
		if _, err := l.Answer(offer("m=audio 4000 RTP/AVP 8 101", "a=rtpmap:101 telephone-event/8000")); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- l.Run(t.Context(), &prompt.Sequence{&prompt.Echo{}}) }()
		speak(rtp, codectest.Tone(mix.Rate, 700, -10, 2*time.Second), "5#")
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		heard := rtp.heard(t)
		if len(heard) < 7_500 || len(heard) > 9_500 {
			t.Errorf("%d samples until # at about one second", len(heard))
		}
		if p := codectest.Tonality(heard[1600:3200], 8_000, 700); p < 0.98 {
			t.Errorf("%.3f of what comes back is the tone", p)
		}
		if keys := string(dtmf.NewDetector(8_000).Samples(nil, heard)); keys != "5" {
			t.Errorf("keys %q came back", keys)
		}
	})
}

// A key by signalling is one as well; ctx ends a leg, so does Close, and nothing is left.
func TestALegEnds(t *testing.T) {
	for _, how := range []string{"key", "context", "close"} {
		synctest.Test(t, func(t *testing.T) {
			l := newLeg(newWire(5000), newWire(5001))
			if _, err := l.Answer(offer("m=audio 4000 RTP/AVP 8")); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			ended := make(chan error)
			go func() { ended <- l.Run(ctx, &prompt.Echo{}) }()
			time.Sleep(time.Second)
			switch how {
			case "key":
				l.Press('#')
			case "context":
				stop()
			default:
				l.Close()
			}
			if err := <-ended; (err == nil) != (how == "key") {
				t.Errorf("%s: %v", how, err)
			}
			l.Close()
		})
	}
}

// Who is not the relay is not heard.
func TestStrangersAreNotHeard(t *testing.T) {
	l, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if _, err = l.Answer(offer(fmt.Sprintf("m=audio %d RTP/AVP 8", portOf(peer)))); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- l.Run(t.Context(), &prompt.Echo{}) }()
	stranger, err := net.Dial("udp4", l.rtp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	mouth := mix.NewMouth(mix.Line{Format: codec.PCMA, Type: 8})
	frame := codectest.Tone(mix.Rate, 700, -10, codec.Frame)
	buffer := make([]byte, 1500)
	for range 20 {
		if _, err = stranger.Write(mouth.Say(frame)); err != nil {
			t.Fatal(err)
		}
		_ = peer.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := peer.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		samples, _ := codec.ALaw{}.Decode(nil, buffer[packet.HeaderSize:n])
		if level := codectest.Level(samples); level > -60 {
			t.Fatalf("a stranger is heard at %.0f dBm0", level)
		}
	}
	l.Press('#')
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAFrameAllocatesNothing(t *testing.T) {
	l := newLeg(discard{}, discard{})
	if _, err := l.Answer(offer("m=audio 4000 RTP/AVP 9")); err != nil {
		t.Fatal(err)
	}
	mouth := mix.NewMouth(mix.Line{Format: codec.G722, Type: 9})
	frame := codectest.Speech(mix.Rate, codec.Frame, 1)
	program, now := &prompt.Echo{}, time.Duration(0)
	if n := testing.AllocsPerRun(200, func() {
		l.receive(mouth.Say(frame), l.peer)
		l.frame(now, program)
		now += codec.Frame
	}); n != 0 {
		t.Errorf("%.1f allocations per frame", n)
	}
}

type discard struct{}

func (discard) ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, net.ErrClosed
}
func (discard) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) { return len(b), nil }
func (discard) LocalAddr() net.Addr                                        { return &net.UDPAddr{} }
func (discard) Close() error                                               { return nil }

// While a party is heard it gets a report every five seconds on average: what was said, what came and what is missing of it, when
// its own report came; and a last one that says goodbye.
func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rtp, control := newWire(5000), newWire(5001)
		l := newLeg(rtp, control)
		if _, err := l.Answer(offer("m=audio 4000 RTP/AVP 8", "a=rtcp:4000")); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() { ended <- l.Run(t.Context(), &prompt.Echo{}) }()
		mouth, silence := mix.NewMouth(mix.Line{Format: codec.PCMA, Type: 8}), make([]int16, mix.FrameSamples)
		source, _, _, _ := mouth.Said()
		for n := range 30 * 50 {
			if p := mouth.Say(silence); n%10 != 3 { // a tenth is lost
				rtp.in <- append([]byte(nil), p...)
			}
			if n == 0 {
				sent := rtcp.Sent{At: time.Now(), Packets: 1}
				rtp.in <- rtcp.AppendCompound(nil, uint32(source), &sent, nil, "phone", false) // on the port of the sound
			}
			time.Sleep(codec.Frame)
		}
		l.Press('#')
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		control.mu.Lock()
		defer control.mu.Unlock()
		if n := len(control.sent); n < 5 || n > 13 {
			t.Errorf("%d reports in 30 s", n)
		}
		first, _ := packet.Parse(rtp.sent[0].packet)
		for i, s := range control.sent {
			all, err := pion.Unmarshal(s.packet)
			if err != nil || len(all) < 2 {
				t.Fatalf("report %d: %v", i, err)
			}
			sr, ok := all[0].(*pion.SenderReport)
			if !ok || len(sr.Reports) != 1 {
				t.Fatalf("report %d: %+v", i, all)
			}
			seconds := s.at.Sub(rtp.sent[0].at).Seconds()
			block := sr.Reports[0]
			switch {
			case sr.SSRC != uint32(first.SSRC) || math.Abs(float64(sr.PacketCount)-50*seconds) > 2 || sr.OctetCount != 160*sr.PacketCount,
				math.Abs(float64(sr.RTPTime-first.Timestamp)-8000*seconds) > 320,
				block.SSRC != uint32(source), i < len(control.sent)-1 && (block.FractionLost < 20 || block.FractionLost > 31),
				math.Abs(float64(block.TotalLost)-5*seconds) > 3,
				block.LastSenderReport == 0, math.Abs(float64(block.Delay)/65536-seconds) > 0.1:
				t.Errorf("report %d after %.2f s: %+v", i, seconds, sr)
			}
			if _, bye := all[len(all)-1].(*pion.Goodbye); bye != (i == len(control.sent)-1) {
				t.Errorf("report %d says goodbye: %v", i, bye)
			}
		}
	})
}

// A party that holds hears nothing, and what it says then is not echoed later; afterwards its stream goes on.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rtp := newWire(5000)
		l := newLeg(rtp, newWire(5001))
		answer := func(want string, lines ...string) {
			t.Helper()
			body, err := l.Answer(offer(lines...))
			if err != nil || !strings.Contains(string(body), want) {
				t.Errorf("%v: no %q in\n%s", err, want, body)
			}
		}
		answer("a=sendrecv", "m=audio 4000 RTP/AVP 8")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- l.Run(ctx, &prompt.Echo{}) }()
		sent := func() []sent {
			synctest.Wait()
			rtp.mu.Lock()
			defer rtp.mu.Unlock()
			return rtp.sent
		}
		time.Sleep(time.Second)
		for _, hold := range [][]string{{"m=audio 4000 RTP/AVP 8", "a=sendonly"}, {"m=audio 4000 RTP/AVP 8", "c=IN IP4 0.0.0.0"}, {"m=audio 4000 RTP/AVP 8", "a=inactive"}} {
			want := "a=recvonly"
			if hold[1] == "a=inactive" {
				want = "a=inactive"
			} else if hold[1] != "a=sendonly" {
				want = "a=sendrecv" // RFC 2543 knows no directions
			}
			answer(want, hold...)
			before := sent()
			time.Sleep(time.Second)
			if n := len(sent()) - len(before); n != 0 {
				t.Errorf("%d packets while held", n)
			}
			answer("a=sendrecv", "m=audio 4000 RTP/AVP 8")
			time.Sleep(time.Second)
			after := sent()
			if len(after)-len(before) < 49 {
				t.Fatalf("%d packets in the second after the hold", len(after)-len(before))
			}
			last, _ := packet.Parse(before[len(before)-1].packet)
			next, _ := packet.Parse(after[len(before)].packet)
			if next.SSRC != last.SSRC || next.Sequence != last.Sequence+1 || next.Timestamp-last.Timestamp < 8000 || !next.Marker {
				t.Errorf("%+v came after %+v", next, last)
			}
		}
		if _, err := l.Answer(offer("m=audio 4000 RTP/AVP 18")); err == nil {
			t.Error("a format that we do not have is answered")
		}
		answer("m=audio 5000 RTP/AVP 0", "m=audio 4000 RTP/AVP 0")
		time.Sleep(time.Second)
		all := sent()
		if h, _ := packet.Parse(all[len(all)-1].packet); h.Type != 0 {
			t.Errorf("after another format was agreed, %d is sent", h.Type)
		}
		stop()
		<-ended
	})
}
