package call_test

import (
	"strings"
	"testing"

	"linehall/media/line"
	"linehall/sip/call"
	"linehall/sip/cdr"
)

// precedence is a Resource-Priority header.
func precedence(value string) [2]string { return [2]string{"Resource-Priority", value} }

// office is a headquarters with a routine phone, an officer's and the chief's, and two phones in a branch.
func office(t *testing.T, o labOptions) (x *exchange, staff, officer, chief, b1, b2 *phone) {
	t.Helper()
	x = newExchange(t, o)
	open := func(ext, ip string) *phone {
		p := newPhone(t, x, ext, "UDP", ip)
		p.register()
		return p
	}
	return x, open("8001", "127.0.0.11"), open("8011", "127.0.0.21"), open("8012", "127.0.0.22"), open("2001", "127.0.1.11"), open("2002", "127.0.1.12")
}

func TestResourcePriority(t *testing.T) {
	t.Parallel()
	x, staff, officer, _, b1, _ := office(t, labOptions{})
	for i, tt := range []struct {
		name    string
		from    *phone
		headers [][2]string
		code    int    // 180: it rings
		passed  string // Resource-Priority as the callee gets it
		class   string // of the call
	}{
		{"nothing from a routine phone", staff, nil, 180, "", "voice"},
		{"routine", staff, [][2]string{precedence("dsn.routine, ets.0")}, 180, "dsn.routine", "voice"},
		{"more than its class allows", staff, [][2]string{precedence("dsn.priority")}, 403, "", "voice"},
		{"more than its class allows, in the other namespace", officer, [][2]string{precedence("q735.0")}, 403, "", "voice"},
		{"the class alone", officer, nil, 180, "dsn.flash", "priority"},
		{"less than the class allows", officer, [][2]string{precedence("Q735.3")}, 180, "q735.3", "priority"},
		{"both namespaces, several headers", officer, [][2]string{precedence("dsn.flash"), precedence("wps.1 , q735.1")}, 180, "dsn.flash, q735.1", "priority"},
		{"required and known", officer, [][2]string{precedence("q735.1"), {"Require", "resource-priority"}}, 180, "q735.1", "priority"},
		{"unknown", staff, [][2]string{precedence("wps.0, dsn.urgent")}, 180, "", "voice"},
		{"required and unknown", officer, [][2]string{precedence("wps.0"), {"Require", "resource-priority"}}, 417, "", "voice"},
		{"required and missing", officer, [][2]string{{"Require", "resource-priority"}}, 417, "", "voice"},
		{"a namespace twice", officer, [][2]string{precedence("dsn.flash, dsn.routine")}, 400, "", "voice"},
	} {
		tt.from.invite("2001", sdpFrom(tt.from.local), tt.headers...)
		if tt.code != 180 {
			res := tt.from.final("INVITE")
			if res.code() != tt.code {
				t.Errorf("%s: %s", tt.name, res.first)
			}
			if accept := res.header("Accept-Resource-Priority"); (tt.code == 417) != strings.Contains(accept, "dsn.flash-override, q735.4") {
				t.Errorf("%s: Accept-Resource-Priority %q", tt.name, accept)
			}
		} else {
			in := b1.request("INVITE")
			if got := in.header("Resource-Priority"); got != tt.passed {
				t.Errorf("%s: passed %q, want %q", tt.name, got, tt.passed)
			}
			b1.send(b1.reply(in, 486, "Busy Here", ""))
			tt.from.status("INVITE", 486)
		}
		if r := x.wantRecords(i + 1)[0]; r.Class != tt.class {
			t.Errorf("%s: class %s, precedence %s", tt.name, r.Class, r.Precedence)
		}
	}
}

