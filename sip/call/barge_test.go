package call_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"linehall/internal/site"
	"linehall/media/codec"
	"linehall/media/codec/codectest"
	"linehall/media/line"
	"linehall/media/mix"
	"linehall/media/packet"
	"linehall/media/record"
	"linehall/sip/call"
	"linehall/sip/cdr"
	"linehall/sip/dialplan"
)

// supervised is a laboratory in which officers (8011) may join calls of everybody, and 8002 is nobody's to hear.
func supervised(o labOptions) labOptions {
	o.classes = map[string]dialplan.ClassConfig{
		"officer": {Barge: dialplan.BargeConfig{Into: []string{"80XX", "20XX"}, Modes: []dialplan.Barge{dialplan.Listen, dialplan.Whisper, dialplan.Full}}},
		"chief":   {Barge: dialplan.BargeConfig{Into: []string{"8003"}}},
	}
	return o
}

// tone is a phone's media: it says a tone for as long as the test runs, wherever it is told to, and knows what it heard last.
type tone struct {
	*talker
	format codec.Format
	pt     packet.PayloadType
	hz     float64

	mu    sync.Mutex
	heard []int16
}

func newTone(t *testing.T, ip string, f codec.Format, pt packet.PayloadType, hz float64) *tone {
	t.Helper()
	v := &tone{talker: newTalker(t, ip), format: f, pt: pt, hz: hz}
	var work sync.WaitGroup
	stop := make(chan struct{})
	work.Go(func() { v.say(stop) })
	work.Go(v.hear)
	t.Cleanup(func() {
		close(stop)
		v.conn.Close()
		work.Wait()
	})
	return v
}

func (v *tone) body(lines ...string) string {
	return v.offer(fmt.Sprintf("RTP/AVP %d 101", v.pt), append([]string{fmt.Sprintf("a=rtpmap:%d %s/8000", v.pt, v.format.Name)}, lines...)...)
}

// speak sends to where a description says.
func (v *tone) speak(body string) {
	v.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answered(body)
}

func (v *tone) say(stop chan struct{}) {
	mouth, sound := mix.NewMouth(mix.Line{Format: v.format, Type: v.pt}), codectest.Tone(mix.Rate, v.hz, -20, time.Second)
	tick := time.NewTicker(codec.Frame)
	defer tick.Stop()
	for i := 0; ; i = (i + 1) % 50 {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		v.mu.Lock()
		to := v.to
		v.mu.Unlock()
		if b := mouth.Say(sound[i*mix.FrameSamples:][:mix.FrameSamples]); to != nil {
			_, _ = v.conn.WriteToUDP(b, to) // the socket closes with the test
		}
	}
}

func (v *tone) hear() {
	decoder, buffer := v.format.NewDecoder(), make([]byte, 1500)
	for {
		n, from, err := v.conn.ReadFromUDP(buffer)
		if err != nil {
			return
		}
		v.mu.Lock()
		if h, ok := packet.Parse(buffer[:n]); ok && h.Type == v.pt && v.to != nil && from.Port == v.to.Port {
			v.heard, _ = decoder.Decode(v.heard, buffer[h.Payload:h.End])
			v.heard = v.heard[max(0, len(v.heard)-v.format.Rate/5):]
		}
		v.mu.Unlock()
	}
}

// hears reports whether the last fifth of a second was these tones and no others.
func (v *tone) hears(all []*tone, tones ...*tone) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.heard) < v.format.Rate/5 {
		return false
	}
	for _, other := range all {
		share := codectest.Tonality(v.heard, v.format.Rate, other.hz)
		if slices.Contains(tones, other) != (share > 0.2) {
			return false
		}
	}
	return true
}

// want waits until each of the tones hears exactly its list.
func want(t *testing.T, what string, all []*tone, lists ...[]*tone) {
	t.Helper()
	for i, list := range lists {
		all[i].mu.Lock()
		all[i].heard = nil
		all[i].mu.Unlock()
		eventually(t, fmt.Sprintf("%s: %d hears what it should", what, i), func() bool { return all[i].hears(all, list...) })
	}
}

