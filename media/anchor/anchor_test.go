package anchor_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"linehall/internal/site"
	"linehall/media/anchor"
	"linehall/media/line"
	"linehall/media/relay"
	"linehall/media/sdp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// One G.711 call of 20 ms packets on leased Ethernet.
const g711 = 50 * (200 + 18) * 8

var ours = netip.MustParseAddr("127.0.0.1")

type office struct {
	t      *testing.T
	ledger *line.Ledger
	relay  *relay.Relay
	anchor *anchor.Anchor
	reg    *prometheus.Registry
}

func newOffice(t *testing.T) *office {
	t.Helper()
	table, err := site.NewTable([]site.Site{
		{ID: "hq", Main: true},
		{ID: "branch1", Line: &site.Line{Up: 1_000_000, Down: 1_000_000}},
		{ID: "branch2", Line: &site.Line{Up: 1_000_000, Down: 1_000_000}},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := &office{t: t, ledger: line.NewLedger(table, nil, nil)}
	if o.relay, err = relay.New(relay.Options{First: 20000, Last: 29999}); err != nil {
		t.Fatal(err)
	}
	o.reg = prometheus.NewRegistry()
	o.anchor = anchor.New(anchor.Options{
		Relay: o.relay, Ledger: o.ledger, Log: slog.New(slog.DiscardHandler), Registerer: o.reg,
	})
	return o
}

// reserved returns what calls hold of a line, up and down.
func (o *office) reserved(id site.ID) (r line.Rate) {
	for _, s := range o.ledger.Snapshot() {
		switch {
		case s.Site != id:
		case s.Direction == line.Up:
			r.Up = s.Reserved
		default:
			r.Down = s.Reserved
		}
	}
	return r
}

func both(bps int64) line.Rate { return line.Rate{Up: bps, Down: bps} }

// wants fails the test unless the lines of both branches hold that much.
func (o *office) wants(when string, branch1, branch2 line.Rate) {
	o.t.Helper()
	if a, b := o.reserved("branch1"), o.reserved("branch2"); a != branch1 || b != branch2 {
		o.t.Errorf("%s: %v and %v reserved, want %v and %v", when, a, b, branch1, branch2)
	}
}

type phone struct {
	t    *testing.T
	host netip.Addr
	conn *net.UDPConn
	port uint16
	seq  uint16
}

func newPhone(t *testing.T, host string) *phone {
	t.Helper()
	p := &phone{t: t, host: netip.MustParseAddr(host)}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.host, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p.conn, p.port = conn, conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	return p
}

func (p *phone) party(id site.ID) anchor.Party {
	return anchor.Party{Site: id, Remote: p.host, Local: ours}
}

// body is a description of the phone with one audio section.
func (p *phone) body(formats string, extra ...string) []byte {
	lines := append([]string{
		"v=0", "o=- 1 1 IN IP4 " + p.host.String(), "s=-", "c=IN IP4 " + p.host.String(), "t=0 0",
		fmt.Sprintf("m=audio %d RTP/AVP %s", p.port, formats),
	}, extra...)
	return []byte(strings.Join(lines, "\r\n") + "\r\n")
}

// heldBody is the same with the address 0.0.0.0.
func (p *phone) heldBody(formats string) []byte {
	return bytes.Replace(p.body(formats), []byte("c=IN IP4 "+p.host.String()), []byte("c=IN IP4 0.0.0.0"), 1)
}

// talk sends a packet to where a description says.
func (p *phone) talk(body []byte) []byte {
	p.t.Helper()
	p.seq++
	b := make([]byte, 172)
	b[0], b[1] = 0x80, 8
	binary.BigEndian.PutUint16(b[2:], p.seq)
	binary.BigEndian.PutUint32(b[4:], uint32(p.seq)*160)
	binary.BigEndian.PutUint32(b[8:], uint32(p.port))
	if _, err := p.conn.WriteToUDPAddrPort(b, target(p.t, body)); err != nil {
		p.t.Fatal(err)
	}
	return b
}

func target(t *testing.T, body []byte) netip.AddrPort {
	t.Helper()
	d, err := sdp.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	to, ok := d.Media()[0].Target()
	if !ok {
		t.Fatalf("no target in %s", body)
	}
	return to
}

func (p *phone) hears(b []byte) {
	p.t.Helper()
	if got := p.listen(15 * time.Second); !bytes.Equal(got, b) {
		p.t.Fatalf("heard %x, want %x", got, b)
	}
}

func (p *phone) listen(wait time.Duration) []byte {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		p.t.Fatal(err)
	}
	b := make([]byte, 2048)
	n, err := p.conn.Read(b)
	if err != nil {
		return nil
	}
	return b[:n]
}

func must(t *testing.T) func(body []byte, err error) []byte {
	t.Helper()
	return func(body []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
}

// established returns a call between two branches with G.711, and the bodies that both phones got.
func (o *office) established() (c *anchor.Call, p *anchor.Path, caller, callee *phone, toCaller, toCallee []byte) {
	o.t.Helper()
	caller, callee = newPhone(o.t, "127.0.1.1"), newPhone(o.t, "127.0.2.1")
	c = o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch1"))
	o.t.Cleanup(func() { c.Close() })
	p = c.Branch("callee", callee.party("branch2"))
	toCallee = must(o.t)(p.Offer(anchor.Caller, caller.body("8 0 18")))
	toCaller = must(o.t)(p.Answer(anchor.Callee, callee.body("8")))
	return c, p, caller, callee, toCaller, toCallee
}

func TestInsideOneSiteMediaIsDirect(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	caller, callee := newPhone(t, "127.0.1.1"), newPhone(t, "127.0.1.2")
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch1"))
	p := c.Branch("callee", callee.party("branch1"))
	if p.Kind() != anchor.Direct {
		t.Fatalf("path is %s", p.Kind())
	}
	offer, answer := caller.body("8 18"), callee.body("18")
	if got := must(t)(p.Offer(anchor.Caller, offer)); !bytes.Equal(got, offer) {
		t.Errorf("offer became %s", got)
	}
	if got := must(t)(p.Answer(anchor.Callee, answer)); !bytes.Equal(got, answer) {
		t.Errorf("answer became %s", got)
	}
	o.wants("in the call", line.Rate{}, line.Rate{})
	if o.relay.Streams() != 0 {
		t.Error("the relay has a stream")
	}
	want := [2]anchor.LegStats{
		{Side: anchor.Caller, Site: "branch1", Codec: "G729"}, {Side: anchor.Callee, Site: "branch1", Codec: "G729"},
	}
	if diff := cmp.Diff(want, c.Close(), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" || p.Codec() != "G729" {
		t.Errorf("codec %s, stats (-want +got):\n%s", p.Codec(), diff)
	}
}

func TestBetweenSitesMediaIsRelayed(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c, p, caller, callee, toCaller, toCallee := o.established()
	if p.Kind() != anchor.Relayed || p.Codec() != "PCMA" {
		t.Errorf("path %s, codec %s", p.Kind(), p.Codec())
	}
	for range 20 {
		callee.hears(caller.talk(toCaller))
		caller.hears(callee.talk(toCallee))
	}
	legs := c.Close()
	for side, l := range legs {
		if l.Packets != 20 || l.Lost != 0 || l.Bytes != 20*200 || l.MOS < 4 || l.Codec != "PCMA" || l.Side != anchor.Side(side) {
			t.Errorf("%s: %+v", l.Side, l)
		}
	}
	if legs[anchor.Caller].Site != "branch1" || legs[anchor.Callee].Remote != netip.AddrPortFrom(callee.host, callee.port) {
		t.Errorf("legs %+v", legs)
	}
	want := `
# HELP linehall_media_paths_total Media paths of calls on which both sides agreed, by how they run.
# TYPE linehall_media_paths_total counter
linehall_media_paths_total{path="direct"} 0
linehall_media_paths_total{path="gateway"} 0
linehall_media_paths_total{path="relay"} 1
`
	if err := testutil.GatherAndCompare(o.reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if again := c.Close(); again != legs {
		t.Errorf("a second Close says %+v", again)
	}
	if o.relay.Streams() != 0 {
		t.Error("a stream stayed open")
	}
	o.wants("after the call", line.Rate{}, line.Rate{})
}

func TestOnlyWhatMustChangeChanges(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	caller, callee := newPhone(t, "127.0.1.1"), newPhone(t, "127.0.2.1")
	p := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch1"))
	t.Cleanup(func() { p.Close() })
	path := p.Branch("callee", callee.party("branch2"))
	extra := []string{
		"a=rtpmap:8 PCMA/8000", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj", "a=x-unknown: y ",
		"a=rtcp:5001 IN IP4 127.0.1.1", "a=sendrecv",
	}
	in := caller.body("8 101", extra...)
	out := must(t)(path.Offer(anchor.Caller, in))
	port := target(t, out).Port()
	want := strings.NewReplacer(
		"c=IN IP4 127.0.1.1", "c=IN IP4 127.0.0.1", fmt.Sprintf("m=audio %d", caller.port), fmt.Sprintf("m=audio %d", port),
		"a=rtcp:5001 IN IP4 127.0.1.1", fmt.Sprintf("a=rtcp:%d IN IP4 127.0.0.1", port+1),
	).Replace(string(in))
	if diff := cmp.Diff(want, string(out)); diff != "" || port%2 != 0 {
		t.Errorf("port %d, body (-want +got):\n%s", port, diff)
	}
}

func TestReservationFollowsOfferAndAnswer(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	caller, callee := newPhone(t, "127.0.1.1"), newPhone(t, "127.0.2.1")
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch1"))
	p := c.Branch("callee", callee.party("branch2"))
	must(t)(p.Offer(anchor.Caller, caller.body("18 8")))
	o.wants("offered", both(g711), both(g711))
	must(t)(p.Answer(anchor.Callee, callee.body("18")))
	const g729 = 50 * (60 + 18) * 8
	o.wants("answered", both(g729), both(g729))
	must(t)(p.Offer(anchor.Callee, callee.body("8 18")))
	o.wants("offered again", both(g711), both(g711))
	p.Rollback()
	o.wants("rolled back", both(g729), both(g729))
	must(t)(p.Answer(anchor.Callee, callee.body("18")))
	c.Close()
	o.wants("closed", line.Rate{}, line.Rate{})
}

func TestPacketTimesMayDiffer(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	caller, callee := newPhone(t, "127.0.1.1"), newPhone(t, "127.0.2.1")
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch1"))
	t.Cleanup(func() { c.Close() })
	p := c.Branch("callee", callee.party("branch2"))
	must(t)(p.Offer(anchor.Caller, caller.body("8", "a=ptime:10")))
	must(t)(p.Answer(anchor.Callee, callee.body("8", "a=ptime:20")))
	const g711In10 = 100 * (120 + 18) * 8 // what the caller gets
	o.wants("answered", line.Rate{Up: g711, Down: g711In10}, line.Rate{Up: g711In10, Down: g711})
}

func TestFullLineRefusesTheOffer(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	if _, err := o.ledger.Reserve(line.Voice, line.Demand{Site: "branch2", Rate: both(900_000)}); err != nil {
		t.Fatal(err)
	}
	caller, callee := newPhone(t, "127.0.1.1"), newPhone(t, "127.0.2.1")
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch1"))
	t.Cleanup(func() { c.Close() })
	_, err := c.Branch("callee", callee.party("branch2")).Offer(anchor.Caller, caller.body("8"))
	var refused *line.Refused
	if !errors.As(err, &refused) || refused.Site != "branch2" {
		t.Fatalf("err = %v, want a refusal by branch2", err)
	}
	if o.relay.Streams() != 0 {
		t.Error("the relay has a stream")
	}
	o.wants("refused", line.Rate{}, both(900_000))

	e := o.anchor.Open(line.Holder{Class: line.Emergency, Name: "emergency"}, caller.party("branch1"))
	must(t)(e.Branch("callee", callee.party("branch2")).Offer(anchor.Caller, caller.body("8")))
	e.Close()
}

func TestBranchesShareTheReservation(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	caller := newPhone(t, "127.0.1.1")
	desk, cordless, far := newPhone(t, "127.0.2.1"), newPhone(t, "127.0.2.2"), newPhone(t, "127.0.0.1")
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch1"))
	paths := []*anchor.Path{
		c.Branch("desk", desk.party("branch2")), c.Branch("cordless", cordless.party("branch2")), c.Branch("hq", far.party("hq")),
	}
	for _, p := range paths {
		must(t)(p.Offer(anchor.Caller, caller.body("8")))
	}
	o.wants("ringing", both(g711), both(g711))
	must(t)(paths[0].Answer(anchor.Callee, desk.body("8")))
	toCaller := must(t)(paths[2].Answer(anchor.Callee, far.body("8")))
	c.Keep(paths[2])
	o.wants("answered at headquarters", both(g711), line.Rate{})
	if n := o.relay.Streams(); n != 1 {
		t.Errorf("%d streams are open", n)
	}
	far.hears(caller.talk(toCaller))
	if _, err := paths[0].Offer(anchor.Caller, caller.body("8")); !errors.Is(err, anchor.ErrClosed) {
		t.Errorf("a closed path took an offer: %v", err)
	}
	if legs := c.Close(); legs[anchor.Caller].Packets != 1 {
		t.Errorf("legs %+v", legs)
	}
}

func TestLateOffer(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	caller, callee := newPhone(t, "127.0.1.1"), newPhone(t, "127.0.2.1")
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch1"))
	t.Cleanup(func() { c.Close() })
	p := c.Branch("callee", callee.party("branch2"))
	toCaller := must(t)(p.Offer(anchor.Callee, callee.body("8 0"))) // in the 200
	toCallee := must(t)(p.Answer(anchor.Caller, caller.body("8")))  // in the ACK
	callee.hears(caller.talk(toCaller))
	caller.hears(callee.talk(toCallee))
}

func TestEarlyMediaBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	caller, callee := newPhone(t, "127.0.1.1"), newPhone(t, "127.0.2.1")
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, caller.party("branch1"))
	t.Cleanup(func() { c.Close() })
	p := c.Branch("callee", callee.party("branch2"))
	toCallee := must(t)(p.Offer(anchor.Caller, caller.body("8")))
	caller.hears(callee.talk(toCallee)) // ringing tone overtakes the 183
	toCaller := must(t)(p.Answer(anchor.Callee, callee.body("8")))
	again := must(t)(p.Answer(anchor.Callee, callee.body("8"))) // the 200 repeats the 183
	if !bytes.Equal(toCaller, again) {
		t.Errorf("the second answer became %s, the first %s", again, toCaller)
	}
	callee.hears(caller.talk(toCaller))
}

func TestHoldKeepsEverything(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		hold func(p *phone) []byte
	}{
		{"sendonly", func(p *phone) []byte { return p.body("8", "a=sendonly") }},
		{"inactive", func(p *phone) []byte { return p.body("8", "a=inactive") }},
		{"0.0.0.0", func(p *phone) []byte { return p.heldBody("8") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			_, p, caller, callee, toCaller, toCallee := o.established()
			callee.hears(caller.talk(toCaller))
			port := target(t, toCallee).Port()

			held := must(t)(p.Offer(anchor.Caller, tc.hold(caller)))
			if !bytes.Contains(held, fmt.Appendf(nil, "m=audio %d ", port)) {
				t.Errorf("the port moved: %s", held)
			}
			if tc.name == "0.0.0.0" && !bytes.Contains(held, []byte("c=IN IP4 0.0.0.0")) {
				t.Errorf("the hold does not reach the other side: %s", held)
			}
			must(t)(p.Answer(anchor.Callee, callee.body("8", "a=recvonly")))
			o.wants("on hold", both(g711), both(g711))

			must(t)(p.Offer(anchor.Caller, caller.body("8")))
			must(t)(p.Answer(anchor.Callee, callee.body("8")))
			callee.hears(caller.talk(toCaller))
			caller.hears(callee.talk(toCallee))
		})
	}
}

