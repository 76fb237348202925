package test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"linehall/cmd/linesim/phone"
)

// party is one end of a call in progress.
type party struct {
	*phone.Call

	extension string
}

// ownTone is what the phone of an extension sends, in Hz: far enough from everybody else's.
func ownTone(extension string) float64 {
	return map[string]float64{"8001": 520, "8002": 760, "8003": 1000, "2001": 1240, "2002": 1720, outsider: 1480}[extension]
}

// talksTo dials a number, of which partner's phone answers, and returns both ends.
func (p *desk) talksTo(number string, partner *desk) (own, other party) {
	p.t.Helper()
	before := len(partner.taken())
	ctx, cancel := context.WithTimeout(p.t.Context(), 15*time.Second)
	defer cancel()
	c, err := p.Call(ctx, number, phone.Sound{Send: ownTone(p.Extension())})
	if err != nil {
		p.t.Fatalf("%s calls %s: %v", p.Extension(), number, err)
	}
	return party{c, p.Extension()}, partner.takes(before)
}

// taken lists the calls that the phone has answered.
func (p *desk) taken() []*phone.Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// takes waits for the answered call after so many.
func (p *desk) takes(before int) party {
	p.t.Helper()
	var c *phone.Call
	eventually(p.t, 10*time.Second, p.Extension()+" answers", func() error {
		if taken := p.taken(); len(taken) > before {
			c = taken[before]
			return nil
		}
		return errors.New("no call")
	})
	return party{c, p.Extension()}
}

// talk checks that two parties hear each other's own tone, from now on.
func talk(t *testing.T, when string, a, b party) {
	t.Helper()
	listen := func(p, to party) {
		p.Expect(phone.Sound{Send: ownTone(p.extension), Expect: ownTone(to.extension)})
	}
	hears := func(p, from party) error {
		s := p.Stats()
		switch {
		case p.Ended() != "":
			return permanent{fmt.Errorf("the call of %s has ended", p.extension)}
		case s.Windows >= 5 && s.Heard:
			return nil
		case s.Windows >= 5 || s.Foreign > 0: // packets of whoever was there before were still under way
			listen(p, from)
		}
		return fmt.Errorf("%s hears %s in %d of %d windows, %d packets, %d of others", p.extension, from.extension, s.HeardParts, s.Windows, s.Received, s.Foreign)
	}
	listen(a, b)
	listen(b, a)
	eventually(t, 10*time.Second, when+": tones", func() error {
		return errors.Join(hears(a, b), hears(b, a))
	})
}