// RFC 4412 §3.2: OPTIONS tells which values are known.
func TestOptionsTellsThePriorities(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	p := newPhone(t, x, "8001", "UDP", "127.0.0.11")
	p.call = token()
	p.send(p.fresh("OPTIONS", "sip:"+domain, "sip:"+domain))
	res := p.status("OPTIONS", 200)
	if got := res.header("Accept-Resource-Priority"); !strings.HasPrefix(got, "dsn.routine, ") || !strings.HasSuffix(got, ", q735.0") {
		t.Errorf("Accept-Resource-Priority %q", got)
	}
	if !strings.Contains(res.header("Supported"), "resource-priority") {
		t.Errorf("Supported %q", res.header("Supported"))
	}
}

// free is what calls may still take of the branch's line.
func (x *exchange) free() int64 {
	for _, s := range x.ledger.Snapshot() {
		if s.Direction == line.Down {
			return s.Free
		}
	}
	return -1
}

const g711 = 87_200 // on an Ethernet line

// fill makes routine calls until the line of the branch takes no more, and returns them, the oldest first.
func fill(t *testing.T, x *exchange, a, b *phone) []*talk {
	t.Helper()
	var talks []*talk
	for x.free() >= g711 {
		talks = append(talks, connect(t, a, b))
	}
	res := refused(t, x, a, b.ext, 488)
	if w := res.header("Warning"); !strings.HasPrefix(w, "370 ") || !strings.Contains(w, "林东") {
		t.Errorf("Warning %q", w)
	}
	return talks
}

// ended checks that both phones of a call get a BYE with this Reason.
func (k *talk) ended(t *testing.T, reason string) {
	t.Helper()
	for _, d := range []*dlg{k.da, k.db} {
		bye := d.p.request("BYE")
		d.p.send(d.p.reply(bye, 200, "OK", ""))
		if bye.header("Call-ID") != d.id || bye.header("Reason") != reason {
			t.Errorf("%s: BYE of %s with Reason %q", d.p.ext, bye.header("Call-ID"), bye.header("Reason"))
		}
	}
}

// recordOf waits for n records and returns that of a call.
func (x *exchange) recordOf(n int, callID string) cdr.Record {
	x.t.Helper()
	for _, r := range x.wantRecords(n) {
		if r.CallID == callID {
			return r
		}
	}
	x.t.Fatalf("no record of %s", callID)
	return cdr.Record{}
}

const lineTaken = `preemption;cause=2;text="Reserved Resources Preempted"`

// A 2 Mbit/s line full of routine calls: a flash call gets through, the newest routine call ends with the Reason of
// RFC 4411 on both sides and with the flash call's id in its record; nobody else loses anything.
func TestPreemption(t *testing.T) {
	t.Parallel()
	x, staff, officer, chief, b1, b2 := office(t, labOptions{})
	talks := fill(t, x, staff, b1)
	if len(talks) != 21 { // 120 kbit/s are the conference's
		t.Fatalf("%d calls on the line", len(talks))
	}
	flash := connect(t, officer, b2)
	talks[20].ended(t, lineTaken)
	var flashID string
	for _, info := range x.calls.Snapshot() {
		if info.From.Extension == "8011" {
			flashID = info.ID
			if info.Precedence != line.PrecedenceFlash || info.Class != line.Priority {
				t.Errorf("%+v", info)
			}
		}
	}
	victim := x.recordOf(2, talks[20].da.id)
	if victim.PreemptedBy != flashID || victim.Result != cdr.Answered || victim.EndedBy != "system" || victim.Precedence != "routine" {
		t.Errorf("record of the victim: %+v", victim)
	}

	// An equal never, a lower one neither; a higher one takes a routine call's place, not the flash call's.
	refused(t, x, staff, "2001", 488)
	override := connect(t, chief, b2)
	talks[19].ended(t, lineTaken)
	eventually(t, "as many calls as before", func() bool { return len(x.calls.Snapshot()) == 21 })

	// An emergency call passes all the same, and ends nobody's call: the line itself is not full.
	b1.invite("110", sdpFrom(b1.local))
	in := staff.request("INVITE")
	staff.send(staff.reply(in, 200, "OK", sdpFrom(staff.local)))
	emergency := b1.dialogOfCaller(b1.status("INVITE", 200))
	emergency.send("ACK", "")
	emergency.send("BYE", "")
	b1.status("BYE", 200)
	if bye := staff.request("BYE"); bye.header("Call-ID") != in.header("Call-ID") {
		t.Errorf("BYE of %s", bye.header("Call-ID"))
	} else {
		staff.send(staff.reply(bye, 200, "OK", ""))
	}
	for _, k := range append(talks[:19], flash, override) {
		k.hangUp(k.da)
	}
	eventually(t, "everything given back", func() bool { return x.free() == 2e6-120_000 })
	if s := x.ledger.Statuses()[0]; s.Calls != 0 || s.Preempted != 2 {
		t.Errorf("%+v", s)
	}
}

