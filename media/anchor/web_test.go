package anchor_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	pion "github.com/pion/webrtc/v4"

	"linehall/internal/site"
	"linehall/media/anchor"
	"linehall/media/gateway"
	"linehall/media/line"
	"linehall/media/sdp"
	"linehall/media/srtp"
	"linehall/media/webrtc"
)

// withBrowsers gives the office a gateway.
func withBrowsers(t *testing.T) *office {
	t.Helper()
	o := newOffice(t)
	plane, err := webrtc.Open(webrtc.Options{UDP: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	g := gateway.New(gateway.Options{Plane: plane})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = plane.Close()
	})
	o.anchor = anchor.New(anchor.Options{Relay: o.relay, Gateway: g, Ledger: o.ledger})
	return o
}

// browser is a PeerConnection, which is not ours, with G.711 and Opus.
type browser struct {
	t     *testing.T
	pc    *pion.PeerConnection
	track *pion.TrackLocalStaticRTP
	seq   uint16
	mu    sync.Mutex
	heard []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	media := &pion.MediaEngine{}
	voice := pion.RTPCodecCapability{MimeType: pion.MimeTypePCMA, ClockRate: 8000, Channels: 1}
	for pt, c := range map[pion.PayloadType]pion.RTPCodecCapability{
		111: {MimeType: pion.MimeTypeOpus, ClockRate: 48000, Channels: 2}, 8: voice,
		126: {MimeType: "audio/telephone-event", ClockRate: 8000, Channels: 1},
	} {
		if err := media.RegisterCodec(pion.RTPCodecParameters{RTPCodecCapability: c, PayloadType: pt}, pion.RTPCodecTypeAudio); err != nil {
			t.Fatal(err)
		}
	}
	s := pion.SettingEngine{}
	s.SetIncludeLoopbackCandidate(true)
	s.SetNetworkTypes([]pion.NetworkType{pion.NetworkTypeUDP4})
	s.SetHandleUndeclaredSSRCWithoutAnswer(true)
	pc, err := pion.NewAPI(pion.WithMediaEngine(media), pion.WithInterceptorRegistry(&interceptor.Registry{}), pion.WithSettingEngine(s)).NewPeerConnection(pion.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, pc: pc}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	if b.track, err = pion.NewTrackLocalStaticRTP(voice, "voice", "voice"); err != nil {
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
			b.heard = append(b.heard, string(p.Payload))
			b.mu.Unlock()
		}
	})
	return b
}

func (b *browser) describe(d pion.SessionDescription, err error) []byte {
	b.t.Helper()
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

func (b *browser) take(kind pion.SDPType, body []byte) {
	b.t.Helper()
	if err := b.pc.SetRemoteDescription(pion.SessionDescription{Type: kind, SDP: string(body)}); err != nil {
		b.t.Fatalf("%v:\n%s", err, body)
	}
}

func (b *browser) party(id site.ID) anchor.Party {
	return anchor.Party{Site: id, Remote: ours, Local: ours, Web: true}
}

func (b *browser) last() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.heard) == 0 {
		return ""
	}
	return b.heard[len(b.heard)-1]
}

// say sends one packet.
func (b *browser) say(what string) {
	b.seq++
	_ = b.track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: b.seq, Timestamp: uint32(b.seq) * 160}, Payload: []byte(what)})
}

func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

// desk is a phone that may have SRTP.
type desk struct {
	*phone
	keys *srtp.Session
	to   netip.AddrPort
}

// say sends one packet to where the phone was told.
func (d *desk) say(what string) {
	d.seq++
	b := make([]byte, 200)
	p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 8, SequenceNumber: d.seq, Timestamp: uint32(d.seq) * 160, SSRC: 4711}, Payload: []byte(what)}
	n, err := p.MarshalTo(b)
	if err != nil {
		d.t.Fatal(err)
	}
	if d.keys != nil {
		n, _ = d.keys.Seal(b, n, false)
	}
	if _, err := d.conn.WriteToUDPAddrPort(b[:n], d.to); err != nil {
		d.t.Fatal(err)
	}
}

