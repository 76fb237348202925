package call_test

import (
	"strings"
	"testing"

	"linehall/sip/call"
	"linehall/sip/cdr"
)

// port is the media port in a session description.
func port(body string) string {
	_, rest, _ := strings.Cut(body, "m=audio ")
	p, _, _ := strings.Cut(rest, " ")
	return p
}

func TestRecovery(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"UDP", "TCP"} {
		for _, ends := range []string{"caller", "callee"} {
			t.Run(transport+", "+ends+" ends", func(t *testing.T) {
				x := newExchange(t, labOptions{})
				a, b := newPhone(t, x, "8001", transport, "127.0.0.11"), newPhone(t, x, "2001", transport, "127.0.1.12")
				a.register()
				b.register()
				k := connect(t, a, b)
				before := port(k.invite.body)
				eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
				id := x.calls.Snapshot()[0].ID
				x.kill()
				x.start(labOptions{})
				if s := x.calls.Snapshot(); len(s) != 1 || s[0].State != call.StateEstablished || s[0].ID != id {
					t.Fatalf("after the restart: %+v", s)
				}
				if transport == "TCP" { // the phones come back over new connections
					for _, p := range []*phone{a, b} {
						_ = p.conn.Close()
						p.open(strings.Split(p.local, ":")[0])
						old := p.call
						p.register()
						p.call = old
					}
				}
				in := reinvite(t, k, k.da, sdpFrom(a.local, "a=sendonly"), sdpFrom(b.local, "a=recvonly"))
				if got := port(in.body); got != before || before == "" {
					t.Errorf("media port %s, was %s", got, before)
				}
				reinvite(t, k, k.db, sdpFrom(b.local), sdpFrom(a.local))
				if ends == "caller" {
					k.hangUp(k.da)
				} else {
					k.hangUp(k.db)
				}
				r := x.wantRecords(1)[0]
				if r.ID != id || r.Result != cdr.Answered || r.EndedBy != ends {
					t.Errorf("record %+v", r)
				}
				eventually(t, "the reservation given back", func() bool { return x.ledger.Snapshot()[0].Reserved == 0 })
			})
		}
	}
}

// The sockets are open a moment before the call core runs: who calls in that moment is not turned away.
func TestCallBeforeTheCoreRuns(t *testing.T) {
	t.Parallel()
	running := make(chan struct{})
	x := newExchange(t, labOptions{calls: running})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12")
	a.register()
	b.register()
	a.call, a.tag = token(), token()
	inv := a.inviteMessage("8002", sdpFrom(a.local))
	a.send(inv)
	a.quiet("answer", func(m *message) bool { return m.response() && m.code() > 100 })
	close(running)
	challenge := a.status("INVITE", 401)
	a.send(a.ackFailure(inv, challenge))
	inv = a.inviteMessage("8002", sdpFrom(a.local))
	a.authorize(inv, challenge, a.password())
	a.send(inv)
	b.pickUp(a, b.request("INVITE")).hangUpFrom(a)
}

// An orderly restart cuts nobody either; and what only rang is recorded as interrupted.
func TestRestart(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b, c := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12"), newPhone(t, x, "8003", "UDP", "127.0.0.13")
	for _, p := range []*phone{a, b, c} {
		p.register()
	}
	k := connect(t, a, b)
	eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
	inv := c.invite("8002", sdpFrom(c.local))
	in := b.request("INVITE")
	b.send(b.reply(in, 180, "Ringing", ""))
	c.status("INVITE", 180)
	x.stop()
	c.send(c.ackFailure(inv, c.status("INVITE", 480)))
	cancel := b.request("CANCEL")
	b.send(b.reply(cancel, 200, "OK", ""))
	x.start(labOptions{})
	if s := x.calls.Snapshot(); len(s) != 1 {
		t.Fatalf("%d calls after the restart", len(s))
	}
	b.tag = strings.Split(k.db.local, ";tag=")[1]
	k.hangUp(k.db)
	x.wantRecords(2)
}

// A call whose record is closed is not taken up again: the crash came between the two writes.
func TestRecoveryAfterTheRecord(t *testing.T) {
	t.Parallel()
	x := newExchange(t, labOptions{})
	a, b := newPhone(t, x, "8001", "UDP", "127.0.0.11"), newPhone(t, x, "8002", "UDP", "127.0.0.12")
	a.register()
	b.register()
	k := connect(t, a, b)
	eventually(t, "established", func() bool { return state(x) == call.StateEstablished })
	var saved string
	eventually(t, "stored", func() bool {
		return x.db.QueryRowContext(t.Context(), "SELECT state FROM call_state").Scan(&saved) == nil
	})
	id := x.calls.Snapshot()[0].ID
	k.hangUp(k.da)
	x.wantRecords(1)
	eventually(t, "state deleted", func() bool {
		var n int
		return x.db.QueryRowContext(t.Context(), "SELECT count(*) FROM call_state").Scan(&n) == nil && n == 0
	})
	if _, err := x.db.ExecContext(t.Context(), "INSERT INTO call_state (id, state) VALUES (?, ?)", id, saved); err != nil {
		t.Fatal(err)
	}
	x.kill()
	x.start(labOptions{})
	if n := len(x.calls.Snapshot()); n != 0 {
		t.Errorf("%d calls came back", n)
	}
	x.wantRecords(1)
}

// When the database refuses the state, people go on talking and the appliance says so.
// Each such call counts once, however many of its states were refused while it rang.
func TestUnrecoverable(t *testing.T) {
	t.Parallel()
	x, a, b := phones(t, labOptions{})
	if _, err := x.db.ExecContext(t.Context(), "DROP TABLE call_state"); err != nil {
		t.Fatal(err)
	}
	for calls, talks := range []func() *talk{
		func() *talk { return connect(t, a, b) },
		func() *talk {
			a.invite("8002", sdpFrom(a.local))
			inv := b.request("INVITE")
			b.send(b.reply(inv, 180, "Ringing", ""))
			a.status("INVITE", 180)
			b.quiet("CANCEL", func(m *message) bool { return m.method() == "CANCEL" }) // rings long enough to be stored
			return b.pickUp(a, inv)
		},
	} {
		k := talks()
		eventually(t, "established, not recoverable", func() bool {
			s := x.calls.Snapshot()
			return len(s) == 1 && s[0].State == call.StateEstablished && !s[0].Recoverable
		})
		families, err := x.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		count := 0.0
		for _, f := range families {
			if f.GetName() == "linehall_calls_unrecoverable_total" {
				count = f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		if count != float64(calls+1) {
			t.Errorf("linehall_calls_unrecoverable_total %v, want %d", count, calls+1)
		}
		k.hangUp(k.da)
		if r := x.wantRecords(calls + 1)[0]; r.Recoverable {
			t.Errorf("record %+v", r)
		}
	}
}