// Only equals and higher ones hold the line: the call is refused like any other.
func TestNobodyGivesWayToAnEqual(t *testing.T) {
	t.Parallel()
	x, staff, officer, _, b1, b2 := office(t, labOptions{line: 200_000})
	first := connect(t, officer, b1)
	second := connect(t, officer, b1)
	if x.free() > g711 {
		t.Fatalf("%d bit/s free", x.free())
	}
	refused(t, x, officer, "2002", 488)
	refused(t, x, staff, "2002", 488)
	b2.quiet("INVITE", func(m *message) bool { return m.method() == "INVITE" })
	first.hangUp(first.db)
	second.hangUp(second.db)
}

// A call that still rings gives way too: the phone is cancelled, its caller hears what it would have heard on a full
// line.
func TestPreemptionWhileRinging(t *testing.T) {
	t.Parallel()
	x, staff, officer, _, b1, b2 := office(t, labOptions{line: 200_000})
	talk := connect(t, staff, b1)
	inv := staff.invite("2001", sdpFrom(staff.local))
	in := b1.request("INVITE")
	b1.send(b1.reply(in, 180, "Ringing", ""))
	staff.status("INVITE", 180)
	connect(t, officer, b2)
	c := b1.request("CANCEL")
	if got := c.header("Reason"); got != lineTaken { // RFC 4411 §4: also a phone that only rang is told why
		t.Errorf("CANCEL with Reason %q", got)
	}
	b1.send(b1.reply(c, 200, "OK", ""))
	b1.send(b1.reply(in, 487, "Request Terminated", ""))
	b1.request("ACK")
	res := staff.status("INVITE", 488)
	staff.send(staff.ackFailure(inv, res))
	if res.header("Reason") != lineTaken || !strings.HasPrefix(res.header("Warning"), "370 ") {
		t.Errorf("Reason %q, Warning %q", res.header("Reason"), res.header("Warning"))
	}
	if r := x.wantRecords(1)[0]; r.Result != cdr.Refused || r.Code != 488 || r.PreemptedBy == "" {
		t.Errorf("%+v", r)
	}
	talk.hangUp(talk.da)
}

// A CANCEL that has to wait for a sign of life (RFC 3261 §9.1) carries the reason as well.
func TestPreemptionBeforeItRings(t *testing.T) {
	t.Parallel()
	x, staff, officer, _, b1, b2 := office(t, labOptions{line: 200_000})
	talk := connect(t, staff, b1)
	inv := staff.invite("2001", sdpFrom(staff.local))
	in := b1.request("INVITE")
	connect(t, officer, b2)
	res := staff.status("INVITE", 488)
	staff.send(staff.ackFailure(inv, res))
	b1.send(b1.reply(in, 180, "Ringing", ""))
	c := b1.request("CANCEL")
	if got := c.header("Reason"); got != lineTaken {
		t.Errorf("CANCEL with Reason %q", got)
	}
	b1.send(b1.reply(c, 200, "OK", ""))
	b1.send(b1.reply(in, 487, "Request Terminated", ""))
	b1.request("ACK")
	x.wantRecords(1)
	talk.hangUp(talk.da)
}