// listen returns what came within a moment, "" if nothing did.
func (d *desk) listen() string {
	b := make([]byte, 1500)
	_ = d.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	n, _, err := d.conn.ReadFromUDPAddrPort(b)
	if err != nil {
		return ""
	}
	if d.keys != nil {
		var ok bool
		if n, ok = d.keys.Open(b[:n], false); !ok {
			return "sealed"
		}
	}
	var p rtp.Packet
	if p.Unmarshal(b[:n]) != nil || p.PayloadType != 8 {
		return ""
	}
	return string(p.Payload)
}

// converse lets both speak until both were heard.
func converse(t *testing.T, b *browser, d *desk) {
	t.Helper()
	heard, words := "", fmt.Sprint(spoken.Add(1))
	soon(t, "both are heard", func() bool {
		b.say("the browser " + words)
		d.say("the phone " + words)
		if s := d.listen(); s != "" {
			heard = s
		}
		return heard == "the browser "+words && b.last() == "the phone "+words
	})
}

// spoken tells what is said now from what was said before.
var spoken atomic.Int64

// A browser calls a desk phone: that one gets a description of RTP with the codecs of telephones alone, the browser one of
// WebRTC; both are heard. Its line is booked, and the record has the quality of both. The path comes back after a restart.
func TestBrowserCallsAPhone(t *testing.T) {
	t.Parallel()
	for name, keyed := range map[string]bool{"in clear": false, "with keys": true} {
		t.Run(name, func(t *testing.T) {
			o := withBrowsers(t)
			b, d := newBrowser(t), &desk{phone: newPhone(t, "127.0.1.1")}
			c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, b.party("hq"))
			p := c.Branch("desk", d.party("branch1"))
			if keyed {
				p.Terminate(anchor.Callee, anchor.Keyed)
			}
			toDesk := must(t)(p.Offer(anchor.Caller, b.describe(b.pc.CreateOffer(nil))))
			text := string(toDesk)
			for _, none := range []string{"ice-", "fingerprint", "candidate", "setup", "mid:", "BUNDLE", "opus", "rtcp-mux", "UDP/TLS", "c=IN IP4 0.0.0.0"} {
				if strings.Contains(text, none) {
					t.Errorf("the phone reads %q:\n%s", none, text)
				}
			}
			extra := []string{"a=rtpmap:126 telephone-event/8000"}
			if keyed {
				doc, err := sdp.Parse(toDesk)
				if err != nil {
					t.Fatal(err)
				}
				offered, err := srtp.ParseCrypto(doc.Media()[0].Attributes("crypto")[0])
				if err != nil {
					t.Fatal(err)
				}
				mine := srtp.Crypto{Tag: offered.Tag, Key: srtp.NewKey(offered.Key.Suite)}
				d.keys = srtp.NewSession(mine.Key, offered.Key)
				extra = append(extra, "a=crypto:"+mine.String())
			}
			answer := d.body("8 126", extra...)
			if keyed {
				answer = []byte(strings.Replace(string(answer), "RTP/AVP", "RTP/SAVP", 1))
			}
			d.to = target(t, toDesk)
			b.take(pion.SDPTypeAnswer, must(t)(p.Answer(anchor.Callee, answer)))
			c.Keep(p)
			converse(t, b, d)
			if p.Kind() != anchor.Gateway || p.Codec() != "PCMA" || p.Lost() != "" {
				t.Errorf("kind %s, codec %q, lost %q", p.Kind(), p.Codec(), p.Lost())
			}
			sealed := int64(50 * (200 + 16 + 18) * 8)
			if keyed { // the phone's own tag
				sealed += 50 * 10 * 8
			}
			o.wants("answered", both(sealed), line.Rate{})
			state, err := p.State()
			if err != nil {
				t.Fatal(err)
			}
			for _, leg := range c.Close() {
				if leg.Packets == 0 || leg.MOS < 3 || !leg.Remote.IsValid() {
					t.Errorf("leg %+v", leg)
				}
			}
			c, p, err = o.anchor.Restore(line.Holder{Class: line.Voice, Name: "call"}, state)
			if err != nil {
				t.Fatal(err)
			}
			o.wants("restored", both(sealed), line.Rate{})
			if d.keys != nil { // its sources are new after a restart of ours
				d.keys = d.keys.Rekey(d.keys.Local(), d.keys.Remote())
			}
			converse(t, b, d)
			if p.Kind() != anchor.Gateway {
				t.Errorf("restored as %s", p.Kind())
			}
			c.Close()
			o.wants("closed", line.Rate{}, line.Rate{})
		})
	}
}