// talkAloud is connect with sound.
func talkAloud(t *testing.T, a, b *phone, va, vb *tone) *talk {
	t.Helper()
	a.invite(b.ext, va.body())
	inv := b.request("INVITE")
	b.tag = token()
	b.send(b.reply(inv, 200, "OK", vb.body()))
	vb.speak(inv.body)
	ok := a.status("INVITE", 200)
	va.speak(ok.body)
	k := &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(inv), invite: inv, ok: ok}
	b.request("ACK")
	k.da.send("ACK", "")
	return k
}

// conversation is two phones at two sites that talk aloud, and a third one.
func conversation(t *testing.T, o labOptions) (x *exchange, k *talk, third *phone, all []*tone) {
	t.Helper()
	x = newExchange(t, o)
	a, b, c := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "2001", "UDP", "127.0.1.12"), newPhone(t, x, "8011", "UDP", "127.0.0.13")
	for _, p := range []*phone{a, b, c} {
		p.register()
	}
	all = []*tone{newTone(t, "127.0.0.11", codec.PCMA, 8, 400), newTone(t, "127.0.1.12", codec.PCMA, 8, 700), newTone(t, "127.0.0.13", codec.G722, 9, 1100)}
	k = talkAloud(t, a, b, all[0], all[1])
	want(t, "two", all, []*tone{all[1]}, []*tone{all[0]})
	return x, k, c, all
}

// join has a phone join the dialog by Join, or dial a code, and talk.
func join(t *testing.T, p *phone, v *tone, number string, headers ...[2]string) *dlg {
	t.Helper()
	p.invite(number, v.body(), headers...)
	ok := p.status("INVITE", 200)
	v.speak(ok.body)
	d := p.dialogOfCaller(ok)
	d.send("ACK", "")
	return d
}

func joinHeader(d *dlg) [2]string { return [2]string{"Join", replacesOf(d, "")} }

// A third party joins by INVITE with Join (RFC 3911): the two are asked for nothing, all three hear the two others, and when it
// hangs up the two hear each other alone. The call and the guest have records that name each other.
func TestJoined(t *testing.T) {
	t.Parallel()
	x, k, p, all := conversation(t, supervised(labOptions{}))
	p.send(p.fresh("OPTIONS", "sip:"+domain, "sip:"+domain))
	if res := p.final("OPTIONS"); !strings.Contains(res.header("Supported"), "join") {
		t.Errorf("Supported: %s", res.header("Supported"))
	}
	d := join(t, p, all[2], "8001", joinHeader(k.da), [2]string{"Require", "join"})
	want(t, "three", all, []*tone{all[1], all[2]}, []*tone{all[0], all[2]}, []*tone{all[0], all[1]})
	for _, other := range []*phone{k.a, k.b} {
		other.quiet("a request", func(m *message) bool { return !m.response() })
	}
	s := x.calls.Snapshot()
	if len(s) != 1 || len(s[0].Guests) != 1 || s[0].Guests[0].Extension != "8011" || s[0].Guests[0].Mode != "full" || s[0].Guests[0].Silent {
		t.Fatalf("calls: %+v", s)
	}
	if !slices.ContainsFunc(s[0].Dialogs, func(d call.DialogInfo) bool {
		return d.Extension == "8011" && d.State == call.DialogConfirmed && d.RemoteExtension == "8001"
	}) {
		t.Errorf("dialogs: %+v", s[0].Dialogs)
	}

	// Hold, resume, a request for an offer, a key and a refresh are the guest's own.
	d.send("INVITE", all[2].body("a=sendonly"))
	if res := p.status("INVITE", 200); !strings.Contains(res.body, "a=recvonly") {
		t.Errorf("held: %s", res.body)
	}
	d.send("ACK", "")
	d.send("INVITE", "")
	res := p.status("INVITE", 200)
	if !strings.Contains(res.body, "m=audio ") {
		t.Errorf("no offer: %s", res.body)
	}
	d.send("ACK", all[2].body())
	d.send("UPDATE", "")
	p.status("UPDATE", 200)
	d.send("INFO", "Signal=5\r\n", [2]string{"Content-Type", "application/dtmf-relay"})
	p.status("INFO", 200)
	d.send("REFER", "", [2]string{"Refer-To", "<sip:8002@" + domain + ">"})
	p.status("REFER", 403)
	want(t, "three again", all, []*tone{all[1], all[2]}, []*tone{all[0], all[2]}, []*tone{all[0], all[1]})

	d.send("BYE", "")
	p.status("BYE", 200)
	want(t, "two again", all, []*tone{all[1]}, []*tone{all[0]})
	eventually(t, "the guest is gone", func() bool { return len(x.calls.Snapshot()[0].Guests) == 0 })
	k.hangUp(k.da)
	guest, host := sorted(x.wantRecords(2))
	if len(host.Guests) != 1 || host.Guests[0].Call != guest.ID || host.Guests[0].Until == nil || !slices.Contains(host.Linked, guest.ID) {
		t.Errorf("the call: %+v", host)
	}
	if guest.JoinedTo != host.ID || guest.JoinedAs != "full" || guest.From != "8011" || guest.To != "8001" || guest.Result != cdr.Answered || guest.Codec != "G722" || guest.EndedBy != "caller" {
		t.Errorf("the guest: %+v", guest)
	}
}

