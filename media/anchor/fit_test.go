package anchor_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"linehall/media/anchor"
	"linehall/media/line"
	"linehall/media/sdp"
)

const g729 = 50 * (60 + 18) * 8

// fill takes what is left of branch2's line but for some bit/s.
func (o *office) fill(but int64) *line.Lease {
	o.t.Helper()
	for _, s := range o.ledger.Snapshot() {
		if s.Site == "branch2" && s.Direction == line.Up {
			lease, err := o.ledger.Reserve(line.Voice, line.Demand{Site: "branch2", Rate: both(s.Free - but)})
			if err != nil {
				o.t.Fatal(err)
			}
			return lease
		}
	}
	o.t.Fatal("no line")
	return nil
}

// small is a call between the branches that agreed on G.729, on a line that is full since.
func (o *office) small() (*anchor.Path, *phone, *phone) {
	o.t.Helper()
	caller, callee := newPhone(o.t, "127.0.1.1"), newPhone(o.t, "127.0.2.1")
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "small"}, caller.party("branch1"))
	o.t.Cleanup(func() { c.Close() })
	p := c.Branch("callee", callee.party("branch2"))
	must(o.t)(p.Offer(anchor.Caller, caller.body("18 8 101", "a=rtpmap:101 telephone-event/8000")))
	must(o.t)(p.Answer(anchor.Callee, callee.body("18 101", "a=rtpmap:101 telephone-event/8000")))
	o.fill(0)
	return p, caller, callee
}

func media(t *testing.T, body []byte) []*sdp.Media {
	t.Helper()
	doc, err := sdp.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	return doc.Media()
}

// A phone that holds repeats its whole list of codecs. On a full line the hold goes through with the codecs for which
// there is room, and the reservation stays.
func TestHoldOnAFullLine(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	p, caller, callee := o.small()
	before := o.reserved("branch2")
	for _, direction := range []string{"a=sendonly", "a=inactive", "a=sendrecv"} {
		offer := must(t)(p.Offer(anchor.Caller, caller.body("18 8 0 101", "a=rtpmap:101 telephone-event/8000", direction)))
		if got := strings.Join(media(t, offer)[0].Formats(), " "); got != "18 101" || !strings.Contains(string(offer), direction) {
			t.Errorf("%s: offered %q in\n%s", direction, got, offer)
		}
		must(t)(p.Answer(anchor.Callee, callee.body("18")))
		if got := o.reserved("branch2"); got != before || o.reserved("branch1") != both(g729) {
			t.Errorf("%s: %v reserved, was %v", direction, got, before)
		}
	}
}

// A codec that needs more than there is, and nothing else: refused, and the call is what it was.
func TestLargerCodecOnAFullLine(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	p, caller, callee := o.small()
	var refused *line.Refused
	if _, err := p.Offer(anchor.Caller, caller.body("8")); !errors.As(err, &refused) || refused.Site != "branch2" {
		t.Errorf("err = %v", err)
	}
	if got := o.reserved("branch1"); got != both(g729) {
		t.Errorf("%v reserved", got)
	}
	must(t)(p.Offer(anchor.Callee, callee.body("18")))
	must(t)(p.Answer(anchor.Caller, caller.body("18")))
}

func withPicture(p *phone, formats string) []byte {
	return p.body(formats, fmt.Sprintf("m=video %d RTP/AVP 96", p.port+2), "b=AS:512", "a=rtpmap:96 H264/90000")
}

