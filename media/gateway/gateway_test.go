package gateway_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	pion "github.com/pion/webrtc/v4"

	"linehall/media/gateway"
	"linehall/media/sdp"
	"linehall/media/webrtc"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func newGateway(t *testing.T, o gateway.Options) *gateway.Gateway {
	t.Helper()
	plane, err := webrtc.Open(webrtc.Options{UDP: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	o.Plane = plane
	g := gateway.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = plane.Close()
	})
	return g
}

// browser is a PeerConnection, which is not ours, with one audio track of PCMA.
type browser struct {
	t     *testing.T
	seq   uint16
	pc    *pion.PeerConnection
	track *pion.TrackLocalStaticRTP
	mu    sync.Mutex
	heard [][]byte
}

func newBrowser(t *testing.T, role func(*pion.SettingEngine)) *browser {
	t.Helper()
	media := &pion.MediaEngine{}
	codec := pion.RTPCodecCapability{MimeType: pion.MimeTypePCMA, ClockRate: 8000, Channels: 1}
	if err := media.RegisterCodec(pion.RTPCodecParameters{RTPCodecCapability: codec, PayloadType: 8}, pion.RTPCodecTypeAudio); err != nil {
		t.Fatal(err)
	}
	s := pion.SettingEngine{}
	s.SetIncludeLoopbackCandidate(true)
	s.SetHandleUndeclaredSSRCWithoutAnswer(true) // or a packet that is faster than the answer's bookkeeping mutes its source
	s.SetNetworkTypes([]pion.NetworkType{pion.NetworkTypeUDP4})
	if role != nil {
		role(&s)
	}
	pc, err := pion.NewAPI(pion.WithMediaEngine(media), pion.WithInterceptorRegistry(&interceptor.Registry{}), pion.WithSettingEngine(s)).NewPeerConnection(pion.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, pc: pc}
	t.Cleanup(func() { _ = pc.Close() })
	if b.track, err = pion.NewTrackLocalStaticRTP(codec, "voice", "voice"); err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTrack(b.track); err != nil {
		t.Fatal(err)
	}
	pc.OnTrack(func(track *pion.TrackRemote, _ *pion.RTPReceiver) {
		for {
			p, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.heard = append(b.heard, p.Payload)
			b.mu.Unlock()
		}
	})
	return b
}

// describe makes the offer, or the answer, and waits for its candidates.
func (b *browser) describe(make func() (pion.SessionDescription, error)) []byte {
	b.t.Helper()
	d, err := make()
	if err != nil {
		b.t.Fatal(err)
	}
	gathered := pion.GatheringCompletePromise(b.pc)
	if err := b.pc.SetLocalDescription(d); err != nil {
		b.t.Fatal(err)
	}
	<-gathered
	return []byte(b.pc.LocalDescription().SDP)
}

func (b *browser) offer(options *pion.OfferOptions) []byte {
	return b.describe(func() (pion.SessionDescription, error) { return b.pc.CreateOffer(options) })
}

func (b *browser) take(kind pion.SDPType, body []byte) {
	b.t.Helper()
	if err := b.pc.SetRemoteDescription(pion.SessionDescription{Type: kind, SDP: string(body)}); err != nil {
		b.t.Fatalf("%v:\n%s", err, body)
	}
}

func (b *browser) payloads() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.heard)
}

// remote reads a browser's description.
func remote(t *testing.T, body []byte) (gateway.Remote, *sdp.Document, string) {
	t.Helper()
	doc, err := sdp.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	m := doc.Media()[0]
	if !m.Web() {
		t.Fatalf("not a browser's:\n%s", body)
	}
	e := m.WebEnd()
	mid, _ := m.Attribute("mid")
	return gateway.Remote{Fragment: e.Fragment, Fingerprints: e.Fingerprints, Setup: e.Setup}, doc, mid
}

// described is our side of it, in the browser's terms.
func described(l *gateway.Hold, doc *sdp.Document, mid, setup string) []byte {
	local := l.Local()
	e := sdp.WebEnd{Fragment: local.Fragment, Password: local.Password, Fingerprints: []string{local.Fingerprint}, Setup: setup}
	for i, c := range local.Candidates {
		e.Candidates = append(e.Candidates, fmt.Sprintf("%d 1 udp %d %s %d typ host", i+1, gateway.Priority(i), c.Addr(), c.Port()))
	}
	doc.Plain(loopback)
	m := doc.Media()[0]
	m.Dress(e, local.Candidates[0])
	m.Name(mid)
	doc.Lite(mid, loopback)
	return doc.Marshal()
}

// sink collects what came from the browser.
type sink struct {
	mu   sync.Mutex
	came []rtp.Packet
}

func (s *sink) take(b []byte, _ int) {
	var p rtp.Packet
	if p.Unmarshal(append([]byte(nil), b...)) == nil && b[1]&0x7f == 8 {
		s.mu.Lock()
		s.came = append(s.came, p)
		s.mu.Unlock()
	}
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.came)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