// A desk phone calls a browser, holds it in the way of RFC 2543, which a browser reads as sendonly, and goes on.
func TestPhoneCallsABrowser(t *testing.T) {
	t.Parallel()
	o := withBrowsers(t)
	b, d := newBrowser(t), &desk{phone: newPhone(t, "127.0.1.1")}
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, d.party("branch1"))
	defer c.Close()
	p := c.Branch("browser", b.party("branch1")) // of one site: the gateway all the same
	toBrowser := must(t)(p.Offer(anchor.Caller, d.body("18 8 126", "a=rtpmap:126 telephone-event/8000", "m=video 5000 RTP/AVP 34", "a=rtpmap:34 H263/90000")))
	b.take(pion.SDPTypeOffer, toBrowser)
	toDesk := must(t)(p.Answer(anchor.Callee, b.describe(b.pc.CreateAnswer(nil))))
	d.to = target(t, toDesk)
	c.Keep(p)
	converse(t, b, d)
	if !strings.Contains(string(toBrowser), "m=video 0 ") || !strings.Contains(string(toBrowser), "a=ice-lite") {
		t.Errorf("the browser reads:\n%s", toBrowser)
	}
	held := must(t)(p.Offer(anchor.Caller, d.heldBody("8 126")))
	if !strings.Contains(string(held), "a=sendonly") || strings.Contains(string(held), "0.0.0.0") {
		t.Errorf("on hold the browser reads:\n%s", held)
	}
	p.Rollback()
	converse(t, b, d)
}

// Without a gateway, and without a codec of telephones, there is no path.
func TestBrowserWithoutAWay(t *testing.T) {
	t.Parallel()
	b, d := newBrowser(t), newPhone(t, "127.0.1.1")
	offer := b.describe(b.pc.CreateOffer(nil))
	for name, o := range map[string]*office{"no gateway": newOffice(t), "no codec": withBrowsers(t)} {
		c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, b.party("hq"))
		p := c.Branch("desk", d.party("branch1"))
		body := offer
		if name == "no codec" {
			body = []byte(strings.NewReplacer("a=rtpmap:8 PCMA/8000", "a=rtpmap:8 speex/16000").Replace(string(offer)))
		}
		if _, err := p.Offer(anchor.Caller, body); err == nil {
			t.Errorf("%s: the offer passes", name)
		}
		c.Close()
		o.wants(name, line.Rate{}, line.Rate{})
	}
}

// Two browsers of two sites talk through the gateway, with all that browsers have.
func TestBrowsersOfTwoSites(t *testing.T) {
	t.Parallel()
	o := withBrowsers(t)
	a, b := newBrowser(t), newBrowser(t)
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, a.party("branch1"))
	defer c.Close()
	p := c.Branch("browser", b.party("branch2"))
	toB := must(t)(p.Offer(anchor.Caller, a.describe(a.pc.CreateOffer(nil))))
	if !strings.Contains(string(toB), "opus/48000/2") {
		t.Errorf("the other browser reads:\n%s", toB)
	}
	b.take(pion.SDPTypeOffer, toB)
	a.take(pion.SDPTypeAnswer, must(t)(p.Answer(anchor.Callee, b.describe(b.pc.CreateAnswer(nil)))))
	c.Keep(p)
	soon(t, "both are heard", func() bool {
		a.say("one")
		b.say("two")
		return b.last() == "one" && a.last() == "two"
	})
}