// sorted tells the record of who joined from that of the call.
func sorted(records []cdr.Record) (guest, host cdr.Record) {
	for _, r := range records {
		if r.JoinedTo != "" {
			guest = r
		} else {
			host = r
		}
	}
	return guest, host
}

// By code: who listens is heard by nobody, who whispers by the one whose call it is, and who barges in by both.
func TestJoinedByCode(t *testing.T) {
	t.Parallel()
	x, k, p, all := conversation(t, supervised(labOptions{}))
	for _, row := range []struct {
		code, mode string
		hear       [3][]*tone
	}{
		{"*428001", "listen", [3][]*tone{{all[1]}, {all[0]}, {all[0], all[1]}}},
		{"*442001", "whisper", [3][]*tone{{all[1]}, {all[0], all[2]}, {all[0], all[1]}}},
		{"*418001", "full", [3][]*tone{{all[1], all[2]}, {all[0], all[2]}, {all[0], all[1]}}},
	} {
		d := join(t, p, all[2], row.code)
		want(t, row.mode, all, row.hear[0], row.hear[1], row.hear[2])
		if g := x.calls.Snapshot()[0].Guests; len(g) != 1 || g[0].Mode != row.mode {
			t.Errorf("%s: %+v", row.mode, g)
		}
		d.send("BYE", "")
		p.status("BYE", 200)
		eventually(t, "gone", func() bool { return len(x.calls.Snapshot()[0].Guests) == 0 })
	}
	k.hangUp(k.db)
	x.wantRecords(4)
}

// Two remain when one of the first two hangs up: the other one and who joined go on, in a call of their own.
func TestTwoRemain(t *testing.T) {
	t.Parallel()
	for _, leaves := range []int{0, 1} {
		x, k, p, all := conversation(t, supervised(labOptions{}))
		d := join(t, p, all[2], "8001", joinHeader(k.db))
		want(t, "three", all, []*tone{all[1], all[2]})
		from, stays, voice := k.da, k.b, all[1]
		if leaves == 1 {
			from, stays, voice = k.db, k.a, all[0]
		}
		from.send("BYE", "")
		from.p.status("BYE", 200)
		// The one who stays and the guest are brought together by re-INVITEs.
		answer := func(p *phone, v *tone) {
			in := p.request("INVITE")
			p.send(p.reply(in, 200, "OK", v.both()))
			v.speak(in.body)
		}
		answer(stays, voice)
		answer(p, all[2])
		eventually(t, "the two talk", func() bool {
			s := x.calls.Snapshot()
			return len(s) == 1 && s[0].State == call.StateEstablished && s[0].From.Extension == "8011" && s[0].To.Extension == stays.ext
		})
		d.seq += 10
		d.send("BYE", "")
		bye := stays.request("BYE")
		stays.send(stays.reply(bye, 200, "OK", ""))
		p.status("BYE", 200)
		records := x.wantRecords(3)
		guest := slices.IndexFunc(records, func(r cdr.Record) bool { return r.JoinedTo != "" })
		next := slices.IndexFunc(records, func(r cdr.Record) bool { return r.From == "8011" && r.JoinedTo == "" })
		if guest < 0 || next < 0 || !slices.Contains(records[guest].Linked, records[next].ID) || !slices.Contains(records[next].Linked, records[guest].ID) {
			t.Errorf("records: %+v", records)
		}
	}
}