// talk sends packets both ways until some have come.
func talk(t *testing.T, b *browser, l *gateway.Hold, s *sink) {
	t.Helper()
	heard, came := b.payloads(), s.count()
	eventually(t, "sound both ways", func() bool {
		b.seq++
		seq := b.seq
		p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 8, SequenceNumber: seq, Timestamp: uint32(seq) * 160, SSRC: 77}, Payload: []byte("to the browser")}
		_ = b.track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: uint32(seq) * 160}, Payload: []byte("to the phone")})
		plain, _ := p.Marshal()
		buf := make([]byte, 2048)
		l.Send(buf, copy(buf, plain), false)
		return b.payloads() > heard+3 && s.count() > came+3
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := string(s.came[len(s.came)-1].Payload); got != "to the phone" {
		t.Errorf("came: %q", got)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := string(b.heard[len(b.heard)-1]); got != "to the browser" {
		t.Errorf("heard: %q", got)
	}
}

// join lets a browser offer and connects it.
func join(t *testing.T, g *gateway.Gateway, b *browser) (*gateway.Hold, *sink) {
	t.Helper()
	l, err := g.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{}
	l.Attach(s.take)
	r, doc, mid := remote(t, b.offer(nil))
	if err := l.Hear(r, true); err != nil {
		t.Fatal(err)
	}
	l.Begin()
	b.take(pion.SDPTypeAnswer, described(l, doc, mid, "passive"))
	return l, s
}

// A browser that offers is heard and hears; ICE that it restarts goes on with the same keys; its leg comes back with the next
// process under the same names and keys.
func TestBrowserOffers(t *testing.T) {
	g := newGateway(t, gateway.Options{})
	b := newBrowser(t, nil)
	l, s := join(t, g, b)
	talk(t, b, l, s)
	if !l.Connected() || l.Lost() != "" || !l.Remote().IsValid() {
		t.Errorf("connected %v, lost %q, remote %v", l.Connected(), l.Lost(), l.Remote())
	}
	before := l.Local()
	r, doc, mid := remote(t, b.offer(&pion.OfferOptions{ICERestart: true}))
	if err := l.Hear(r, true); err != nil {
		t.Fatal(err)
	}
	if after := l.Local(); after.Fragment == before.Fragment || after.Password == before.Password || after.Fingerprint != before.Fingerprint {
		t.Errorf("restarted from %+v to %+v", before, after)
	}
	b.take(pion.SDPTypeAnswer, described(l, doc, mid, "passive"))
	talk(t, b, l, s)
	eventually(t, "ICE is through again", func() bool { return b.pc.ICEConnectionState() == pion.ICEConnectionStateConnected })

	state := l.State()
	l.Close()
	if g.Legs() != 0 {
		t.Errorf("%d legs", g.Legs())
	}
	if l, err := g.Restore(state); err != nil {
		t.Error(err)
	} else {
		l.Attach(s.take)
		talk(t, b, l, s)
	}
}

// A browser that is offered a call answers, whichever part of DTLS it takes.
func TestBrowserAnswers(t *testing.T) {
	for name, role := range map[string]pion.DTLSRole{"active": pion.DTLSRoleClient, "passive": pion.DTLSRoleServer} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, gateway.Options{})
			b := newBrowser(t, func(s *pion.SettingEngine) {
				if err := s.SetAnsweringDTLSRole(role); err != nil {
					t.Fatal(err)
				}
			})
			l, err := g.Open()
			if err != nil {
				t.Fatal(err)
			}
			s := &sink{}
			l.Attach(s.take)
			phone, err := sdp.Parse([]byte("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			b.take(pion.SDPTypeOffer, described(l, phone, "0", "actpass"))
			r, _, _ := remote(t, b.describe(func() (pion.SessionDescription, error) { return b.pc.CreateAnswer(nil) }))
			if err := l.Hear(r, false); err != nil {
				t.Fatal(err)
			}
			l.Begin()
			talk(t, b, l, s)
		})
	}
}

// Nobody is let in with another certificate than the one that was described.
func TestForeignCertificate(t *testing.T) {
	g := newGateway(t, gateway.Options{})
	b := newBrowser(t, nil)
	l, err := g.Open()
	if err != nil {
		t.Fatal(err)
	}
	r, doc, mid := remote(t, b.offer(nil))
	r.Fingerprints = []string{"sha-256 19:E2:1C:3B:4B:9F:81:E6:B8:5C:F4:A5:A8:D8:73:04:BB:05:2F:70:9F:04:A9:0E:05:E9:26:33:E8:70:88:A2"}
	if err := l.Hear(r, true); err != nil {
		t.Fatal(err)
	}
	l.Begin()
	b.take(pion.SDPTypeAnswer, described(l, doc, mid, "passive"))
	eventually(t, "the handshake fails", func() bool { return l.Lost() != "" })
	if l.Connected() {
		t.Error("connected")
	}
}

// There are only so many legs, and a closed one makes room.
func TestLegsAreBounded(t *testing.T) {
	g := newGateway(t, gateway.Options{Legs: 2})
	var legs []*gateway.Hold
	for range 2 {
		l, err := g.Open()
		if err != nil {
			t.Fatal(err)
		}
		legs = append(legs, l)
	}
	if _, err := g.Open(); err == nil {
		t.Fatal("a third leg")
	}
	legs[0].Close()
	legs[0].Close()
	if _, err := g.Open(); err != nil {
		t.Error(err)
	}
}