// What a phone says in a later offer does not change the call's precedence.
func TestHoldKeepsThePrecedence(t *testing.T) {
	t.Parallel()
	x, staff, officer, _, b1, _ := office(t, labOptions{})
	for _, k := range []*talk{connect(t, staff, b1), connect(t, officer, b1)} {
		k.da.send("INVITE", sdpFrom(k.a.local, "a=sendonly"), precedence("dsn.flash-override"), [2]string{"Content-Type", "application/sdp"})
		in := b1.request("INVITE")
		if got := in.header("Resource-Priority"); got != "" {
			t.Errorf("passed %q", got)
		}
		b1.send(b1.reply(in, 200, "OK", sdpFrom(b1.local, "a=recvonly")))
		k.a.status("INVITE", 200)
		k.da.send("ACK", "")
		b1.request("ACK")
	}
	levels := map[string]string{}
	for _, info := range x.calls.Snapshot() {
		levels[info.From.Extension] = info.Precedence.String()
	}
	if levels["8001"] != "routine" || levels["8011"] != "flash" {
		t.Errorf("%v", levels)
	}
}

// A restored call may still give way, and is known by its precedence.
func TestPreemptionAfterARestart(t *testing.T) {
	t.Parallel()
	x, staff, officer, _, b1, b2 := office(t, labOptions{line: 200_000})
	low := connect(t, staff, b1)
	high := connect(t, officer, b1)
	x.wantAcked()
	x.kill()
	x.start(labOptions{line: 200_000})
	levels := map[line.Precedence]int{}
	for _, info := range x.calls.Snapshot() {
		levels[info.Precedence]++
	}
	if levels[line.PrecedenceRoutine] != 1 || levels[line.PrecedenceFlash] != 1 {
		t.Errorf("after the restart: %v", levels)
	}
	connect(t, officer, b2)
	low.ended(t, lineTaken)
	high.hangUp(high.da)
}

const phoneTaken = `preemption;cause=1;text="UA Preemption"`

// A telephone that has as many calls as it may have: with preempt_busy the least important one ends for a higher call, the
// newest of equals; not for an equal.
func TestPreemptionOfABusyPhone(t *testing.T) {
	t.Parallel()
	x, staff, officer, chief, b1, _ := office(t, labOptions{preemptBusy: true, limits: call.Limits{PerTerminal: 2}})
	first := connect(t, staff, b1)
	second := connect(t, staff, b1)
	third := newPhone(t, x, "8002", "UDP", "127.0.0.31")
	third.register()
	refused(t, x, third, "2001", 486) // a routine call
	flash := connect(t, officer, b1)
	second.ended(t, phoneTaken)
	override := connect(t, chief, b1)
	first.ended(t, phoneTaken)
	refused(t, x, officer, "2001", 486)
	override.hangUp(override.da)
	flash.hangUp(flash.da)
	var ended int
	for _, r := range x.wantRecords(6) {
		if r.PreemptedBy != "" {
			ended++
		}
	}
	if ended != 2 {
		t.Errorf("%d calls gave way", ended)
	}
	again := connect(t, staff, b1)
	again.hangUp(again.da)
}

// A call that rings gives way too; its caller hears that the telephone is busy.
func TestPreemptionOfARingingPhone(t *testing.T) {
	t.Parallel()
	x, staff, officer, _, b1, _ := office(t, labOptions{preemptBusy: true, limits: call.Limits{PerTerminal: 1}})
	inv := staff.invite("2001", sdpFrom(staff.local))
	in := b1.request("INVITE")
	b1.send(b1.reply(in, 180, "Ringing", ""))
	staff.status("INVITE", 180)
	k := connect(t, officer, b1)
	res := staff.status("INVITE", 486)
	staff.send(staff.ackFailure(inv, res))
	if res.header("Reason") != phoneTaken {
		t.Errorf("Reason %q", res.header("Reason"))
	}
	k.hangUp(k.da)
	x.wantRecords(2)
}

func TestBusyPhonesStayBusy(t *testing.T) {
	t.Parallel()
	x, staff, officer, _, b1, _ := office(t, labOptions{limits: call.Limits{PerTerminal: 1}})
	k := connect(t, staff, b1)
	refused(t, x, officer, "2001", 486)
	k.hangUp(k.da)
}
