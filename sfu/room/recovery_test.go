package room_test

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	pion "github.com/pion/webrtc/v4"
)

// lossy drops media and reports at random, with a fixed seed, in both directions; connectivity checks and DTLS pass, so that a
// run does not depend on their timers.
type lossy struct {
	net.PacketConn

	begun   *atomic.Bool // losses begin when the picture stands: without recovery a lost first keyframe would be the end
	mu      sync.Mutex
	random  *rand.Rand
	share   float64
	dropped int
}

func (l *lossy) drops(b []byte) bool {
	if len(b) == 0 || b[0] < 128 || b[0] > 191 || !l.begun.Load() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.random.Float64() >= l.share {
		return false
	}
	l.dropped++
	return true
}

func (l *lossy) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := l.PacketConn.ReadFrom(b)
		if err != nil || !l.drops(b[:n]) {
			return n, from, err
		}
	}
}

func (l *lossy) WriteTo(b []byte, to net.Addr) (int, error) {
	if l.drops(b) {
		return len(b), nil
	}
	return l.PacketConn.WriteTo(b, to)
}

// lossyNetwork puts a client's connections behind a lossy socket.
func lossyNetwork(t *testing.T, begun *atomic.Bool, share float64, seed uint64) func(*pion.SettingEngine) {
	t.Helper()
	return func(s *pion.SettingEngine) {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Error(err)
			return
		}
		mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: &lossy{PacketConn: conn, begun: begun, random: rand.New(rand.NewPCG(seed, 1)), share: share}})
		t.Cleanup(func() { _ = mux.Close() })
		s.SetICEUDPMux(mux)
	}
}

// wholeFrames lets one venue film for some seconds to another, both behind 3 % loss, and returns which share of the frames
// arrived whole, and how many keyframes were asked for.
func wholeFrames(t *testing.T, without bool) (share float64) {
	t.Helper()
	w := newWorld(t, worldOptions{without: without})
	begun := new(atomic.Bool)
	from := w.join(t, "hq", "", lossyNetwork(t, begun, 0.03, 1))
	to := w.join(t, "branch1", "", lossyNetwork(t, begun, 0.03, 2))
	from.await("welcome", func() bool { return from.welcome.Participant != "" })
	from.startPublish(map[string]int{"": 720})
	ctx, cancel := context.WithCancel(t.Context())
	filmed := make(chan struct{})
	go func() { defer close(filmed); from.film(ctx, 4) }()
	to.await("picture", func() bool { return to.sees(from) })
	to.watch(720)
	until(t, "first frames", func() bool { _, n := to.of(from.id()).count(); return n > 5 })
	begun.Store(true)
	cam := from.cameras[""]
	r := to.of(from.id())
	_, before := r.count()
	start := int(cam.frames.Load())
	time.Sleep(8 * time.Second) // 200 frames of 4 packets
	cancel()
	<-filmed
	time.Sleep(500 * time.Millisecond) // what is being asked for again may still come
	_, after := r.count()
	share = float64(after-before) / float64(int(cam.frames.Load())-start)
	from.close()
	to.close()
	return share
}

func TestLostPacketsAreRecovered(t *testing.T) {
	if testing.Short() {
		t.Skip("8 s of film")
	}
	t.Parallel()
	if share := wholeFrames(t, false); share < 0.98 {
		t.Errorf("with NACK, RTX and PLI %.1f %% of the frames arrived whole, want 98 %%", share*100)
	} else {
		t.Logf("%.1f %% of the frames arrived whole", share*100)
	}
}

// Without recovery the same film breaks: 0.97^8 = 78 % whole frames. If this test fails, the other one proves nothing.
func TestLostPacketsAreLostWithoutRecovery(t *testing.T) {
	if testing.Short() {
		t.Skip("8 s of film")
	}
	t.Parallel()
	if share := wholeFrames(t, true); share >= 0.9 {
		t.Errorf("without NACK, RTX and PLI %.1f %% of the frames arrived whole", share*100)
	} else {
		t.Logf("%.1f %% of the frames arrived whole", share*100)
	}
}

func TestKeyframeRequestsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	from := w.join(t, "hq", "", nil)
	to := w.join(t, "branch1", "", nil)
	from.await("welcome", func() bool { return from.welcome.Participant != "" })
	from.startPublish(map[string]int{"": 720})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go from.film(ctx, 4)
	to.await("picture", func() bool { return to.sees(from) })
	to.watch(720)
	until(t, "first frames", func() bool { _, n := to.of(from.id()).count(); return n > 5 })
	var ssrc uint32
	for _, tr := range to.subscribe.GetTransceivers() {
		if r := tr.Receiver(); tr.Kind() == pion.RTPCodecTypeVideo && r != nil && r.Track() != nil && to.received[tr.Mid()] != nil {
			if n, _ := to.received[tr.Mid()].count(); n > 0 {
				ssrc = uint32(r.Track().SSRC())
			}
		}
	}
	begun, before := time.Now(), from.cameras[""].plis.Load()
	for range 40 { // a decoder that asks every 25 ms
		if err := to.subscribe.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Millisecond)
	}
	until(t, "the publisher was asked for a keyframe", func() bool { return from.cameras[""].plis.Load() > before })
	took := time.Since(begun) // a second, or more on a busy machine
	if n, most := from.cameras[""].plis.Load()-before, 2+int(took/(500*time.Millisecond)); int(n) > most {
		t.Errorf("the publisher was asked for %d keyframes in %v, want %d at most", n, took, most)
	}
	from.close()
	to.close()
}