// both is a description with both formats, as phones have.
func (v *tone) both() string {
	return v.offer("RTP/AVP 8 9 101", "a=rtpmap:8 PCMA/8000", "a=rtpmap:9 G722/8000")
}

// Who joined leaves with the call, when an operator says so, or with the process; after a crash its phone is told.
func TestGuestsLeaveWithTheCall(t *testing.T) {
	t.Parallel()
	x, k, p, all := conversation(t, supervised(labOptions{}))
	join(t, p, all[2], "*428001")
	eventually(t, "joined", func() bool { return len(x.calls.Snapshot()[0].Guests) == 1 })
	if err := x.calls.Hangup(t.Context(), x.calls.Snapshot()[0].Guests[0].ID, "enough"); err != nil {
		t.Fatal(err)
	}
	p.send(p.reply(p.request("BYE"), 200, "OK", ""))
	want(t, "two again", all, []*tone{all[1]}, []*tone{all[0]})

	join(t, p, all[2], "*428001")
	eventually(t, "joined", func() bool { return len(x.calls.Snapshot()[0].Guests) == 1 })
	eventually(t, "its record is begun", func() bool { // a tenth of a second later, as that of any call
		var n int
		return x.db.QueryRowContext(t.Context(), "SELECT count(*) FROM cdr").Scan(&n) == nil && n == 3
	})
	x.kill()
	x.start(supervised(labOptions{}))
	p.send(p.reply(p.request("BYE"), 200, "OK", ""))
	want(t, "two after a crash", all, []*tone{all[1]}, []*tone{all[0]})

	join(t, p, all[2], "*428001")
	k.hangUp(k.da)
	p.send(p.reply(p.request("BYE"), 200, "OK", ""))
	guests := 0
	for _, r := range x.wantRecords(4) {
		if r.JoinedTo != "" {
			guests++
		}
		if r.EndedAt == nil || r.Result != cdr.Answered {
			t.Errorf("record %+v", r)
		}
	}
	if guests != 3 {
		t.Errorf("%d records of guests", guests)
	}
}

// What cannot be joined, and the answers of RFC 3911 §4. The call goes on in any case.
func TestJoinRefused(t *testing.T) {
	t.Parallel()
	x, k, p, all := conversation(t, supervised(labOptions{}))
	stranger := newPhone(t, x, "8003", "UDP", "127.0.0.14")
	refused := func(what string, p *phone, number, body string, code int, headers ...[2]string) *message {
		t.Helper()
		inv := p.invite(number, body, headers...)
		res := p.final("INVITE")
		p.send(p.ackFailure(inv, res))
		if res.code() != code {
			t.Errorf("%s: %s, want %d", what, res.first, code)
		}
		return res
	}
	body := sdpFrom(p.local)
	named := joinHeader(k.db)
	refused("no such dialog", p, "8001", body, 481, [2]string{"Join", "nothing;to-tag=1;from-tag=2"})
	refused("unreadable", p, "8001", body, 400, [2]string{"Join", "nothing"})
	refused("two", p, "8001", body, 400, named, named)
	refused("with Replaces", p, "8001", body, 400, named, [2]string{"Replaces", replacesOf(k.db, "")})
	refused("not permitted", stranger, "8001", body, 403, named)
	refused("not permitted by code", stranger, "*418001", body, 403)
	refused("whose calls nobody has", p, "*418009", body, 480)
	refused("no such extension", p, "*418888", body, 403)
	refused("nobody behind the code", p, "*41", body, 484)
	refused("no offer", p, "8001", "", 488, named)
	refused("no format", p, "8001", strings.Replace(strings.Replace(body, "RTP/AVP 8 0 101", "RTP/AVP 18 101", 1), "a=rtpmap:101", "a=rtpmap:18 G729/8000\r\na=rtpmap:101", 1), 488, named)

	third := newPhone(t, x, "8009", "UDP", "127.0.0.15")
	third.register()
	p.invite("8009", body)
	inv := third.request("INVITE")
	third.tag = token()
	third.send(third.reply(inv, 180, "Ringing", ""))
	p.status("INVITE", 180)
	early := third.dialogOfCallee(inv)
	q := newPhone(t, x, "8011", "UDP", "127.0.0.16")
	q.register()
	refused("early", q, "8009", body, 488, joinHeader(early))
	refused("early by code", q, "*418009", body, 480)
	third.send(third.reply(inv, 486, "Busy Here", ""))
	third.request("ACK")
	want(t, "the call goes on", all, []*tone{all[1]}, []*tone{all[0]})
	k.hangUp(k.da)
}