func TestReInviteMovesTheMediaAtTheAnswer(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	_, p, caller, callee, toCaller, toCallee := o.established()
	callee.hears(caller.talk(toCaller))
	caller.hears(callee.talk(toCallee))

	other := newPhone(t, "127.0.1.1") // the same phone, another port
	toCallee = must(t)(p.Offer(anchor.Caller, other.body("8")))
	caller.hears(callee.talk(toCallee)) // not agreed yet
	p.Rollback()
	caller.hears(callee.talk(toCallee)) // and never was

	toCallee = must(t)(p.Offer(anchor.Caller, other.body("8")))
	toCaller = must(t)(p.Answer(anchor.Callee, callee.body("8")))
	other.hears(callee.talk(toCallee))
	callee.hears(other.talk(toCaller))
}

func TestVideoComesAndGoes(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c, p, caller, callee, _, _ := o.established()
	video := func(port int) []string {
		return []string{fmt.Sprintf("m=video %d RTP/AVP 96", port), "b=AS:128", "a=rtpmap:96 H264/90000"}
	}
	must(t)(p.Offer(anchor.Caller, caller.body("8", video(5000)...)))
	withVideo := o.reserved("branch1")
	if withVideo.Up <= g711+128_000 || o.relay.Streams() != 2 {
		t.Errorf("%v reserved, %d streams", withVideo, o.relay.Streams())
	}
	body := must(t)(p.Answer(anchor.Callee, callee.body("8", video(0)...)))
	if !bytes.Contains(body, []byte("m=video 0 ")) || o.relay.Streams() != 1 {
		t.Errorf("rejected video: %d streams, %s", o.relay.Streams(), body)
	}
	o.wants("video rejected", both(g711), both(g711))

	must(t)(p.Offer(anchor.Callee, callee.body("8", video(6000)...)))
	p.Rollback()
	if o.relay.Streams() != 1 {
		t.Errorf("rolled back: %d streams", o.relay.Streams())
	}
	must(t)(p.Offer(anchor.Callee, callee.body("8", video(6000)...)))
	must(t)(p.Answer(anchor.Caller, caller.body("8", video(5000)...)))
	if o.reserved("branch2") != withVideo || o.relay.Streams() != 2 {
		t.Errorf("accepted video: %v reserved, %d streams", o.reserved("branch2"), o.relay.Streams())
	}
	c.Close()
	if o.relay.Streams() != 0 {
		t.Error("a stream stayed open")
	}
	o.wants("closed", line.Rate{}, line.Rate{})
}

