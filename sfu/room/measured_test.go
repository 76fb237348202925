package room_test

import (
	"math/rand/v2"
	"net"
	"testing"
	"time"

	pion "github.com/pion/webrtc/v4"

	"linehall/media/line"
)

// holed is a socket that loses a share of the media that comes in.
type holed struct {
	net.PacketConn
	share float64
}

func (h holed) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := h.PacketConn.ReadFrom(b)
		isRTP := err == nil && n > 12 && b[0]>>6 == 2 && (b[1] < 192 || b[1] > 223) // RFC 5761 §4
		if isRTP && rand.Float64() < h.share {                                      //nolint:gosec // a model
			continue
		}
		return n, from, err //nolint:wrapcheck // it stands for the socket
	}
}

// What a subscriber behind a line says of its packets reaches the line's account. A place without a line gets no numbers.
func TestSubscribersSayWhatTheirLineLoses(t *testing.T) {
	t.Parallel()
	var ledger *line.Ledger
	w := newWorld(t, worldOptions{sites: narrow(4_000_000, 4_000_000), ledger: &ledger})
	hq := w.filming(t.Context(), t, "hq", map[string]int{"l": 180, "m": 360, "h": 720})
	defer hq.close()
	socket, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp4", "127.0.1.20:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close() //nolint:errcheck // a test's
	mux := pion.NewICEUDPMux(nil, holed{socket, 0.3})
	defer mux.Close() //nolint:errcheck // a test's
	branch := w.join(t, "branch1", "", func(s *pion.SettingEngine) { s.SetICEUDPMux(mux) })
	defer branch.close()
	branch.await("the picture of headquarters", func() bool { return branch.sees(hq) })
	branch.watch(720)
	deadline := time.Now().Add(patience)
	for {
		var down line.Verdict
		for _, s := range ledger.Snapshot() {
			if s.Site == "branch1" && s.Direction == line.Down {
				down = s.Verdict
			}
		}
		if down.LossPercent >= 8 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("three of ten packets are lost, the ledger knows of %+v", down)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