// A browser that is led to another party keeps its leg: it hears the new party, and is heard, before it has read another
// description. Until the new call is kept, and when that comes to nothing, the first one has it.
func TestBrowserKeepsItsLeg(t *testing.T) {
	t.Parallel()
	o := withBrowsers(t)
	b, first, second, third := newBrowser(t), &desk{phone: newPhone(t, "127.0.1.1")}, &desk{phone: newPhone(t, "127.0.2.1")}, &desk{phone: newPhone(t, "127.0.1.2")}
	open := func(name string) *anchor.Call {
		c := o.anchor.Open(line.Holder{Class: line.Voice, Name: name}, b.party("hq"))
		t.Cleanup(func() { c.Close() })
		return c
	}
	answer := func(p *anchor.Path, said []byte, d *desk) []byte {
		d.to = target(t, must(t)(p.Offer(anchor.Caller, said)))
		return must(t)(p.Answer(anchor.Callee, d.body("8 126", "a=rtpmap:126 telephone-event/8000")))
	}
	said := b.describe(b.pc.CreateOffer(nil))

	one := open("one")
	was := one.Branch("first", first.party("branch1"))
	described := answer(was, said, first)
	b.take(pion.SDPTypeAnswer, described)
	one.Keep(was)
	converse(t, b, first)

	refused := open("refused") // rings two phones, one of which has something to say already
	refused.Adopt(was.Browser(anchor.Caller))
	silent, early := refused.Branch("third", third.party("branch1")), refused.Branch("second", second.party("branch2"))
	_ = must(t)(silent.Offer(anchor.Caller, said))
	again := answer(early, said, second)
	for _, kept := range []string{"a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:"} {
		if a, b := attribute(described, kept), attribute(again, kept); a == "" || a != b {
			t.Errorf("%s was %q and is %q", kept, a, b)
		}
	}
	converse(t, b, first)
	refused.Close()
	converse(t, b, first)

	two := open("two")
	two.Adopt(was.Browser(anchor.Caller))
	is := two.Branch("second", second.party("branch2"))
	_ = answer(is, said, second)
	two.Keep(is)
	soon(t, "the browser hears the second one", func() bool {
		second.say("hello")
		b.say("too early")
		return b.last() == "hello"
	})
	if got := second.listen(); got != "" {
		t.Errorf("before the browser was told of it the second phone hears %q", got)
	}
	is.Meet()
	converse(t, b, second)
	one.Close()
	converse(t, b, second)

	// It is the called one now: its phone's peer is replaced.
	three := o.anchor.Open(line.Holder{Class: line.Voice, Name: "three"}, third.party("branch1"))
	t.Cleanup(func() { three.Close() })
	p := three.Branch("browser", b.party("hq"))
	p.Adopt(is.Browser(anchor.Caller))
	offered := must(t)(p.Offer(anchor.Caller, third.body("8 126", "a=rtpmap:126 telephone-event/8000")))
	converse(t, b, second)
	b.take(pion.SDPTypeOffer, offered)
	third.to = target(t, must(t)(p.Answer(anchor.Callee, b.describe(b.pc.CreateAnswer(nil)))))
	three.Keep(p)
	two.Close()
	converse(t, b, third)

	state, err := p.State()
	if err != nil {
		t.Fatal(err)
	}
	three.Close()
	if p.Browser(anchor.Callee) == "" {
		t.Error("the leg has no name")
	}
	if three, p, err = o.anchor.Restore(line.Holder{Class: line.Voice, Name: "three"}, state); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { three.Close() })
	converse(t, b, third)

	// After a restart too.
	four := open("four")
	four.Adopt(p.Browser(anchor.Callee))
	last := four.Branch("first", first.party("branch1"))
	_ = answer(last, []byte(b.pc.LocalDescription().SDP), first)
	four.Keep(last)
	last.Meet()
	three.Close()
	converse(t, b, first)
}

// attribute is the first line that begins so.
func attribute(body []byte, prefix string) string {
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, prefix) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