func TestFaxTakesTheCallOver(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	_, p, caller, callee, _, _ := o.established()
	fax := func(ph *phone) []byte {
		return bytes.Replace(ph.body("t38"), []byte("RTP/AVP"), []byte("udptl"), 1)
	}
	image := func(ph *phone) []byte { return bytes.Replace(fax(ph), []byte("m=audio"), []byte("m=image"), 1) }
	toCallee := must(t)(p.Offer(anchor.Caller, image(caller)))
	toCaller := must(t)(p.Answer(anchor.Callee, image(callee)))
	if o.relay.Streams() != 1 {
		t.Errorf("%d streams", o.relay.Streams())
	}
	callee.hears(caller.talk(toCaller))
	caller.hears(callee.talk(toCallee))
	o.wants("fax", both(g711), both(g711))
}

func TestMediaOverTCPKeepsItsAddress(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	_, p, caller, _, _, _ := o.established()
	body := must(t)(p.Offer(anchor.Caller, caller.body("8", "m=message 2855 TCP/MSRP *", "a=path:msrp://x")))
	if !bytes.Contains(body, []byte("m=message 2855 TCP/MSRP *\r\nc=IN IP4 127.0.1.1\r\na=path")) {
		t.Errorf("got %s", body)
	}
}

func TestBadBodiesChangeNothing(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	_, p, caller, callee, toCaller, _ := o.established()
	var bad *sdp.ParseError
	if _, err := p.Offer(anchor.Caller, []byte("nonsense")); !errors.As(err, &bad) {
		t.Errorf("err = %v", err)
	}
	if _, err := p.Answer(anchor.Callee, []byte("v=0\r\nm=audio\r\n")); !errors.As(err, &bad) || bad.Line != 2 {
		t.Errorf("err = %v", err)
	}
	if _, err := p.Answer(anchor.Caller, caller.body("8")); !errors.Is(err, anchor.ErrNoOffer) {
		t.Errorf("the side that offered answered: %v", err)
	}
	callee.hears(caller.talk(toCaller))
	o.wants("after", both(g711), both(g711))
}

