package sdp_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"linehall/media/sdp"
)

const phone = `v=0
o=- 20083 20083 IN IP4 192.168.0.11
s=SDP data
c=IN IP4 192.168.0.11
t=0 0
m=audio 11780 RTP/AVP 0 8 18 9 101
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=no
a=rtpmap:9 G722/8000
a=fmtp:101 0-15
a=rtpmap:101 telephone-event/8000
a=ptime:20
a=sendrecv
`

func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

func parse(t *testing.T, body string) *sdp.Document {
	t.Helper()
	d, err := sdp.Parse(crlf(body))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func media(t *testing.T, lines string) *sdp.Media {
	t.Helper()
	return parse(t, "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n"+lines).Media()[0]
}

func TestUneditedDocumentIsVerbatim(t *testing.T) {
	t.Parallel()
	for name, body := range map[string][]byte{
		"crlf":            crlf(phone),
		"lf":              []byte(phone),
		"mixed":           []byte("v=0\r\ns=-\nm=audio 1 RTP/AVP 0\r\na=x\n"),
		"no end":          []byte("v=0\r\nm=audio 1 RTP/AVP 0\r\na=sendrecv"),
		"odd spacing":     []byte("v=0\r\nm=audio  1   RTP/AVP 0 \r\n a=indented\r\n\r\nx\r\n"),
		"unknown lines":   []byte("v=0\r\nq=what\r\n\x80\xff\r\nm=audio 1 RTP/AVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc\r\n"),
		"no media":        []byte("v=0\r\n"),
		"twice the same":  []byte("v=0\r\nc=IN IP4 1.2.3.4\r\nc=IN IP4 1.2.3.5\r\n"),
		"carriage return": []byte("v=0\r\na=x\ry\r\r\n"),
	} {
		d, err := sdp.Parse(body)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := d.Marshal(); !bytes.Equal(got, body) {
			t.Errorf("%s: %q, want %q", name, got, body)
		}
		if got := d.Clone().Marshal(); !bytes.Equal(got, body) {
			t.Errorf("%s: clone %q, want %q", name, got, body)
		}
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body string
		line       int
	}{
		{"empty", "", 0},
		{"no version", "o=- 1 1 IN IP4 1.2.3.4\r\nm=audio 1 RTP/AVP 0\r\n", 0},
		{"short media line", "v=0\r\nm=audio 1 RTP/AVP\r\n", 2},
		{"port is a word", "v=0\r\ns=-\r\nm=audio x RTP/AVP 0\r\n", 3},
		{"port too large", "v=0\r\nm=audio 65536 RTP/AVP 0\r\n", 2},
		{"negative port", "v=0\r\nm=audio -1 RTP/AVP 0\r\n", 2},
		{"number of ports is a word", "v=0\r\nm=audio 1/x RTP/AVP 0\r\n", 2},
		{"zero byte", "v=0\r\ns=-\r\na=\x00\r\n", 3},
		{"too many media", "v=0\r\n" + strings.Repeat("m=audio 0 RTP/AVP 0\r\n", sdp.MaxMedia+1), sdp.MaxMedia + 2},
		{"too many lines", "v=0\r\n" + strings.Repeat("a=x\r\n", sdp.MaxLines), sdp.MaxLines + 1},
		{"too long", "v=0\r\na=" + strings.Repeat("x", sdp.MaxSize), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := sdp.Parse([]byte(tc.body))
			var bad *sdp.ParseError
			if !errors.As(err, &bad) || bad.Line != tc.line {
				t.Errorf("err = %v, want one at line %d", err, tc.line)
			}
		})
	}
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	d := parse(t, phone)
	got, ok := d.Origin()
	want := sdp.Origin{
		Username: "-", SessionID: "20083", Version: 20083, Address: netip.MustParseAddr("192.168.0.11"), Host: "192.168.0.11",
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" || !ok {
		t.Errorf("origin %v (-want +got):\n%s", ok, diff)
	}
	d.SetOrigin(sdp.Origin{SessionID: "77", Version: 2, Address: netip.MustParseAddr("2001:db8::1")})
	if want := strings.Replace(phone, "o=- 20083 20083 IN IP4 192.168.0.11", "o=- 77 2 IN IP6 2001:db8::1", 1); string(d.Marshal()) != string(crlf(want)) {
		t.Errorf("got %s", d.Marshal())
	}
	for _, body := range []string{"v=0\ns=-\n", "v=0\no=- 1\n"} {
		d := parse(t, body)
		if o, ok := d.Origin(); ok {
			t.Errorf("origin %+v in %q", o, body)
		}
		d.SetOrigin(sdp.Origin{Username: "u", SessionID: "1", Version: 1, Host: "example.org"})
		if !strings.Contains(string(d.Marshal()), "v=0\r\no=u 1 1 IN IP4 example.org\r\n") {
			t.Errorf("got %q", d.Marshal())
		}
	}
}