// over waits for the end of calls that the exchange, or the other side, ends.
func over(t *testing.T, when string, parties ...party) {
	t.Helper()
	for _, p := range parties {
		select {
		case <-p.Done():
			if p.Ended() != phone.ByPeer {
				t.Errorf("%s: the call of %s ended as %s", when, p.extension, p.Ended())
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the call of %s goes on", when, p.extension)
		}
	}
}

// hangUp ends a call at one end and waits for the other.
func hangUp(t *testing.T, a, b party) {
	t.Helper()
	if err := a.Hangup(t.Context()); err != nil {
		t.Errorf("%s hangs up: %v", a.extension, err)
	}
	over(t, "hang-up by "+a.extension, b)
}

// told checks the NOTIFYs of a transfer.
func told(t *testing.T, r phone.Referral, err error, final int) {
	t.Helper()
	if err != nil {
		t.Fatalf("transfer: %v (%+v)", err, r)
	}
	if r.Codes[0] != 100 || r.Final() != final || len(r.Faults) > 0 {
		t.Errorf("the transferor is told %v, want 100 … %d; faults %q", r.Codes, final, r.Faults)
	}
}

// Parties of calls change; independent phones hear it. Who was transferred, picked up or called back talks to whom it should, told
// apart by the tone of each phone.
func TestTransfersAndPickup(t *testing.T) {
	t.Parallel()
	a := startAppliance(t, func(s settings, _ *appliance) { s.set("appliance.language", "en") })
	d := newDesks(t, a)
	first, second, third, branch := d.at("8001", 21), d.at("8002", 22), d.at("8003", 23), d.in(1, "2001", 21)
	names := map[string]string{}
	for _, p := range []*desk{first, second, third, branch} {
		var row struct {
			DisplayName string `json:"display_name"`
		}
		a.decode(&row, "terminal", "show", p.Extension())
		names[p.Extension()] = row.DisplayName
	}
	for _, e := range []string{"8002", "8003"} {
		a.run("terminal", "features", e, "pickup_groups=board")
	}
	soon := phone.Reaction{RingFor: 300 * time.Millisecond}
	everybody := func(reaction phone.Reaction) {
		for _, p := range []*desk{first, second, third, branch} {
			p.answers(reaction)
			p.rung()
		}
	}
	bounded := func(t *testing.T) context.Context {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		t.Cleanup(cancel)
		return ctx
	}
	// quiet: what a test leaves behind on a phone must not make it busy for the next one.
	quiet := func(t *testing.T) {
		t.Helper()
		eventually(t, 10*time.Second, "no call is left", func() error {
			if n := a.metric("linehall_calls_active"); n != 0 {
				return fmt.Errorf("%v calls", n)
			}
			return nil
		})
	}

	for _, side := range []string{"caller", "callee"} {
		t.Run("blind, by the "+side, func(t *testing.T) {
			everybody(soon)
			by, party := first.talksTo("8002", second)
			if side == "callee" {
				by, party = party, by
			}
			talk(t, "before the transfer", by, party)
			if side == "callee" { // most phones hold first
				if err := by.Hold(bounded(t), true); err != nil {
					t.Fatal(err)
				}
			}
			before := len(branch.taken())
			r, err := by.Transfer(bounded(t), "2001")
			told(t, r, err, 200)
			if !slices.Contains(r.Codes, 180) {
				t.Errorf("not told of the ringing: %v", r.Codes)
			}
			target := branch.takes(before)
			over(t, "transferred", by)
			talk(t, "transferred", party, target)
			rings := branch.wantRings("transferred", party.extension)
			if len(rings) == 1 && !strings.Contains(rings[0].Header("Referred-By"), by.extension) {
				t.Errorf("Referred-By: %q", rings[0].Header("Referred-By"))
			}
			if party.Shown() != names["2001"] {
				t.Errorf("%s is shown %q, want %q", party.extension, party.Shown(), names["2001"])
			}
			hangUp(t, target, party)
			quiet(t)
		})
	}
	t.Run("attended", func(t *testing.T) {
		everybody(phone.Reaction{})
		one, party := first.talksTo("8002", second)
		talk(t, "before the transfer", one, party)
		if err := one.Hold(bounded(t), true); err != nil {
			t.Fatal(err)
		}
		two, target := first.talksTo("2001", branch)
		talk(t, "consultation", two, target)
		r, err := one.TransferTo(bounded(t), two.Call)
		told(t, r, err, 200)
		over(t, "transferred", one, two)
		talk(t, "transferred", party, target)
		if party.Shown() != names["2001"] || target.Shown() != names["8002"] {
			t.Errorf("shown to 8002 %q, to 2001 %q", party.Shown(), target.Shown())
		}
		hangUp(t, party, target)
		quiet(t)
	})
	t.Run("of what was transferred", func(t *testing.T) {
		everybody(phone.Reaction{})
		by, party := first.talksTo("8002", second)
		before := len(branch.taken())
		r, err := by.Transfer(bounded(t), "2001")
		told(t, r, err, 200)
		target := branch.takes(before)
		over(t, "transferred", by)
		talk(t, "transferred", party, target)
		before = len(third.taken())
		r, err = target.Transfer(bounded(t), "8003")
		told(t, r, err, 200)
		last := third.takes(before)
		over(t, "transferred again", target)
		talk(t, "transferred again", party, last)
		hangUp(t, party, last)
		quiet(t)
	})
	t.Run("without waiting for the outcome", func(t *testing.T) {
		everybody(phone.Reaction{RingFor: time.Second})
		second.answers(phone.Reaction{})
		by, party := first.talksTo("8002", second)
		talk(t, "before the transfer", by, party)
		ctx, leave := context.WithCancel(bounded(t))
		before := len(branch.taken())
		left := make(chan phone.Referral, 1)
		go func() { r, _ := by.Transfer(ctx, "2001"); left <- r }()
		eventually(t, 10*time.Second, "2001 rings", func() error {
			branch.mu.Lock()
			defer branch.mu.Unlock()
			if len(branch.rings) == 0 {
				return errors.New("silence")
			}
			return nil
		})
		leave()
		<-left
		if err := by.Hangup(bounded(t)); err != nil {
			t.Errorf("8001 hangs up: %v", err)
		}
		target := branch.takes(before)
		talk(t, "transferred", party, target)
		hangUp(t, party, target)
		quiet(t)
	})
	t.Run("in vain", func(t *testing.T) {
		everybody(phone.Reaction{})
		by, party := first.talksTo("8002", second)
		_, err := by.Transfer(bounded(t), "8999999")
		var refused *phone.Refusal
		if !errors.As(err, &refused) || refused.Code != 404 {
			t.Errorf("an unknown number: %v, want 404", err)
		}
		talk(t, "an unknown number", by, party)
		r, err := by.Transfer(bounded(t), "8009") // nobody is registered there
		told(t, r, err, 480)
		talk(t, "nobody there", by, party)
		branch.answers(phone.Reaction{RingFor: 200 * time.Millisecond, Code: 486})
		r, err = by.Transfer(bounded(t), "2001")
		told(t, r, err, 486)
		talk(t, "busy", by, party)
		hangUp(t, by, party)
		quiet(t)
	})
	for _, how := range []string{"by code", "by the lamp"} {
		t.Run("pickup "+how, func(t *testing.T) {
			everybody(phone.Reaction{RingFor: -1})
			lamp, err := third.Subscribe(t.Context(), "dialog", "8002")
			if err != nil {
				t.Fatal(err)
			}
			type outcome struct {
				call *phone.Call
				err  error
			}
			answered := make(chan outcome, 1)
			ctx := bounded(t)
			go func() {
				c, err := first.Call(ctx, "8002", phone.Sound{Send: ownTone("8001")})
				answered <- outcome{c, err}
			}()
			var ringing phone.Dialog
			eventually(t, 10*time.Second, "the lamp of 8002 blinks", func() error {
				found := false
				if ringing, found = lamp.Ringing(); !found {
					return fmt.Errorf("%q: %s", lamp.Lamp(), lamp.Watched().Body)
				}
				return nil
			})
			var c *phone.Call
			if how == "by code" {
				c, err = third.Call(ctx, "**8002", phone.Sound{Send: ownTone("8003")})
			} else {
				c, err = third.CallReplacing(ctx, "8002", ringing, phone.Sound{Send: ownTone("8003")})
			}
			if err != nil {
				t.Fatalf("pickup: %v", err)
			}
			caller := <-answered
			if caller.err != nil {
				t.Fatalf("the caller: %v", caller.err)
			}
			one, other := party{caller.call, "8001"}, party{c, "8003"}
			talk(t, "picked up", one, other)
			if c.Shown() != names["8001"] || caller.call.Shown() != names["8003"] {
				t.Errorf("shown to 8003 %q, to 8001 %q", c.Shown(), caller.call.Shown())
			}
			if faults := lamp.Watched().Faults; len(faults) > 0 {
				t.Errorf("lamp: %q", faults)
			}
			if err := lamp.Unsubscribe(ctx); err != nil {
				t.Errorf("lamp: %v", err)
			}
			hangUp(t, one, other)
			quiet(t)
		})
	}
	t.Run("call made by the appliance", func(t *testing.T) {
		everybody(soon)
		before, beforeSecond := len(first.taken()), len(second.taken())
		a.run("call", "dial", "8001", "8002")
		one := first.takes(before)
		other := second.takes(beforeSecond)
		talk(t, "dialled for 8001", one, other)
		first.wantRings("dialled for 8001", "8002")
		second.wantRings("dialled for 8001", "8001")
		if !other.Answered.After(one.Answered.Add(200 * time.Millisecond)) {
			t.Errorf("8002 answered %v after 8001: it rang too early", other.Answered.Sub(one.Answered))
		}
		hangUp(t, one, other)
		quiet(t)
	})
	t.Run("call completion", func(t *testing.T) {
		everybody(phone.Reaction{})
		one, other := second.talksTo("8003", third)
		talk(t, "busy with each other", one, other)
		third.answers(phone.Reaction{Code: 486})
		if got := first.code("8003"); !strings.HasPrefix(got, "486") {
			t.Fatalf("8003 is busy: %s", got)
		}
		if shown := first.code("*66"); shown != "8003: will call back" {
			t.Fatalf("*66 shows %q", shown)
		}
		third.answers(phone.Reaction{})
		before, beforeThird := len(first.taken()), len(third.taken())
		hangUp(t, one, other)
		back, wanted := first.takes(before), third.takes(beforeThird)
		talk(t, "called back", back, wanted)
		hangUp(t, back, wanted)
		quiet(t)
	})
}