// Keys that two telephones share cannot be mixed; media that stays inside a site passes us where a class may join, and only
// there; a full line has no room for a third.
func TestJoinNeedsTheMedia(t *testing.T) {
	t.Parallel()
	x := newExchange(t, supervised(labOptions{line: 110_000}))
	a, b, p := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12"), newPhone(t, x, "8011", "UDP", "127.0.1.13")
	for _, each := range []*phone{a, b, p} {
		each.register()
	}
	k := connect(t, a, b)
	if port(k.invite.body) == "40000" {
		t.Error("the media of a call that may be joined does not pass us")
	}
	// 8011 sits in branch1: its line takes one call.
	v := newTone(t, "127.0.1.13", codec.PCMA, 8, 900)
	d := join(t, p, v, "*418001")
	if r := reserved(x, "branch1"); r == 0 {
		t.Error("the guest takes nothing of its line")
	}
	q := newPhone(t, x, "8011", "UDP", "127.0.1.14")
	inv := q.invite("*418001", sdpFrom(q.local))
	res := q.final("INVITE")
	q.send(q.ackFailure(inv, res))
	if res.code() != 488 || !strings.Contains(res.header("Warning"), "370") {
		t.Errorf("a full line: %s, Warning %q", res.first, res.header("Warning"))
	}
	d.send("BYE", "")
	p.status("BYE", 200)
	eventually(t, "the line is free", func() bool { return reserved(x, "branch1") == 0 })
	k.hangUp(k.da)

	key := "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
	a.invite("8002", secure(a.local, key))
	in := b.request("INVITE")
	b.tag = token()
	b.send(b.reply(in, 200, "OK", secure(b.local, key)))
	b.request("ACK")
	ok := a.status("INVITE", 200)
	k = &talk{a: a, b: b, da: a.dialogOfCaller(ok), db: b.dialogOfCallee(in)}
	k.da.send("ACK", "")
	eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
	inv = p.invite("*418001", sdpFrom(p.local))
	res = p.final("INVITE")
	p.send(p.ackFailure(inv, res))
	if res.code() != 488 || !strings.Contains(res.header("Warning"), "encrypt") {
		t.Errorf("encrypted: %s, Warning %q", res.first, res.header("Warning"))
	}
	k.hangUp(k.da)

	y := newExchange(t, labOptions{})
	a, b = newPhone(t, y, "8001", "UDP", "127.0.0.11"), newPhone(t, y, "8002", "UDP", "127.0.0.12")
	own := newPhone(t, y, "8001", "UDP", "127.0.0.17")
	for _, each := range []*phone{a, b, own} {
		each.register()
	}
	k = connect(t, b, a)
	eventually(t, "established", func() bool { return state(y) == call.StateEstablished })
	inv = own.invite("*418001", sdpFrom(own.local))
	res = own.final("INVITE")
	own.send(own.ackFailure(inv, res))
	if res.code() != 488 || !strings.Contains(res.header("Warning"), "does not pass") {
		t.Errorf("direct: %s, Warning %q", res.first, res.header("Warning"))
	}
	k.hangUp(k.da)
}

func reserved(x *exchange, where site.ID) int64 {
	for _, s := range x.ledger.Snapshot() {
		if s.Site == where && s.Direction == line.Up {
			return s.Reserved
		}
	}
	return 0
}

// What a guest says is recorded where the call must be, in a recording of its own.
func TestGuestsAreRecorded(t *testing.T) {
	t.Parallel()
	o := recorded(record.Required)
	x, k, p, all := conversation(t, supervised(o))
	eventually(t, "recorded", func() bool { return recording(x) == record.On })
	d := join(t, p, all[2], "*418001")
	want(t, "three", all, []*tone{all[1], all[2]})
	d.send("BYE", "")
	p.status("BYE", 200)
	k.hangUp(k.da)
	guest, host := sorted(x.wantRecords(2))
	if guest.Recording == nil || len(guest.Recording.IDs) != 1 || host.Recording == nil || len(host.Recording.IDs) != 1 {
		t.Errorf("recordings %+v and %+v", guest.Recording, host.Recording)
	}
}
