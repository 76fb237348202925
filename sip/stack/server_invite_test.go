package stack_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/stack"
)

// invitation is an INVITE transaction in fake time, seen from the phone.
type invitation struct {
	*bubble

	began  time.Time
	served int
}

// invited runs body with a handler of INVITE.
func invited(t *testing.T, handle func(s *stack.Stack, req *stack.Request), body func(*invitation)) {
	t.Helper()
	inv := &invitation{}
	inMemory(t, stack.Options{}, func(s *stack.Stack) {
		s.Handle(sip.INVITE, func(_ context.Context, req *stack.Request) {
			inv.served++
			handle(s, req)
		})
		s.Handle(sip.ACK, func(context.Context, *stack.Request) {})
	}, func(b *bubble) {
		inv.bubble, inv.began = b, time.Now()
		body(inv)
	})
}

func (v *invitation) say(method string) {
	v.phone.Send(here, method+" sip:8002@linehall.test SIP/2.0", "Via: SIP/2.0/UDP "+there+";branch=z9hG4bKinvite", "Max-Forwards: 70",
		"From: <sip:8001@linehall.test>;tag=a", "To: <sip:8002@linehall.test>", "Call-ID: invite", "Contact: <sip:8001@"+there+">", "CSeq: 1 "+method)
	synctest.Wait()
}

// until lets time pass and returns what arrived meanwhile, as codes.
func (v *invitation) until(after time.Duration) (codes []int) {
	v.Helper()
	time.Sleep(time.Until(v.began.Add(after)))
	synctest.Wait()
	for _, m := range v.phone.Pending() {
		codes = append(codes, m.Code)
	}
	return codes
}

func (v *invitation) hears(after time.Duration, want ...int) {
	v.Helper()
	if got := v.until(after); !slices.Equal(got, want) {
		v.Errorf("until %s: got %v, want %v", after, got, want)
	}
}

func respond(s *stack.Stack, req *stack.Request, code int) {
	_ = req.Tx.Respond(s.NewResponse(req, code, "Answer"))
}

// RFC 3261 §17.2.1: 100 when nobody has said anything for 200 ms, the last response again for a repeated INVITE, and a
// refusal again after T1, doubled up to T2, until Timer H.
func TestInviteWithoutAck(t *testing.T) {
	invited(t, func(s *stack.Stack, req *stack.Request) {
		time.Sleep(time.Second)
		respond(s, req, 486)
	}, func(v *invitation) {
		v.say("INVITE")
		v.hears(199 * time.Millisecond)
		v.hears(200*time.Millisecond, 100)
		v.say("INVITE")
		v.hears(999*time.Millisecond, 100)
		v.hears(time.Second, 486)
		v.say("INVITE")
		v.hears(1499*time.Millisecond, 486)
		v.hears(1500*time.Millisecond, 486)
		v.hears(2499 * time.Millisecond)
		v.hears(2500*time.Millisecond, 486)
		v.hears(4500*time.Millisecond, 486)
		v.hears(8500*time.Millisecond, 486)
		v.hears(12500*time.Millisecond, 486)
		v.hears(33*time.Second, 486, 486, 486, 486, 486)
		v.hears(time.Minute)
		if v.served != 1 {
			t.Errorf("served %d times", v.served)
		}
		v.say("INVITE")
		if v.until(2 * time.Minute); v.served != 2 {
			t.Error("the transaction did not end with Timer H")
		}
	})
}

// The ACK ends the repetitions; what is repeated behind it is absorbed for Timer I.
func TestInviteWithAck(t *testing.T) {
	invited(t, func(s *stack.Stack, req *stack.Request) { respond(s, req, 486) }, func(v *invitation) {
		v.say("INVITE")
		v.say("ACK")
		v.hears(time.Millisecond, 486)
		v.say("ACK")
		v.say("INVITE")
		v.hears(4*time.Second, []int{}...)
		if v.served != 1 {
			t.Errorf("served %d times", v.served)
		}
		v.until(6 * time.Second)
		v.say("INVITE")
		if v.served != 2 {
			t.Error("the transaction did not end with Timer I")
		}
	})
}

// RFC 6026 §7.1: after a 2xx a repeated INVITE is absorbed until Timer L, and only its sender repeats the 2xx.
func TestInviteAccepted(t *testing.T) {
	var tx *stack.ServerTx
	var ok *sip.Response
	invited(t, func(s *stack.Stack, req *stack.Request) {
		tx, ok = req.Tx, s.NewResponse(req, 200, "OK")
		_ = tx.Respond(s.NewResponse(req, 180, "Ringing"))
		_ = tx.Respond(ok)
	}, func(v *invitation) {
		v.say("INVITE")
		v.hears(time.Millisecond, 180, 200)
		v.say("INVITE")
		v.hears(time.Second)
		if err := tx.Respond(ok); err != nil {
			t.Error(err)
		}
		v.say("ACK")
		v.hears(31*time.Second, 200)
		v.say("INVITE")
		if v.hears(31900 * time.Millisecond); v.served != 1 {
			t.Errorf("served %d times", v.served)
		}
		v.until(33 * time.Second)
		v.say("INVITE")
		if v.served != 2 {
			t.Error("the transaction did not end with Timer L")
		}
	})
}

// A handler that never answers is answered for (Limits.HandlerTime).
func TestInviteNobodyAnswers(t *testing.T) {
	invited(t, func(*stack.Stack, *stack.Request) {}, func(v *invitation) {
		v.say("INVITE")
		codes := v.until(time.Hour)
		if len(codes) < 2 || codes[0] != 100 || codes[1] != 408 {
			t.Errorf("got %v", codes)
		}
	})
}
