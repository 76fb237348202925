package trunk

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"linehall/sip/stack/stacktest"
)

// bubble runs a test in a lab with virtual time.
func bubble(t *testing.T, f func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		defer func() { l.end() }()
		f(l)
	})
}

func TestRegistersWithDigestAndRefreshes(t *testing.T) {
	bubble(t, func(l *lab) {
		t := l.t
		gw := l.gateway("192.0.2.9:5060")
		gw.answers((&registrar{user: "04715550000", password: "secret", nonce: "n1", expires: 120}).answer)
		l.apply(account1(provider("192.0.2.9")))
		time.Sleep(time.Second)
		if st := l.status(); !st.Registered || st.LastError != "" {
			t.Fatalf("after the first second: %+v", st)
		}
		sent := gw.got("REGISTER")
		if len(sent) != 2 {
			t.Fatalf("%d REGISTERs", len(sent))
		}
		for i, m := range sent {
			if m.Start != "REGISTER sip:provider.example SIP/2.0" || !strings.Contains(m.Header("To"), "<sip:04715550000@provider.example>") {
				t.Errorf("REGISTER %d: %s, To %s", i, m.Start, m.Header("To"))
			}
			if m.Header("Call-ID") != sent[0].Header("Call-ID") || m.Header("CSeq") != strconv.Itoa(i+1)+" REGISTER" {
				t.Errorf("REGISTER %d: Call-ID %s, CSeq %s", i, m.Header("Call-ID"), m.Header("CSeq"))
			}
		}
		time.Sleep(2 * time.Minute) // granted 120 s: refreshed before it ends
		if st := l.status(); !st.Registered || len(gw.got("REGISTER")) < 4 {
			t.Errorf("after two minutes: %+v, %d REGISTERs", st, len(gw.got("REGISTER")))
		}
	})
}

func TestRegistrationRaisesABriefInterval(t *testing.T) {
	bubble(t, func(l *lab) {
		t := l.t
		gw := l.gateway("192.0.2.9:5060")
		gw.answers((&registrar{user: "04715550000", password: "secret", nonce: "n1", least: 3600}).answer)
		l.apply(account1(provider("192.0.2.9")))
		time.Sleep(time.Second)
		if st := l.status(); !st.Registered || time.Until(st.RegisteredUntil) < 50*time.Minute {
			t.Errorf("%+v", st)
		}
	})
}

func TestRegistrationTakesAStaleNonceAnew(t *testing.T) {
	bubble(t, func(l *lab) {
		t := l.t
		gw := l.gateway("192.0.2.9:5060")
		r := &registrar{user: "04715550000", password: "secret", nonce: "n1", expires: 60}
		changed := false
		gw.answers(func(m stacktest.Message) string {
			said := r.answer(m)
			if strings.HasPrefix(said, "401") && !changed {
				r.nonce, changed = "n2", true // between the challenge and its answer
			}
			return said
		})
		l.apply(account1(provider("192.0.2.9")))
		time.Sleep(time.Second)
		if st := l.status(); !st.Registered || len(gw.got("REGISTER")) != 3 {
			t.Errorf("%+v, %d REGISTERs", st, len(gw.got("REGISTER")))
		}
	})
}

func TestWrongPasswordIsNotRepeatedOften(t *testing.T) {
	bubble(t, func(l *lab) {
		t := l.t
		gw := l.gateway("192.0.2.9:5060")
		gw.answers((&registrar{user: "04715550000", password: "other", nonce: "n1"}).answer)
		l.apply(account1(provider("192.0.2.9")))
		time.Sleep(time.Hour)
		st := l.status()
		if st.Registered || !strings.Contains(st.LastError, "does not take the user or the password") || strings.Contains(st.LastError, "secret") {
			t.Errorf("%+v", st)
		}
		// Two REGISTERs an attempt, an attempt every 1 to 5 minutes.
		if n := len(gw.got("REGISTER")); n < 10 || n > 60 {
			t.Errorf("%d REGISTERs in an hour", n)
		}
	})
}

func TestRetryAfterIsObeyed(t *testing.T) {
	bubble(t, func(l *lab) {
		t := l.t
		gw := l.gateway("192.0.2.9:5060")
		gw.answers(func(m stacktest.Message) string {
			if m.Method == "REGISTER" {
				return "503 Busy\r\nRetry-After: 600"
			}
			return ""
		})
		l.apply(account1(provider("192.0.2.9")))
		time.Sleep(500 * time.Second)
		if n := len(gw.got("REGISTER")); n != 1 {
			t.Errorf("%d REGISTERs within the time that the gateway asked for", n)
		}
	})
}