// A picture that does not fit is left out: nobody gives way for it, the call goes on in sound.
func TestPictureIsLeftOut(t *testing.T) {
	t.Parallel()
	for _, class := range []line.Class{line.Voice, line.Priority, line.Emergency} {
		t.Run(class.String(), func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			ended := 0
			other := o.anchor.Open(line.Holder{Class: line.Voice, Name: "other", Preempted: func(line.Preemption) { ended++ }}, newPhone(t, "127.0.0.1").party("hq"))
			t.Cleanup(func() { other.Close() })
			lent := o.fill(g711 + g729)
			must(t)(other.Branch("x", newPhone(t, "127.0.2.2").party("branch2")).Offer(anchor.Caller, newPhone(t, "127.0.0.1").body("18")))

			caller, callee := newPhone(t, "127.0.1.1"), newPhone(t, "127.0.2.1")
			c := o.anchor.Open(line.Holder{Class: class, Name: "call"}, caller.party("branch1"))
			t.Cleanup(func() { c.Close() })
			p := c.Branch("callee", callee.party("branch2"))
			offer := must(t)(p.Offer(anchor.Caller, withPicture(caller, "8")))
			if m := media(t, offer); len(m) != 2 || m[0].Port() == 0 || m[1].Port() != 0 {
				t.Errorf("the callee is offered\n%s", offer)
			}
			answer := must(t)(p.Answer(anchor.Callee, callee.body("8", "m=video 0 RTP/AVP 96")))
			if m := media(t, answer); len(m) != 2 || m[1].Port() != 0 {
				t.Errorf("the caller is answered\n%s", answer)
			}
			if o.reserved("branch1") != both(g711) || ended != 0 {
				t.Errorf("%v reserved, %d calls ended", o.reserved("branch1"), ended)
			}
			lent.Release() // there is room now: a new offer brings the picture, and it stays while the line fills up again
			must(t)(p.Offer(anchor.Caller, withPicture(caller, "8")))
			must(t)(p.Answer(anchor.Callee, withPicture(callee, "8")))
			with := o.reserved("branch1")
			o.fill(0)
			offer = must(t)(p.Offer(anchor.Caller, withPicture(caller, "8")))
			if m := media(t, offer); m[1].Port() == 0 || o.reserved("branch1") != with || with.Up < g711+512_000 {
				t.Errorf("%v reserved before and %v after the picture was offered again", with, o.reserved("branch1"))
			}
		})
	}
}

// A call of higher precedence takes the place of a lower one on both lines at once; the lower one's path is told.
func TestHigherCallTakesThePlace(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	var gone []line.Preemption
	caller, callee := newPhone(t, "127.0.1.1"), newPhone(t, "127.0.2.1")
	low := o.anchor.Open(line.Holder{Class: line.Voice, Name: "low", Preempted: func(by line.Preemption) { gone = append(gone, by) }}, caller.party("branch1"))
	p := low.Branch("callee", callee.party("branch2"))
	must(t)(p.Offer(anchor.Caller, caller.body("8")))
	must(t)(p.Answer(anchor.Callee, callee.body("8")))
	o.fill(0)
	high := o.anchor.Open(line.Holder{Class: line.Voice, Precedence: line.PrecedenceFlash, Name: "high"}, caller.party("branch1"))
	must(t)(high.Branch("callee", callee.party("branch2")).Offer(anchor.Caller, caller.body("8")))
	if len(gone) != 1 || gone[0].By != "high" || gone[0].Precedence != line.PrecedenceFlash {
		t.Errorf("told %+v", gone)
	}
	if got := o.reserved("branch1"); got != both(g711) {
		t.Errorf("%v reserved on branch1", got)
	}
	if _, err := p.Offer(anchor.Caller, caller.body("8 0")); !errors.Is(err, line.ErrPreempted) {
		t.Errorf("the victim's new offer: %v", err)
	}
	low.Close()
	high.Close()
	if got := o.reserved("branch1"); got != (line.Rate{}) {
		t.Errorf("%v reserved at the end", got)
	}
}

