package forward

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"pgregory.net/rapid"
)

// The header parser agrees with package rtp on everything that rtp accepts.
func FuzzHeader(f *testing.F) {
	p := rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: 7, CSRC: []uint32{1}}, Payload: []byte{1, 2, 3}}
	_ = p.SetExtension(1, []byte("0"))
	_ = p.SetExtension(5, []byte{1, 2, 3})
	b, err := p.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0xb0, 0x60, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0x10, 0, 0, 1, 1, 1, 9, 0, 4, 4, 4, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		var h header
		ok := h.parse(b)
		if ok {
			if h.start > h.end || h.end > len(b) {
				t.Fatalf("payload %d to %d of %d", h.start, h.end, len(b))
			}
			for id := range uint8(16) {
				h.extension(id)
			}
		}
		if !bytes.Equal(before, b) {
			t.Fatal("the packet was changed")
		}
		var p rtp.Packet
		if p.Unmarshal(b) != nil || !ok {
			return
		}
		if h.sequence != p.SequenceNumber || h.timestamp != p.Timestamp || h.ssrc != p.SSRC || h.marker != p.Marker || h.payloadType != p.PayloadType {
			t.Fatalf("%+v is not %+v", h, p.Header)
		}
		if !bytes.Equal(b[h.start:h.end], p.Payload) {
			t.Fatalf("payload %x is not %x", b[h.start:h.end], p.Payload)
		}
	})
}

// The descriptor parser agrees with package codecs, and what it rewrites reads back.
func FuzzVP8(f *testing.F) {
	f.Add([]byte{0x90, 0xe0, 0x80, 0x05, 1, 0x40, 0, 0, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0}, uint16(1), uint8(1))
	f.Add([]byte{0x10, 0x01}, uint16(3), uint8(9))
	f.Fuzz(func(t *testing.T, b []byte, picture uint16, tl0 uint8) {
		var d frame
		if !d.parse(VP8, b) {
			return
		}
		var c codecs.VP8Packet
		if _, err := c.Unmarshal(b); err == nil {
			if d.pictureOffset > 0 && d.picture != c.PictureID || d.tl0Offset > 0 && d.tl0 != c.TL0PICIDX || d.hasTemporal && d.temporal != c.TID {
				t.Fatalf("%+v is not %+v", d, c)
			}
		}
		old := d
		d.rewrite(b, picture, tl0)
		var again frame
		if !again.parse(VP8, b) {
			t.Fatal("the rewritten descriptor does not parse")
		}
		mask := uint16(0x7f)
		if old.longPicture {
			mask = 0x7fff
		}
		if old.pictureOffset > 0 && again.picture != (old.picture+picture)&mask || old.tl0Offset > 0 && again.tl0 != old.tl0+tl0 {
			t.Fatalf("%+v plus %d and %d is %+v", old, picture, tl0, again)
		}
	})
}

func FuzzDescription(f *testing.F) {
	f.Add("v=0\r\no=- 42 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=ssrc:7 cname:x\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Parse(text)
		if err != nil {
			return
		}
		if len(d.ssrcs) > maxStreams {
			t.Fatalf("%d streams", len(d.ssrcs))
		}
	})
}

func TestParseReadsABrowsersOffer(t *testing.T) {
	const offer = "v=0\r\no=- 4242 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2\r\na=fingerprint:sha-256 AA:BB\r\n" +
		"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n" +
		"a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:11 cname:x\r\n" +
		"m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n" +
		"a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\n" +
		"a=rid:l send\r\na=simulcast:send l\r\na=ssrc:21 cname:x\r\n" +
		"m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:2\r\na=ssrc-group:FID 31 32\r\na=ssrc:31 cname:x\r\na=ssrc:32 cname:x\r\n"
	d, err := Parse(offer)
	if err != nil {
		t.Fatal(err)
	}
	if d.Session != 4242 || d.Fingerprint != "sha-256 AA:BB" {
		t.Errorf("session %d, fingerprint %q", d.Session, d.Fingerprint)
	}
	want := map[uint32]declared{11: {kind: Microphone}, 31: {kind: Content}, 32: {kind: Content, repair: true}}
	if diff := cmp.Diff(want, d.ssrcs, cmp.AllowUnexported(declared{})); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]Kind{"0": Microphone, "1": Camera, "2": Content}, d.mids); diff != "" {
		t.Errorf("m-lines (-want +got):\n%s", diff)
	}
	if d.audioLevelID != 1 || d.midID != 4 || d.ridID != 10 || d.repairedRIDID != 11 || !d.isRepair(97) || d.isRepair(96) {
		t.Errorf("%+v", d)
	}
}

// The arena finds exactly the packets that a slow obvious model still has, or fewer, and never a wrong one.
func TestHistoryAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(16, 4096)
		model := map[uint64][]byte{}
		sequence := uint64(1 << 16)
		buf := make([]byte, 2048)
		for range rapid.IntRange(1, 200).Draw(t, "packets") {
			sequence += uint64(rapid.IntRange(1, 3).Draw(t, "step"))
			payload := rapid.SliceOfN(rapid.Byte(), 0, 1200).Draw(t, "payload")
			h.put(sequence, false, 0, payload)
			model[sequence] = payload
			for s := sequence - 20; s <= sequence; s++ {
				got, ok := h.get(s, buf)
				want, known := model[s]
				if ok && (!known || !bytes.Equal(want, buf[:got.length])) {
					t.Fatalf("packet %d is wrong", s)
				}
				if s == sequence && !ok {
					t.Fatal("the newest packet is not there")
				}
			}
		}
	})
}
