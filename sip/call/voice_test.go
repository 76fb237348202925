package call_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"linehall/media/codec"
	"linehall/media/codec/codectest"
	"linehall/media/mix"
	"linehall/media/packet"
	"linehall/media/prompt"
	"linehall/media/srtp"
	"linehall/sip/cdr"
	"linehall/sip/route"
)

// talker is the media of a phone: it sends a tone and hears what comes.
type talker struct {
	t    *testing.T
	conn *net.UDPConn
	to   *net.UDPAddr
	keys *srtp.Session // nil: in clear
}

func newTalker(t *testing.T, ip string) *talker {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &talker{t: t, conn: conn}
}

// offer is sdpFrom with the talker's port and formats.
func (k *talker) offer(formats string, lines ...string) string {
	a := k.conn.LocalAddr().(*net.UDPAddr)
	return strings.Replace(sdpFrom(a.String(), lines...), "m=audio 40000 RTP/AVP 8 0 101", fmt.Sprintf("m=audio %d %s", a.Port, formats), 1)
}

// answered reads where to send.
func (k *talker) answered(body string) {
	k.t.Helper()
	var ip string
	var port int
	for line := range strings.Lines(body) {
		_, _ = fmt.Sscanf(line, "c=IN IP4 %s", &ip)
		_, _ = fmt.Sscanf(line, "m=audio %d", &port)
	}
	if ip == "" || port == 0 || net.ParseIP(ip) == nil {
		k.t.Fatalf("no media in\n%s", body)
	}
	k.to = &net.UDPAddr{IP: net.ParseIP(ip), Port: port}
}

// exchange says the sound at its own pace, as a phone does, and returns what was heard meanwhile.
func (k *talker) exchange(f codec.Format, pt packet.PayloadType, sound []int16) (heard []int16) {
	k.t.Helper()
	_ = k.conn.SetReadDeadline(time.Time{})
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		decoder, buffer := f.NewDecoder(), make([]byte, 1500)
		for {
			n, from, err := k.conn.ReadFromUDP(buffer)
			if err != nil {
				return
			}
			if k.keys != nil {
				n, _ = k.keys.Open(buffer[:n], false) // 0: not encrypted
			}
			if h, ok := packet.Parse(buffer[:n]); ok && h.Type == pt && from.Port == k.to.Port {
				heard, _ = decoder.Decode(heard, buffer[h.Payload:h.End])
			}
		}
	}()
	mouth, sealed := mix.NewMouth(mix.Line{Format: f, Type: pt}), make([]byte, 1500)
	mix.Tick(k.t.Context(), time.Now(), func(time.Duration) bool {
		if len(sound) < mix.FrameSamples {
			return false
		}
		say := mouth.Say(sound[:mix.FrameSamples])
		if k.keys != nil {
			n, _ := k.keys.Seal(sealed, copy(sealed, say), false)
			say = sealed[:n]
		}
		if _, err := k.conn.WriteToUDP(say, k.to); err != nil {
			k.t.Error(err)
		}
		sound = sound[mix.FrameSamples:]
		return true
	})
	_ = k.conn.SetReadDeadline(time.Now())
	<-listened
	if len(heard) == 0 {
		k.t.Fatal("nothing is heard")
	}
	return heard
}

// secure reads the key in the answer to its own.
func (k *talker) secure(own srtp.Crypto, body string) {
	k.t.Helper()
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "a=crypto:"); ok {
			theirs, err := srtp.ParseCrypto(value)
			if err != nil || theirs.Tag != own.Tag {
				k.t.Fatalf("%v: answered %q", err, line)
			}
			k.keys = srtp.NewSession(own.Key, theirs.Key)
			return
		}
	}
	k.t.Fatalf("no key in\n%s", body)
}