// A call inside a branch that must run through headquarters, for a recording say, takes of the line up and down, twice.
func TestHairpin(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	caller, callee := newPhone(t, "127.0.1.1"), newPhone(t, "127.0.1.2")
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch1"))
	p := c.Branch("callee", callee.party("branch1"))
	if p.Hairpin() != nil {
		t.Error("a demand before anything is agreed")
	}
	must(t)(p.Offer(anchor.Caller, caller.body("8 18")))
	must(t)(p.Answer(anchor.Callee, callee.body("8")))
	var would line.Rate
	for _, d := range p.Hairpin() {
		if d.Site != "branch1" {
			t.Errorf("demand %+v", d)
		}
		would = would.Plus(d.Rate)
	}
	if would != both(2*g711) || o.reserved("branch1") != (line.Rate{}) {
		t.Errorf("the hairpin would take %v; %v are reserved", would, o.reserved("branch1"))
	}

	p.Reroute(anchor.Relayed)
	if p.Kind() != anchor.Direct {
		t.Error("the path changed before the offer")
	}
	must(t)(p.Offer(anchor.Caller, caller.body("8")))
	if p.Rollback(); p.Kind() != anchor.Direct || o.reserved("branch1") != (line.Rate{}) || o.relay.Streams() != 0 {
		t.Errorf("refused: %s, %v reserved", p.Kind(), o.reserved("branch1"))
	}
	offer := must(t)(p.Offer(anchor.Caller, caller.body("8")))
	answer := must(t)(p.Answer(anchor.Callee, callee.body("8")))
	if p.Kind() != anchor.Relayed || o.reserved("branch1") != both(2*g711) {
		t.Errorf("%s, %v reserved", p.Kind(), o.reserved("branch1"))
	}
	for range 3 {
		callee.hears(caller.talk(answer))
		caller.hears(callee.talk(offer))
	}

	state := must(t)(p.State())
	p.Reroute(anchor.Direct)
	if got := must(t)(p.Offer(anchor.Callee, callee.body("8"))); string(got) != string(callee.body("8")) || p.Kind() != anchor.Relayed {
		t.Errorf("back to direct: %s, offered\n%s", p.Kind(), got)
	}
	must(t)(p.Answer(anchor.Caller, caller.body("8")))
	if p.Kind() != anchor.Direct || o.reserved("branch1") != (line.Rate{}) || o.relay.Streams() != 0 {
		t.Errorf("%s, %v reserved, %d streams", p.Kind(), o.reserved("branch1"), o.relay.Streams())
	}
	c.Close()

	back, again, err := o.anchor.Restore(line.Holder{Class: line.Voice, Name: "call"}, state)
	if err != nil {
		t.Fatal(err)
	}
	if again.Kind() != anchor.Relayed || o.reserved("branch1") != both(2*g711) || len(again.Hairpin()) != 2 {
		t.Errorf("after a restart: %s, %v reserved", again.Kind(), o.reserved("branch1"))
	}
	back.Close()
}

func TestHairpinThatDoesNotFit(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	caller, callee := newPhone(t, "127.0.2.1"), newPhone(t, "127.0.2.2")
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch2"))
	t.Cleanup(func() { c.Close() })
	p := c.Branch("callee", callee.party("branch2"))
	must(t)(p.Offer(anchor.Caller, caller.body("8")))
	must(t)(p.Answer(anchor.Callee, callee.body("8")))
	o.fill(g711 + 1000)
	p.Reroute(anchor.Relayed)
	var refused *line.Refused
	if _, err := p.Offer(anchor.Caller, caller.body("8")); !errors.As(err, &refused) {
		t.Errorf("err = %v", err)
	}
	if p.Kind() != anchor.Direct || o.relay.Streams() != 0 {
		t.Error("the path is not what it was")
	}
}

func TestCallsBetweenSitesAreNeverDirect(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	_, p, caller, _, _, _ := o.established()
	p.Reroute(anchor.Direct)
	if got := must(t)(p.Offer(anchor.Caller, caller.body("8"))); target(t, got).Addr() != ours {
		t.Errorf("offered\n%s", got)
	}
}

// Hold music is booked beside the path, downwards only; when it does not fit, there is silence.
func TestServe(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	caller, callee := newPhone(t, "127.0.2.1"), newPhone(t, "127.0.2.2")
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch2"))
	p := c.Branch("callee", callee.party("branch2"))
	must(t)(p.Offer(anchor.Caller, caller.body("8")))
	must(t)(p.Answer(anchor.Callee, callee.body("8")))
	music := sdp.Stream{PacketsPerSecond: 50, BytesPerPacket: 200}
	serve := func(key string) error { return c.Serve(key, callee.party("branch2"), music, sdp.Stream{}) }
	if err := serve("music"); err != nil {
		t.Fatal(err)
	}
	if err := serve("music"); err != nil {
		t.Fatal(err)
	}
	if got := o.reserved("branch2"); got != (line.Rate{Down: g711}) {
		t.Errorf("%v reserved", got)
	}
	c.Unserve("music")
	c.Unserve("music")
	lent := o.fill(0)
	var refused *line.Refused
	if err := serve("music"); !errors.As(err, &refused) || len(c.Served()) != 0 {
		t.Errorf("err = %v, served %v", err, c.Served())
	}
	lent.Release()
	if err := serve("music"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got := o.reserved("branch2"); got != (line.Rate{}) {
		t.Errorf("%v reserved at the end", got)
	}
	if err := serve("music"); !errors.Is(err, line.ErrReleased) {
		t.Errorf("err = %v", err)
	}
}