func TestSetAddress(t *testing.T) {
	t.Parallel()
	to := netip.MustParseAddr("198.51.100.9")
	for _, tc := range []struct{ name, body, want string }{
		{
			"session only", "v=0\nc=IN IP4 10.0.0.1\nm=audio 1 RTP/AVP 0\n",
			"v=0\nc=IN IP4 198.51.100.9\nm=audio 1 RTP/AVP 0\n",
		},
		{
			"media only", "v=0\nm=audio 1 RTP/AVP 0\nc=IN IP4 10.0.0.1\nm=video 3 RTP/AVP 34\nc=IN IP4 10.0.0.2\na=x\n",
			"v=0\nm=audio 1 RTP/AVP 0\nc=IN IP4 198.51.100.9\nm=video 3 RTP/AVP 34\nc=IN IP4 198.51.100.9\na=x\n",
		},
		{
			"hold of RFC 2543 for the session", "v=0\nc=IN IP4 0.0.0.0\nm=audio 1 RTP/AVP 0\n",
			"v=0\nc=IN IP4 0.0.0.0\nm=audio 1 RTP/AVP 0\n",
		},
		{
			"hold of RFC 2543 for one medium", "v=0\nc=IN IP4 10.0.0.1\nm=audio 1 RTP/AVP 0\nc=IN IP4 0.0.0.0\nm=video 3 RTP/AVP 34\n",
			"v=0\nc=IN IP4 198.51.100.9\nm=audio 1 RTP/AVP 0\nc=IN IP4 0.0.0.0\nm=video 3 RTP/AVP 34\n",
		},
		{
			"a name", "v=0\nc=IN IP4 phone.example.org\nm=audio 1 RTP/AVP 0\n",
			"v=0\nc=IN IP4 198.51.100.9\nm=audio 1 RTP/AVP 0\n",
		},
		{
			"IPv6", "v=0\nc=IN IP6 2001:db8::7\nm=audio 1 RTP/AVP 0\n",
			"v=0\nc=IN IP4 198.51.100.9\nm=audio 1 RTP/AVP 0\n",
		},
		{
			"none", "v=0\nm=audio 1 RTP/AVP 0\ni=title\nb=AS:80\na=x\n",
			"v=0\nm=audio 1 RTP/AVP 0\ni=title\nc=IN IP4 198.51.100.9\nb=AS:80\na=x\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := parse(t, tc.body)
			d.SetAddress(to)
			if diff := cmp.Diff(string(crlf(tc.want)), string(d.Marshal())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSetAddressOfSomeSectionsLeavesTheOthers(t *testing.T) {
	t.Parallel()
	d := parse(t, "v=0\nc=IN IP4 10.0.0.1\nm=audio 1 RTP/AVP 0\nm=message 2855 TCP/MSRP *\na=path:x\nm=video 0 RTP/AVP 34\n")
	d.SetAddress(netip.MustParseAddr("198.51.100.9"), d.Media()[0])
	want := "v=0\nc=IN IP4 198.51.100.9\nm=audio 1 RTP/AVP 0\nm=message 2855 TCP/MSRP *\nc=IN IP4 10.0.0.1\na=path:x\nm=video 0 RTP/AVP 34\n"
	if diff := cmp.Diff(string(crlf(want)), string(d.Marshal())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMediaSection(t *testing.T) {
	t.Parallel()
	m := media(t, "m=audio 4000/2 RTP/SAVP 8 101\nc=IN IP4 192.0.2.7/127\nb=AS:80\nb=TIAS:64000\n"+
		"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\na=rtcp:4007 IN IP4 192.0.2.8\na=rtcp-mux\na=sendonly\n")
	target, ok := m.Target()
	control, _ := m.RTCP()
	as, _ := m.Bandwidth("AS")
	tias, _ := m.Bandwidth("TIAS")
	type facts struct {
		Kind, Proto, Target, Control string
		Formats                      []string
		Port                         int
		OK, Secure, Mux, UDP, Hold   bool
		Direction                    sdp.Direction
		AS, TIAS                     int64
	}
	got := facts{
		m.Kind(), m.Proto(), target.String(), control.String(), m.Formats(), m.Port(), ok, m.IsSecure(), m.RTCPMux(),
		m.OverUDP(), m.OnHold(), m.Direction(), as, tias,
	}
	want := facts{
		"audio", "RTP/SAVP", "192.0.2.7:4000", "192.0.2.8:4007",
		[]string{"8", "101"},
		4000, true, true, true, true, true,
		sdp.SendOnly, 80_000, 64_000,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	m.SetPort(5000)
	m.SetRTCP(netip.MustParseAddrPort("198.51.100.9:5001"))
	m.SetDirection(sdp.Inactive)
	for _, line := range []string{"audio 5000 RTP/SAVP 8 101"} {
		if got := fmt.Sprintf("%s %d %s %s", m.Kind(), m.Port(), m.Proto(), strings.Join(m.Formats(), " ")); got != line {
			t.Errorf("m=%s, want %s", got, line)
		}
	}
	if v, _ := m.Attribute("rtcp"); v != "5001 IN IP4 198.51.100.9" || m.Direction() != sdp.Inactive {
		t.Errorf("rtcp %q, direction %s", v, m.Direction())
	}
}

func TestRTCPTarget(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, lines, want string }{
		{"next port", "m=audio 4000 RTP/AVP 8\n", "192.0.2.1:4001"},
		{"mux is an offer only", "m=audio 4000 RTP/AVP 8\na=rtcp-mux\n", "192.0.2.1:4001"},
		{"same port", "m=audio 4000 RTP/AVP 8\na=rtcp:4000\n", "192.0.2.1:4000"},
		{"other port", "m=audio 4000 RTP/AVP 8\na=rtcp:4900\n", "192.0.2.1:4900"},
		{"not a port", "m=audio 4000 RTP/AVP 8\na=rtcp:x\n", "192.0.2.1:4001"},
		{"rtcp-mux is not rtcp", "m=audio 4000 RTP/AVP 8\na=rtcp-fb:* nack\n", "192.0.2.1:4001"},
		{"switched off", "m=audio 0 RTP/AVP 8\n", "invalid AddrPort"},
		{"old hold", "m=audio 4000 RTP/AVP 8\nc=IN IP4 0.0.0.0\n", "invalid AddrPort"},
		{"no next port", "m=audio 65535 RTP/AVP 8\n", "invalid AddrPort"},
	} {
		if got, _ := media(t, tc.lines).RTCP(); got.String() != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, got, tc.want)
		}
	}
}

func TestDirection(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body string
		want       sdp.Direction
		hold       bool
	}{
		{"default", "v=0\nc=IN IP4 1.2.3.4\nm=audio 1 RTP/AVP 0\n", sdp.SendRecv, false},
		{"of the session", "v=0\nc=IN IP4 1.2.3.4\na=inactive\nm=audio 1 RTP/AVP 0\n", sdp.Inactive, true},
		{"own one wins", "v=0\nc=IN IP4 1.2.3.4\na=inactive\nm=audio 1 RTP/AVP 0\na=recvonly\n", sdp.RecvOnly, false},
		{"old hold", "v=0\nc=IN IP4 0.0.0.0\nm=audio 1 RTP/AVP 0\n", sdp.SendRecv, true},
	} {
		m := parse(t, tc.body).Media()[0]
		if m.Direction() != tc.want || m.OnHold() != tc.hold {
			t.Errorf("%s: %s, hold %v", tc.name, m.Direction(), m.OnHold())
		}
	}
}

func TestRejectedSectionsKeepTheirPlace(t *testing.T) {
	t.Parallel()
	d := parse(t, "v=0\nc=IN IP4 1.2.3.4\nm=audio 1 RTP/AVP 0")
	other := parse(t, phone)
	d.Append(other.Media()[0]).Reject()
	want := "v=0\nc=IN IP4 1.2.3.4\nm=audio 1 RTP/AVP 0\nm=audio 0 RTP/AVP 0 8 18 9 101\n"
	if got := d.Marshal(); string(got) != string(crlf(want)) {
		t.Errorf("got %q", got)
	}
	if string(other.Marshal()) != string(crlf(phone)) {
		t.Error("the other document changed")
	}
}

func TestCodecs(t *testing.T) {
	t.Parallel()
	m := media(t, "m=audio 1 RTP/AVP 8 18 96 97 98 x 101\na=rtpmap:96 opus/48000/2\na=fmtp:96 maxaveragebitrate=24000; useinbandfec=1\n"+
		"a=rtpmap:97 L16/16000\na=rtpmap:101 telephone-event/8000\n")
	want := []sdp.Codec{
		{PayloadType: 8, Name: "PCMA", ClockRate: 8000, Channels: 1},
		{PayloadType: 18, Name: "G729", ClockRate: 8000, Channels: 1},
		{PayloadType: 96, Name: "opus", ClockRate: 48000, Channels: 2, Parameters: "maxaveragebitrate=24000; useinbandfec=1"},
		{PayloadType: 97, Name: "L16", ClockRate: 16000, Channels: 1},
		{PayloadType: 98, Channels: 1},
		{PayloadType: 101, Name: "telephone-event", ClockRate: 8000, Channels: 1},
	}
	if diff := cmp.Diff(want, m.Codecs()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The rates are those of IP packets; 18 bytes of Ethernet make the 87 kbit/s of a G.711 call.
func TestWorstRate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, lines string
		ptime       int
		want        int64
	}{
		{"G.711", "m=audio 1 RTP/AVP 8\n", 0, 80_000},
		{"G.711 by name", "m=audio 1 RTP/AVP 0\na=rtpmap:0 PCMU/8000\n", 20, 80_000},
		{"G.711 in SRTP", "m=audio 1 RTP/SAVP 8\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\n", 20, 84_000},
		{"G.711 in 30 ms", "m=audio 1 RTP/AVP 8\n", 30, 34 * 280 * 8},
		{"G.711 in 10 ms", "m=audio 1 RTP/AVP 8\n", 10, 100 * 120 * 8},
		{"over IPv6", "m=audio 1 RTP/AVP 8\nc=IN IP6 2001:db8::1\n", 20, 88_000},
		{"G.722", "m=audio 1 RTP/AVP 9\n", 20, 80_000},
		{"G.729", "m=audio 1 RTP/AVP 18\n", 20, 24_000},
		{"G.723.1 keeps its 30 ms", "m=audio 1 RTP/AVP 4\n", 20, 34 * 64 * 8},
		{"the worst counts", "m=audio 1 RTP/AVP 18 8 101\n", 20, 80_000},
		{"DTMF does not", "m=audio 1 RTP/AVP 18 101\na=rtpmap:101 telephone-event/8000\n", 20, 24_000},
		{"Opus as limited", "m=audio 1 RTP/AVP 96\na=rtpmap:96 opus/48000/2\na=fmtp:96 maxaveragebitrate=24000\n", 20, 40_000},
		{"Opus", "m=audio 1 RTP/AVP 96\na=rtpmap:96 opus/48000/2\n", 20, 80_000},
		{"unknown", "m=audio 1 RTP/AVP 96\n", 20, 80_000},
		{"L16 stereo", "m=audio 1 RTP/AVP 10\n", 20, 50 * (3528 + 40) * 8},
		{"T.38", "m=image 1 udptl t38\n", 0, 80_000},
		{"video by TIAS", "m=video 1 RTP/AVP 96\nb=AS:9999\nb=TIAS:512000\na=rtpmap:96 H264/90000\n", 0, 65 * 1040 * 8},
		{"video by AS", "m=video 1 RTP/AVP 96\nb=AS:520\na=rtpmap:96 H264/90000\n", 0, 63 * 1040 * 8},
		{"video without a limit", "m=video 1 RTP/AVP 96\n", 0, 97 * 1040 * 8},
		{"switched off", "m=audio 0 RTP/AVP 8\n", 20, 0},
		{"over TCP", "m=message 2855 TCP/MSRP *\n", 0, 0},
	} {
		if got := media(t, tc.lines).Worst(tc.ptime).BitsPerSecond(0); got != tc.want {
			t.Errorf("%s: %d bit/s, want %d", tc.name, got, tc.want)
		}
	}
}

func TestRemoveICE(t *testing.T) {
	t.Parallel()
	d := parse(t, "v=0\na=ice-lite\na=ice-options:trickle\nm=audio 1 RTP/AVP 0\na=candidate:1 1 UDP 1 10.0.0.1 1 typ host\n"+
		"a=ice-ufrag:x\na=ice-pwd:y\na=end-of-candidates\na=candidates-of-ours:stay\na=sendrecv\n")
	if !d.RemoveICE() || d.RemoveICE() {
		t.Error("removed once, then there is nothing more")
	}
	want := "v=0\nm=audio 1 RTP/AVP 0\na=candidates-of-ours:stay\na=sendrecv\n"
	if got := d.Marshal(); string(got) != string(crlf(want)) {
		t.Errorf("got %q", got)
	}
}

// FuzzParse checks that an unedited description is verbatim, that edits hold, and that they can be parsed again.
func FuzzParse(f *testing.F) {
	f.Add(crlf(phone))
	f.Add([]byte("v=0\nm=audio 1 RTP/AVP 0 8\nc=IN IP4 0.0.0.0\na=rtcp:9 IN IP6 ::1\nb=AS:64\na=ptime:20"))
	f.Add([]byte("v=0\r\n\r\nm=video 9/2 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 maxaveragebitrate=1\r\na=candidate:x\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := sdp.Parse(body)
		if err != nil {
			if _, ok := errors.AsType[*sdp.ParseError](err); !ok {
				t.Fatalf("err = %v", err)
			}
			return
		}
		if got := d.Marshal(); !bytes.Equal(got, body) {
			t.Fatalf("%q, want %q", got, body)
		}
		to := netip.MustParseAddr("198.51.100.9")
		for _, m := range d.Media() {
			m.Codecs()
			m.RTCP()
			m.Direction()
			if r := m.Worst(20); r.BitsPerSecond(18) < 0 || r.BytesPerPacket > 1<<20 {
				t.Fatalf("rate %+v", r)
			}
			m.SetRTCP(netip.AddrPortFrom(to, 7))
			m.SetPort(1234)
			m.SetDirection(sdp.SendOnly)
		}
		d.SetOrigin(sdp.Origin{SessionID: "1", Version: 2, Address: to})
		d.SetAddress(to)
		d.RemoveICE()
		again, err := sdp.Parse(d.Marshal())
		if err != nil {
			t.Fatalf("edited: %v", err)
		}
		if len(again.Media()) != len(d.Media()) {
			t.Fatalf("%d media, want %d", len(again.Media()), len(d.Media()))
		}
		for _, m := range again.Media() {
			if a := m.Address(); m.Port() != 1234 || m.Direction() != sdp.SendOnly || a != to && !a.IsUnspecified() {
				t.Fatalf("port %d, %s, %v", m.Port(), m.Direction(), a)
			}
		}
	})
}

func TestResume(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"untouched", "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 8\r\n", ""},
		{"section", "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 8\r\na=recvonly\r\n", "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 8\r\na=sendrecv\r\n"},
		{"session", "v=0\r\nc=IN IP4 192.0.2.1\r\na=inactive\r\nm=audio 4000 RTP/AVP 8\r\n", "v=0\r\nc=IN IP4 192.0.2.1\r\na=inactive\r\nm=audio 4000 RTP/AVP 8\r\na=sendrecv\r\n"},
		{"rejected", "v=0\r\nc=IN IP4 192.0.2.1\r\nm=video 0 RTP/AVP 96\r\na=inactive\r\n", ""},
	} {
		d, err := sdp.Parse([]byte(tt.in))
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Resume(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.want == "" {
			tt.want = tt.in
		}
		if got := string(d.Marshal()); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
	d, err := sdp.Parse([]byte("v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 8\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Resume(); !errors.Is(err, sdp.ErrNoAddress) {
		t.Errorf("0.0.0.0: %v", err)
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	const base = "v=0\r\no=a 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 8\r\n"
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{base, base, true},
		{base, strings.Replace(base, "a 1 1", "b 2 9", 1), true},
		{base, base + "a=sendrecv\r\n", true},
		{base, base + "a=recvonly\r\n", false},
		{base, strings.Replace(base, "4000", "4002", 1), false},
		{strings.Replace(base, "m=", "a=inactive\r\nm=", 1), strings.Replace(base, "m=", "a=inactive\r\nm=", 1) + "a=sendrecv\r\n", false},
	} {
		a, errA := sdp.Parse([]byte(tt.a))
		b, errB := sdp.Parse([]byte(tt.b))
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if got := sdp.Same(a, b); got != tt.want {
			t.Errorf("%q and %q: %v", tt.a, tt.b, got)
		}
	}
}