func TestRegistrationMovesToTheNextAddress(t *testing.T) {
	bubble(t, func(l *lab) {
		t := l.t
		dead := l.gateway("192.0.2.8:5060")
		dead.hush(true)
		gw := l.gateway("192.0.2.9:5060")
		gw.answers((&registrar{user: "04715550000", password: "secret", nonce: "n1"}).answer)
		l.dns.srv = map[string][]SRV{"_sip._udp.provider.example": {
			{Priority: 1, Weight: 1, Port: 5060, Target: "a.provider.example."}, {Priority: 2, Weight: 1, Port: 5060, Target: "b.provider.example."},
		}}
		l.dns.addrs = map[string][]string{"a.provider.example": {"192.0.2.8"}, "b.provider.example": {"192.0.2.9"}}
		c := account1(provider(""))
		c.Gateways[0].Domain = "provider.example"
		l.apply(c)
		time.Sleep(15 * time.Second)
		if !l.status().Registered {
			t.Fatalf("%+v", l.status())
		}
		ways := l.s.Attempts(t.Context(), Outgoing{Trunks: []string{"provider"}, Number: "+8613800000000"})
		if len(ways) != 2 || ways[0].Flow.Remote.String() != "192.0.2.9:5060" || len(ways[0].Routes) != 1 || len(ways[1].Routes) != 0 {
			t.Errorf("the address that we are registered with is not the first: %+v", ways)
		}
	})
}

func TestALostConnectionIsRegisteredAnew(t *testing.T) {
	bubble(t, func(l *lab) {
		t := l.t
		gw := l.gateway("192.0.2.9:5060")
		gw.answers((&registrar{user: "04715550000", password: "secret", nonce: "n1"}).answer)
		l.apply(account1(provider("192.0.2.9")))
		time.Sleep(time.Second)
		before := len(gw.got("REGISTER"))
		l.s.FlowClosed(l.s.trunks[0].gateways[0].now().flow)
		if l.status().Registered {
			t.Error("registered over a connection that is gone")
		}
		time.Sleep(2 * settle)
		if !l.status().Registered || len(gw.got("REGISTER")) == before {
			t.Errorf("%+v", l.status())
		}
	})
}

func TestHealthHasHysteresis(t *testing.T) {
	bubble(t, func(l *lab) {
		t := l.t
		gw := l.gateway("192.0.2.9:5060")
		l.apply(provider("192.0.2.9"))
		time.Sleep(time.Second)
		if st := l.status(); !st.Known || !st.Up {
			t.Fatalf("after an answer: %+v", st)
		}
		gw.hush(true)
		time.Sleep(37 * time.Second) // one question is lost
		if st := l.status(); !st.Up {
			t.Errorf("one silence was enough: %+v", st)
		}
		time.Sleep(30 * time.Second)
		if st := l.status(); st.Up || !strings.Contains(st.LastError, "does not answer") {
			t.Errorf("after more silence: %+v", st)
		}
		gw.hush(false)
		time.Sleep(50 * time.Second)
		if st := l.status(); !st.Up {
			t.Errorf("after answers: %+v", st)
		}
		gw.answers(func(stacktest.Message) string { return "503 Out Of Service" })
		time.Sleep(2 * time.Minute)
		if st := l.status(); st.Up || !strings.Contains(st.LastError, "503") {
			t.Errorf("a gateway that says 503: %+v", st)
		}
		gw.answers(func(stacktest.Message) string { return "405 Method Not Allowed" })
		time.Sleep(2 * time.Minute)
		if st := l.status(); !st.Up {
			t.Errorf("a gateway that does not know OPTIONS: %+v", st)
		}
	})
}

func TestCallsSayHowAGatewayIs(t *testing.T) {
	bubble(t, func(l *lab) {
		t := l.t
		c := provider("192.0.2.9")
		c.Probe = 0
		l.apply(c)
		time.Sleep(time.Second)
		l.s.Report("provider", "192.0.2.9", 408)
		if !l.status().Up {
			t.Error("one unanswered call was enough")
		}
		l.s.Report("provider", "192.0.2.9", 430)
		if l.status().Up {
			t.Error("two unanswered calls change nothing")
		}
		l.s.Report("provider", "192.0.2.9", 486)
		l.s.Report("provider", "192.0.2.9", 200)
		if !l.status().Up {
			t.Error("answered calls change nothing")
		}
	})
}

func TestApplyKeepsWhatDidNotChange(t *testing.T) {
	bubble(t, func(l *lab) {
		t := l.t
		gw := l.gateway("192.0.2.9:5060")
		gw.answers((&registrar{user: "04715550000", password: "secret", nonce: "n1"}).answer)
		other := l.gateway("192.0.2.10:5060")
		l.apply(account1(provider("192.0.2.9")))
		time.Sleep(time.Second)
		before := len(gw.got("REGISTER"))
		c := account1(provider("192.0.2.9"))
		c.MaxCalls = 5
		second := provider("192.0.2.10")
		second.Name = "second"
		l.apply(c, second)
		time.Sleep(time.Second)
		if !l.status().Registered || len(gw.got("REGISTER")) != before {
			t.Errorf("an unchanged account was registered anew: %+v", l.status())
		}
		if len(other.got("OPTIONS")) == 0 {
			t.Error("the new trunk's gateway was not asked")
		}
		l.apply(second)
		time.Sleep(time.Second)
		sent := gw.got("REGISTER")
		if last := sent[len(sent)-1]; last.Header("Expires") != "0" {
			t.Errorf("the trunk that was taken away did not deregister: %s", last.Raw)
		}
		if names := len(l.s.Status()); names != 1 {
			t.Errorf("%d trunks", names)
		}
	})
}