// An echo test: answered with a voice in the caller's first format, through the relay, also where it encrypts (SDES); the caller
// hears itself, and again after it has held the call (re-INVITE) and gone on (UPDATE); # by INFO ends it, and the record has its length. No test that is not this one runs beside it: it is in real time.
func TestEchoTest(t *testing.T) {
	for _, row := range []struct {
		name    string
		formats string
		format  codec.Format
		pt      packet.PayloadType
		suite   srtp.Suite // 0: in clear
	}{
		{"A-law", "RTP/AVP 8 0 101", codec.PCMA, 8, 0},
		{"wide band", "RTP/AVP 9 8 101", codec.G722, 9, 0},
		{"encrypted", "RTP/SAVP 8 101", codec.PCMA, 8, srtp.AESCM128HMACSHA180},
		{"encrypted if we like", "RTP/AVP 8 101", codec.PCMA, 8, srtp.AEADAES128GCM},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			features := &codes{served: map[string]route.Served{"do_not_disturb": {Show: "echo", Say: &prompt.Echo{}, Long: time.Minute}}}
			x := newExchange(t, labOptions{features: features})
			a := newPhone(t, x, "8001", "UDP", "127.0.0.11")
			a.register()
			k := newTalker(t, "127.0.0.11")
			var lines []string
			own := srtp.Crypto{Tag: 3}
			if row.suite != 0 {
				own.Key = srtp.NewKey(row.suite)
				lines = []string{"a=crypto:" + own.String()}
			}
			a.invite("*76", k.offer(row.formats, lines...))
			ok := a.final("INVITE")
			k.answered(ok.body)
			if row.suite != 0 {
				k.secure(own, ok.body)
			}
			d := a.dialogOfCaller(ok)
			d.send("ACK", "")
			heard := k.exchange(row.format, row.pt, codectest.Tone(mix.Rate, 700, -10, 2*time.Second))
			rate := row.format.Rate
			if len(heard) < rate || codectest.Tonality(heard[len(heard)-rate:], rate, 700) < 0.95 {
				t.Errorf("of %d samples too little is the tone that was said", len(heard))
			}
			d.send("INVITE", k.offer(row.formats, append(lines, "a=sendonly")...))
			ok = a.final("INVITE")
			if ok.code() != 200 || !strings.Contains(ok.body, "a=recvonly") {
				t.Errorf("the hold is answered with\n%s", ok.text())
			}
			d.send("ACK", "")
			d.send("UPDATE", k.offer(row.formats, lines...))
			if res := a.final("UPDATE"); res.code() != 200 || !strings.Contains(res.body, "a=sendrecv") {
				t.Errorf("the end of the hold is answered with\n%s", res.text())
			}
			heard = k.exchange(row.format, row.pt, codectest.Tone(mix.Rate, 1100, -10, 2*time.Second))
			if len(heard) < rate || codectest.Tonality(heard[len(heard)-rate:], rate, 1100) < 0.95 {
				t.Errorf("after a hold, of %d samples too little is the tone that was said", len(heard))
			}
			d.send("INFO", "Signal=5\r\nDuration=100\r\n", [2]string{"Content-Type", "application/dtmf-relay"})
			a.status("INFO", 200)
			d.send("INFO", "Signal=#\r\nDuration=100\r\n", [2]string{"Content-Type", "application/dtmf-relay"})
			a.status("INFO", 200)
			bye := a.request("BYE")
			a.send(a.reply(bye, 200, "OK", ""))
			r := x.wantRecords(1)[0]
			if r.Result != cdr.Answered || r.EndedAt.Sub(*r.AnsweredAt) < time.Second {
				t.Errorf("recorded %+v", r)
			}
		})
	}
}

// What we cannot speak is shown all the same.
func TestNoticeThatCannotBeHeard(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"no format": "RTP/AVP 18", "encrypted": "RTP/SAVP 8"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			features := &codes{served: map[string]route.Served{"do_not_disturb": {Show: "on", Say: prompt.NewPlayer(prompt.China.Confirmation, 0)}}}
			x := newExchange(t, labOptions{features: features})
			a := newPhone(t, x, "8001", "UDP", "127.0.0.11")
			a.register()
			k := newTalker(t, "127.0.0.11")
			a.invite("*76", k.offer(body))
			ok := a.final("INVITE")
			if ok.code() != 200 || strings.Contains(ok.body, "a=sendrecv") {
				t.Errorf("answered %s with\n%s", ok.first, ok.body)
			}
			a.dialogOfCaller(ok).send("ACK", "")
			bye := a.request("BYE")
			a.send(a.reply(bye, 200, "OK", ""))
		})
	}
}

// The beeps behind a code are heard as they are defined.
func TestConfirmationIsHeard(t *testing.T) {
	t.Parallel()
	features := &codes{served: map[string]route.Served{"do_not_disturb": {Show: "on", Say: prompt.NewPlayer(prompt.China.Confirmation, 0)}}}
	x := newExchange(t, labOptions{features: features})
	a := newPhone(t, x, "8001", "UDP", "127.0.0.11")
	a.register()
	k := newTalker(t, "127.0.0.11")
	a.invite("*76", k.offer("RTP/AVP 8 101"))
	ok := a.final("INVITE")
	k.answered(ok.body)
	a.dialogOfCaller(ok).send("ACK", "")
	heard := k.exchange(codec.PCMA, 8, make([]int16, mix.Rate))
	if p := codectest.Tonality(heard, 8_000, 450); p < 0.3 || codectest.Level(heard) < -18 {
		t.Errorf("beeps: %.2f of the power at 450 Hz, level %.1f dBm0", p, codectest.Level(heard))
	}
	bye := a.request("BYE")
	a.send(a.reply(bye, 200, "OK", ""))
}