func TestRestore(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	c, p, caller, callee, toCaller, toCallee := o.established()
	callee.hears(caller.talk(toCaller))
	caller.hears(callee.talk(toCallee))
	state, err := p.State()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()

	if _, err := o.ledger.Reserve(line.Voice, line.Demand{Site: "branch1", Rate: both(900_000)}); err != nil {
		t.Fatal(err) // the line is full: the call goes on all the same
	}
	back, path, err := o.anchor.Restore(line.Holder{Class: line.Voice, Name: "call"}, state)
	if err != nil {
		t.Fatal(err)
	}
	o.wants("restored", both(900_000+g711), both(g711))
	if path.Kind() != anchor.Relayed || path.Codec() != "PCMA" {
		t.Errorf("path %s, codec %s", path.Kind(), path.Codec())
	}
	caller.hears(callee.talk(toCallee)) // to the same ports as before
	callee.hears(caller.talk(toCaller))
	must(t)(path.Offer(anchor.Callee, callee.body("8", "a=sendonly")))
	must(t)(path.Answer(anchor.Caller, caller.body("8", "a=recvonly")))
	for _, l := range back.Close() {
		if l.Packets != 2 || l.MOS < 4 {
			t.Errorf("%s: %+v", l.Side, l)
		}
	}
	o.wants("closed", both(900_000), line.Rate{})
}

func TestRestoreRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for _, state := range []string{"", "{}", `{"version":1,"kind":"kernel"}`, `{"version":1,"kind":"relay","streams":[{"ports":[0,0]}]}`} {
		if _, _, err := o.anchor.Restore(line.Holder{Class: line.Voice, Name: "x"}, []byte(state)); err == nil {
			t.Errorf("restored %q", state)
		}
	}
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, anchor.Party{Site: "branch1", Local: ours})
	p := c.Branch("x", anchor.Party{Site: "branch1", Local: ours})
	if _, err := p.State(); !errors.Is(err, anchor.ErrNotAgreed) {
		t.Errorf("err = %v", err)
	}
	must(t)(p.Offer(anchor.Caller, newPhone(t, "127.0.1.1").body("8")))
	must(t)(p.Answer(anchor.Callee, newPhone(t, "127.0.1.1").body("8")))
	state, err := p.State()
	if err != nil {
		t.Fatal(err)
	}
	_, back, err := o.anchor.Restore(line.Holder{Class: line.Voice, Name: "call"}, state)
	if err != nil || back.Kind() != anchor.Direct || back.Codec() != "PCMA" {
		t.Errorf("a direct call: %v", err)
	}
}

func TestAddressesOfDualStackSocketsAreIPv4(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	caller, callee := newPhone(t, "127.0.1.1"), newPhone(t, "127.0.2.1")
	mapped := func(p *phone, id site.ID) anchor.Party {
		return anchor.Party{
			Site: id, Remote: netip.AddrFrom16(p.host.As16()), Local: netip.AddrFrom16(ours.As16()),
		}
	}
	c := o.anchor.Open(line.Holder{Class: line.Voice, Name: "call"}, mapped(caller, "branch1"))
	t.Cleanup(func() { c.Close() })
	p := c.Branch("callee", mapped(callee, "branch2"))
	toCallee := must(t)(p.Offer(anchor.Caller, caller.body("8")))
	must(t)(p.Answer(anchor.Callee, callee.body("8")))
	if !bytes.Contains(toCallee, []byte("c=IN IP4 127.0.0.1\r\n")) {
		t.Errorf("got %s", toCallee)
	}
	caller.hears(callee.talk(toCallee))
}
