package sdp_test

import (
	"errors"
	"strings"
	"testing"

	"linehall/media/sdp"
)

// body writes a description; lines are separated by "|".
func body(host, lines string) string {
	return "v=0\r\no=- 1 1 IN IP4 " + host + "\r\ns=-\r\nc=IN IP4 " + host + "\r\nt=0 0\r\n" + strings.ReplaceAll(lines, "|", "\r\n") + "\r\n"
}

func TestCross(t *testing.T) {
	t.Parallel()
	const a, b = "192.0.2.1", "192.0.2.2"
	for _, tt := range []struct {
		name, a, b string
		toA, toB   string // the media part; "" for nothing in common
	}{
		{
			"preference of the caller",
			"m=audio 4000 RTP/AVP 8 0 18", "m=audio 5000 RTP/AVP 18 0 9",
			"m=audio 5000 RTP/AVP 0 18|a=sendrecv", "m=audio 4000 RTP/AVP 0 18|a=sendrecv",
		},
		{"nothing in common", "m=audio 4000 RTP/AVP 8", "m=audio 5000 RTP/AVP 0", "", ""},
		{"only DTMF in common", "m=audio 4000 RTP/AVP 8 101|a=rtpmap:101 telephone-event/8000", "m=audio 5000 RTP/AVP 0 101|a=rtpmap:101 telephone-event/8000", "", ""},
		{
			"each keeps its own payload types",
			"m=audio 4000 RTP/AVP 8 101|a=rtpmap:101 telephone-event/8000|a=fmtp:101 0-15", "m=audio 5000 RTP/AVP 96 8|a=rtpmap:96 telephone-event/8000",
			"m=audio 5000 RTP/AVP 8 96|a=rtpmap:96 telephone-event/8000|a=sendrecv", "m=audio 4000 RTP/AVP 8 101|a=rtpmap:101 telephone-event/8000|a=fmtp:101 0-15|a=sendrecv",
		},
		{
			"a number that means something else is left out",
			"m=audio 4000 RTP/AVP 8 96 97|a=rtpmap:96 opus/48000/2|a=rtpmap:97 telephone-event/8000", "m=audio 5000 RTP/AVP 8 96|a=rtpmap:96 telephone-event/8000",
			"m=audio 5000 RTP/AVP 8|a=sendrecv", "m=audio 4000 RTP/AVP 8|a=sendrecv",
		},
		{
			"packet times stay",
			"m=audio 4000 RTP/AVP 8|a=ptime:20", "m=audio 5000 RTP/AVP 8|a=ptime:30",
			"m=audio 5000 RTP/AVP 8|a=ptime:30|a=sendrecv", "m=audio 4000 RTP/AVP 8|a=ptime:20|a=sendrecv",
		},
		{
			"lines of one side are rejected",
			"m=audio 4000 RTP/AVP 8|m=video 4002 RTP/AVP 96|a=rtpmap:96 H264/90000", "m=image 5002 udptl t38|m=audio 5000 RTP/AVP 8",
			"m=audio 5000 RTP/AVP 8|a=sendrecv|m=video 0 RTP/AVP 96", "m=image 0 udptl t38|m=audio 4000 RTP/AVP 8|a=sendrecv",
		},
		{
			"keys: one suite, the reader's tag, the writer's key",
			"m=audio 4000 RTP/SAVP 8|a=crypto:1 AES_256_CM_HMAC_SHA1_80 inline:A1|a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:A2",
			"m=audio 5000 RTP/SAVP 8|a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:B7|a=crypto:8 AES_CM_128_HMAC_SHA1_32 inline:B8",
			"m=audio 5000 RTP/SAVP 8|a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:B7|a=sendrecv", "m=audio 4000 RTP/SAVP 8|a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:A2|a=sendrecv",
		},
		{
			"no suite in common",
			"m=audio 4000 RTP/SAVP 8|a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:A1", "m=audio 5000 RTP/SAVP 8|a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:B1",
			"", "",
		},
		{"secured and clear do not meet", "m=audio 4000 RTP/SAVP 8|a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:A1", "m=audio 5000 RTP/AVP 8", "", ""},
		{
			"of two secured and clear offers the clear lines meet",
			"m=audio 4000 RTP/SAVP 8|a=crypto:1 X inline:A1|m=audio 4000 RTP/AVP 8", "m=audio 5000 RTP/AVP 8",
			"m=audio 0 RTP/SAVP 8|m=audio 5000 RTP/AVP 8|a=sendrecv", "m=audio 4000 RTP/AVP 8|a=sendrecv",
		},
		{
			"directions meet",
			"m=audio 4000 RTP/AVP 8|a=sendonly", "m=audio 5000 RTP/AVP 8|a=sendrecv",
			"m=audio 5000 RTP/AVP 8|a=recvonly", "m=audio 4000 RTP/AVP 8|a=sendonly",
		},
		{
			"rtcp-mux only when both want it",
			"m=audio 4000 RTP/AVP 8|a=rtcp-mux", "m=audio 5000 RTP/AVP 8",
			"m=audio 5000 RTP/AVP 8|a=sendrecv", "m=audio 4000 RTP/AVP 8|a=sendrecv",
		},
		{
			"DTLS: one opens; names of the reader",
			"m=audio 4000 UDP/TLS/RTP/SAVPF 111|a=rtpmap:111 opus/48000/2|a=mid:0|a=setup:actpass", "m=audio 5000 UDP/TLS/RTP/SAVPF 111|a=rtpmap:111 opus/48000/2|a=mid:x|a=setup:actpass",
			"m=audio 5000 UDP/TLS/RTP/SAVPF 111|a=rtpmap:111 opus/48000/2|a=setup:active|a=sendrecv|a=mid:0", "m=audio 4000 UDP/TLS/RTP/SAVPF 111|a=rtpmap:111 opus/48000/2|a=setup:passive|a=sendrecv|a=mid:x",
		},
	} {
		docA, errA := sdp.Parse([]byte(body(a, tt.a)))
		docB, errB := sdp.Parse([]byte(body(b, tt.b)))
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		before := string(docA.Marshal()) + string(docB.Marshal())
		got, err := sdp.Cross(docA, docB)
		if tt.toA == "" {
			if !errors.Is(err, sdp.ErrNothingInCommon) {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if is := string(got.ToA.Marshal()); is != body(b, tt.toA) {
			t.Errorf("%s: A gets\n%s\nwant\n%s", tt.name, is, body(b, tt.toA))
		}
		if is := string(got.ToB.Marshal()); is != body(a, tt.toB) {
			t.Errorf("%s: B gets\n%s\nwant\n%s", tt.name, is, body(a, tt.toB))
		}
		if string(docA.Marshal())+string(docB.Marshal()) != before {
			t.Errorf("%s: the offers were changed", tt.name)
		}
	}
}

func FuzzCross(f *testing.F) {
	f.Add([]byte(body("192.0.2.1", "m=audio 4000 RTP/AVP 8 101|a=rtpmap:101 telephone-event/8000")), []byte(body("192.0.2.2", "m=video 1 RTP/AVP 8|m=audio 4000 RTP/AVP 8")))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		docA, errA := sdp.Parse(a)
		docB, errB := sdp.Parse(b)
		if errA != nil || errB != nil {
			return
		}
		c, err := sdp.Cross(docA, docB)
		if err != nil {
			return
		}
		if len(c.ToA.Media()) != len(docA.Media()) || len(c.ToB.Media()) != len(docB.Media()) || len(c.Pairs) != len(docA.Media()) {
			t.Fatal("an answer has other sections than its offer")
		}
		for _, d := range []*sdp.Document{c.ToA, c.ToB} {
			if _, err := sdp.Parse(d.Marshal()); err != nil {
				t.Fatalf("unreadable: %v", err)
			}
		}
	})
}
