package forward

import (
	"bytes"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// withPhones is a negotiation whose receiver plays the codecs of telephones as well.
type withPhones struct{ negotiated }

func (withPhones) CodecParameters() []webrtc.RTPCodecParameters {
	return []webrtc.RTPCodecParameters{
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, PayloadType: 111},
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeG722}, PayloadType: 9},
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU}, PayloadType: 0},
	}
}

func rtpOf(tb testing.TB, payloadType uint8, ssrc uint32, sequence uint16, stamp uint32, payload string) []byte {
	tb.Helper()
	b, err := (&rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: payloadType, SSRC: ssrc, SequenceNumber: sequence, Timestamp: stamp}, Payload: []byte(payload)}).Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// A telephone's packets reach browsers as they are, under the payload type that each took for the codec; keys leave no gap;
// after a venue's voice the telephone's is the same stream.
func TestATelephonesVoiceIsPassedAsItIs(t *testing.T) {
	b, phone := newBench(), newBench()
	out := &edge{keep: true}
	s := NewSlot("test", webrtc.RTPCodecTypeAudio, nil)
	if _, err := s.Bind(withPhones{negotiated{edge: out}}); err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1000, 0)
	s.Follow(b.uplink.Track(Microphone).Layer(""))
	b.uplink.receive(b.uplink.stream(10), rtpOf(t, 111, 10, 1, 960, "opus"), now)
	s.Follow(phone.uplink.Track(Microphone).Layer(""))
	now = now.Add(20 * time.Millisecond)
	phone.uplink.Voice(PCMU, rtpOf(t, 0, 7, 100, 160, "one"), now)
	phone.uplink.Pass(rtpOf(t, 101, 7, 101, 320, "key"), now)
	phone.uplink.Voice(PCMU, rtpOf(t, 0, 7, 102, 480, "two"), now.Add(40*time.Millisecond))
	phone.uplink.Voice(G722, rtpOf(t, 9, 7, 103, 640, "wide"), now.Add(60*time.Millisecond))
	phone.uplink.Voice(PCMA, rtpOf(t, 8, 7, 104, 800, "not taken"), now.Add(80*time.Millisecond))
	want := []struct {
		payload string
		t       uint8
	}{{"opus", 111}, {"one", 0}, {"two", 0}, {"wide", 9}}
	if len(out.packets) != len(want) {
		t.Fatalf("%d packets, want %d", len(out.packets), len(want))
	}
	for i, w := range want {
		p := out.packets[i]
		if string(p.Payload) != w.payload || p.PayloadType != w.t || p.SequenceNumber != out.packets[0].SequenceNumber+uint16(i) {
			t.Errorf("packet %d: %q, type %d, number %d after %d", i, p.Payload, p.PayloadType, p.SequenceNumber, out.packets[0].SequenceNumber)
		}
	}
	if d := out.packets[2].Timestamp - out.packets[1].Timestamp; d != 320 {
		t.Errorf("the pause of a key is %d ticks, want 320", d)
	}
}

func TestATapHearsOneStreamOfOpus(t *testing.T) {
	b, phone := newBench(), newBench()
	var got [][]byte
	tap := NewTap(func(d []byte) { got = append(got, bytes.Clone(d)) })
	now := time.Unix(1000, 0)
	tap.Follow(b.uplink.Track(Microphone).Layer(""))
	b.uplink.receive(b.uplink.stream(10), rtpOf(t, 111, 10, 1, 960, "opus"), now)
	tap.Follow(phone.uplink.Track(Microphone).Layer(""))
	phone.uplink.Voice(PCMU, rtpOf(t, 0, 7, 100, 160, "mixed already"), now)
	if len(got) != 1 || string(got[0][12:]) != "opus" || got[0][1] != TapPayload {
		t.Errorf("%q", got)
	}
}

func TestATelephonesVoiceCostsNoAllocation(t *testing.T) {
	phone := newBench()
	s := NewSlot("test", webrtc.RTPCodecTypeAudio, nil)
	if _, err := s.Bind(withPhones{negotiated{edge: &edge{}}}); err != nil {
		t.Fatal(err)
	}
	s.Follow(phone.uplink.Track(Microphone).Layer(""))
	packets := make([][]byte, 2000)
	for i := range packets {
		packets[i] = rtpOf(t, 0, 7, uint16(i), uint32(160*i), "voice")
	}
	now, i := time.Unix(1000, 0), 0
	if n := testing.AllocsPerRun(1000, func() {
		phone.uplink.Voice(PCMU, packets[i], now.Add(time.Duration(i)*20*time.Millisecond))
		phone.uplink.Track(Microphone).NoteLevel(30, now)
		i++
	}); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}
