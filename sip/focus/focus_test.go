package focus_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/call"
	"linehall/sip/focus"
	"linehall/sip/stack"
)

// rooms is one room; it notes what happens.
type rooms struct {
	mu     sync.Mutex
	room   focus.Room
	pin    string
	err    error
	events []string
	voice  int
	heard  focus.Listener
	takes  []func([]byte)
}

func (r *rooms) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, fmt.Sprintf(format, args...))
}

func (r *rooms) noted(what string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.events, what)
}

func (r *rooms) Room(number string) (focus.Room, bool) { return r.room, number == r.room.Number }

func (r *rooms) Check(_, pin string) focus.Role {
	switch pin {
	case r.pin:
		return focus.Guest
	case "97531":
		return focus.Chair
	}
	return focus.Nobody
}

func (r *rooms) Join(_ context.Context, number string, who focus.Caller, to focus.Listener) (focus.Seat, error) {
	if r.err != nil {
		return nil, r.err
	}
	r.note("join %s %s chair=%v invited=%v", number, who.Number, who.Chair, who.Invited)
	r.mu.Lock()
	r.heard = to
	r.mu.Unlock()
	to.Tell(focus.Entered)
	return r, nil
}

func (r *rooms) Listen(_ string, takes []func([]byte)) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.takes = takes
	return func() { r.note("nobody listens") }
}

func (r *rooms) Voice(focus.Codec, []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.voice++
}
func (r *rooms) Pass([]byte)       {}
func (r *rooms) Level(uint8)       {}
func (r *rooms) Press(a focus.Act) { r.note("press %d", a) }
func (r *rooms) Member() string    { return "phone:8001" }
func (r *rooms) Leave()            { r.note("leave") }

// exchange is the near end: what the call core is to the focus.
type exchange struct {
	*stack.Stack
	t       *testing.T
	rooms   *rooms
	focus   *focus.Service
	mu      sync.Mutex
	byes    []string
	invites chan *stack.Request
}

func newExchange(t *testing.T, r *rooms) *exchange {
	t.Helper()
	near, far := stack.NewInside()
	x := &exchange{t: t, rooms: r, invites: make(chan *stack.Request, 4)}
	var err error
	if x.Stack, err = stack.New(stack.Options{Packets: []stack.PacketSocket{near}, Domain: "linehall.test"}); err != nil {
		t.Fatal(err)
	}
	x.Handle(sip.BYE, func(_ context.Context, req *stack.Request) {
		x.mu.Lock()
		if h := req.GetHeader("Reason"); h != nil {
			x.byes = append(x.byes, h.Value())
		}
		x.mu.Unlock()
		_ = req.Tx.Respond(x.NewResponse(req, 200, "OK"))
	})
	x.Handle(sip.INVITE, func(_ context.Context, req *stack.Request) { x.invites <- req })
	x.Handle(sip.ACK, func(context.Context, *stack.Request) {})
	if x.focus, err = focus.New(focus.Options{Packets: far, Domain: "linehall.test", Rooms: r, Ours: func(n string) bool { return len(n) == 4 }}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	inner, end := context.WithCancel(ctx)
	var outer, g sync.WaitGroup
	outer.Go(func() { _ = x.Run(ctx) })
	g.Go(func() { _ = x.focus.Run(inner) })
	t.Cleanup(func() { end(); g.Wait(); cancel(); outer.Wait() }) // it says goodbye to telephones that are there
	eventually(t, "the focus runs", func() bool { return x.Ready() == nil && x.focus.Ready() == nil })
	return x
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// phone is a telephone's end of a call: a port that hears and speaks.
type phone struct {
	x     *exchange
	rtp   *net.UDPConn
	to    netip.AddrPort
	res   *sip.Response
	inv   *sip.Request
	seq   uint32
	stamp uint32
	count uint16
}

func newPhone(x *exchange) *phone {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = c.Close() })
	return &phone{x: x, rtp: c, seq: 1}
}

func (p *phone) sdp() []byte {
	port := p.rtp.LocalAddr().(*net.UDPAddr).Port
	return fmt.Appendf(nil, "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n", port)
}

// dial calls a room and returns the code.
func (p *phone) dial(room, number string, headers ...string) int {
	x := p.x
	x.t.Helper()
	inv := sip.NewRequest(sip.INVITE, sip.Uri{Scheme: "sip", User: room, Host: "192.0.0.8"})
	inv.AppendHeader(&sip.FromHeader{DisplayName: "Li", Address: sip.Uri{Scheme: "sip", User: number, Host: "linehall.test"}, Params: sip.HeaderParams{{K: "tag", V: "a" + number}}})
	inv.AppendHeader(&sip.ToHeader{Address: sip.Uri{Scheme: "sip", User: room, Host: "linehall.test"}})
	id := sip.CallIDHeader(fmt.Sprintf("%s-%d", number, p.rtp.LocalAddr().(*net.UDPAddr).Port))
	inv.AppendHeader(&id)
	inv.AppendHeader(&sip.CSeqHeader{SeqNo: p.seq, MethodName: sip.INVITE})
	inv.AppendHeader(&sip.ContactHeader{Address: sip.Uri{Scheme: "sip", User: number, Host: "192.0.0.8", Port: 5059}})
	inv.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	for i := 0; i+1 < len(headers); i += 2 {
		inv.AppendHeader(sip.NewHeader(headers[i], headers[i+1]))
	}
	inv.SetBody(p.sdp())
	tx, err := x.Request(x.t.Context(), inv, stack.InsideFlow())
	if err != nil {
		x.t.Fatal(err)
	}
	for res := range tx.Responses() {
		if res.IsProvisional() {
			continue
		}
		p.res, p.inv = res, inv
		if res.IsSuccess() {
			p.in(sip.ACK, nil)
			p.learn(res.Body())
		}
		return res.StatusCode
	}
	x.t.Fatal("no final response")
	return 0
}

func (p *phone) learn(body []byte) {
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, "m=audio "); ok {
			var port uint16
			_, _ = fmt.Sscan(rest, &port)
			p.to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
		}
	}
}

// in sends a request in the dialog and returns its final code.
func (p *phone) in(method sip.RequestMethod, body []byte, headers ...string) int {
	x := p.x
	req := sip.NewRequest(method, p.res.Contact().Address)
	req.AppendHeader(sip.HeaderClone(p.inv.From()))
	req.AppendHeader(sip.HeaderClone(p.res.To()))
	req.AppendHeader(sip.HeaderClone(p.inv.CallID()))
	if method != sip.ACK {
		p.seq++
	}
	req.AppendHeader(&sip.CSeqHeader{SeqNo: p.seq, MethodName: method})
	req.AppendHeader(&sip.ContactHeader{Address: sip.Uri{Scheme: "sip", User: "x", Host: "192.0.0.8", Port: 5059}})
	for i := 0; i+1 < len(headers); i += 2 {
		req.AppendHeader(sip.NewHeader(headers[i], headers[i+1]))
	}
	req.SetBody(body)
	if method == sip.ACK {
		_ = x.Send(x.t.Context(), req, stack.InsideFlow())
		return 0
	}
	tx, err := x.Request(x.t.Context(), req, stack.InsideFlow())
	if err != nil {
		x.t.Fatal(err)
	}
	for res := range tx.Responses() {
		if !res.IsProvisional() {
			if method == sip.INVITE && res.IsSuccess() {
				p.res = res
				p.in(sip.ACK, nil)
			}
			return res.StatusCode
		}
	}
	return 0
}

// speak sends a packet of the voice.
func (p *phone) speak() {
	b := make([]byte, 12+160)
	b[0], b[1] = 0x80, 8
	p.count++
	p.stamp += 160
	binary.BigEndian.PutUint16(b[2:], p.count)
	binary.BigEndian.PutUint32(b[4:], p.stamp)
	binary.BigEndian.PutUint32(b[8:], 77)
	_, _ = p.rtp.WriteToUDPAddrPort(b, p.to)
}

// keys presses keys by INFO.
func (p *phone) keys(keys string) {
	for _, k := range keys {
		p.in(sip.INFO, fmt.Appendf(nil, "Signal=%c\r\nDuration=100\r\n", k), "Content-Type", "application/dtmf-relay")
	}
}

func openRoom() *rooms { return &rooms{room: focus.Room{Number: "9000", Name: "Hall", Voices: 2}} }

func closedRoom() *rooms {
	return &rooms{room: focus.Room{Number: "9000", Name: "Hall", Voices: 2, NeedsPIN: true, PINDigits: []int{4, 5}}, pin: "2468"}
}

func (x *exchange) endedFor(reason string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.ContainsFunc(x.byes, func(b string) bool { return strings.Contains(b, reason) })
}

func TestWithoutPINATelephoneIsInAtOnce(t *testing.T) {
	t.Parallel()
	x := newExchange(t, openRoom())
	p := newPhone(x)
	if code := p.dial("9000", "8001", call.HeaderSite, "branch1"); code != 200 {
		t.Fatalf("%d, want 200", code)
	}
	if !x.rooms.noted("join 9000 8001 chair=false invited=false") {
		t.Errorf("not joined: %v", x.rooms.events)
	}
	eventually(t, "the voice reaches the room as it is", func() bool {
		p.speak()
		x.rooms.mu.Lock()
		defer x.rooms.mu.Unlock()
		return x.rooms.voice > 3
	})
	buffer := make([]byte, 1500)
	_ = p.rtp.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, _, err := p.rtp.ReadFromUDPAddrPort(buffer); err != nil || n != 172 || buffer[1]&0x7f != 8 {
		t.Errorf("the mix: %d bytes, type %d, %v", n, buffer[1], err)
	}
	p.keys("*5")
	eventually(t, "the hand", func() bool { return x.rooms.noted(fmt.Sprintf("press %d", focus.ToggleHand)) })
	if code := p.in(sip.INVITE, []byte(strings.Replace(string(p.sdp()), "t=0 0\r\n", "t=0 0\r\na=sendonly\r\n", 1)), "Content-Type", "application/sdp"); code != 200 {
		t.Errorf("hold: %d", code)
	}
	if code := p.in(sip.OPTIONS, nil); code != 200 {
		t.Errorf("OPTIONS: %d", code)
	}
	if code := p.in(sip.BYE, nil); code != 200 {
		t.Errorf("BYE: %d", code)
	}
	eventually(t, "it has left, and nothing is mixed", func() bool { return x.rooms.noted("leave") && x.rooms.noted("nobody listens") })
	if code := p.in(sip.BYE, nil); code != 481 {
		t.Errorf("second BYE: %d, want 481", code)
	}
}

func TestPIN(t *testing.T) {
	t.Parallel()
	t.Run("by keys", func(t *testing.T) {
		t.Parallel()
		x := newExchange(t, closedRoom())
		p := newPhone(x)
		p.dial("9000", "8001")
		if x.rooms.noted("join 9000 8001 chair=false invited=false") {
			t.Fatal("in before the PIN")
		}
		p.keys("11111" + "2468")
		eventually(t, "in with the PIN", func() bool { return x.rooms.noted("join 9000 8001 chair=false invited=false") })
	})
	t.Run("behind the number, the chair's", func(t *testing.T) {
		t.Parallel()
		x := newExchange(t, closedRoom())
		newPhone(x).dial("9000", "8001", call.HeaderPIN, "97531")
		if !x.rooms.noted("join 9000 8001 chair=true invited=false") {
			t.Errorf("%v", x.rooms.events)
		}
	})
	t.Run("three times wrong, over and over", func(t *testing.T) {
		t.Parallel()
		x := newExchange(t, closedRoom())
		for range 2 {
			p := newPhone(x)
			if code := p.dial("9000", "8001"); code != 200 {
				t.Fatalf("%d, want 200", code)
			}
			p.keys("111112222233333")
			eventually(t, "hung up", func() bool { return x.endedFor("the PIN was wrong too often") })
		}
		eventually(t, "kept out", func() bool { return newPhone(x).dial("9000", "8001") == 403 })
		if code := newPhone(x).dial("9000", "8002"); code != 200 {
			t.Errorf("another caller: %d", code)
		}
	})
	t.Run("who is outside and says that it is one of ours is outside", func(t *testing.T) {
		t.Parallel()
		x := newExchange(t, closedRoom())
		for range 2 {
			p := newPhone(x)
			if code := p.dial("9000", "8001", call.HeaderOutside, "yes"); code != 200 {
				t.Fatalf("%d, want 200", code)
			}
			p.keys("111112222233333")
			eventually(t, "hung up", func() bool { return x.endedFor("the PIN was wrong too often") })
		}
		if code := newPhone(x).dial("9000", "8001"); code != 200 {
			t.Errorf("our own 8001 is kept out for what others tried: %d", code)
		}
	})
}

func TestRefusalsComeBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	for want, err := range map[int]error{403: focus.ErrLocked, 486: focus.ErrFull} {
		r := openRoom()
		r.err = err
		x := newExchange(t, r)
		p := newPhone(x)
		if code := p.dial("9000", "8001"); code != want || p.res.Reason != err.Error() {
			t.Errorf("%v: %d %s", err, code, p.res.Reason)
		}
	}
	x := newExchange(t, openRoom())
	if code := newPhone(x).dial("9001", "8001"); code != 404 {
		t.Errorf("no such room: %d", code)
	}
}

func TestTheRoomEndsIt(t *testing.T) {
	t.Parallel()
	x := newExchange(t, openRoom())
	newPhone(x).dial("9000", "8001")
	x.rooms.heard.Over("the meeting has ended")
	eventually(t, "hung up with the reason", func() bool { return x.endedFor("the meeting has ended") })
}

func TestDial(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code   int
		cancel bool
		want   focus.State
		reason string
	}{
		"answered": {200, false, focus.Answered, ""},
		"busy":     {486, false, focus.Failed, "busy"},
		"given up": {0, true, focus.Cancelled, "given up"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newExchange(t, closedRoom())
			states := make(chan focus.Progress, 8)
			cancel, err := x.focus.Dial("9000", "2001", func(p focus.Progress) { states <- p })
			if err != nil {
				t.Fatal(err)
			}
			req := <-x.invites
			if from, ok := focus.CallerOf(&stack.Request{Request: req.Request, Flow: req.Flow}); !ok || from != "9000" || req.Recipient.User != "2001" {
				t.Errorf("INVITE from %q to %s", from, req.Recipient.User)
			}
			_ = req.Tx.Respond(x.NewResponse(req, 180, "Ringing"))
			wait := func(want focus.State) focus.Progress {
				for p := range states {
					if p.State == want {
						return p
					}
				}
				return focus.Progress{}
			}
			wait(focus.Ringing)
			switch {
			case c.cancel:
				cancel()
			default:
				res := x.NewResponse(req, c.code, "Reason")
				if c.code == 200 {
					res.AppendHeader(&sip.ContactHeader{Address: sip.Uri{Scheme: "sip", User: "2001", Host: "192.0.0.8", Port: 5059}})
					res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
					res.SetBody(newPhone(x).sdp())
				}
				_ = req.Tx.Respond(res)
			}
			if p := wait(c.want); p.Reason != c.reason {
				t.Errorf("%+v", p)
			}
			if c.want == focus.Answered {
				eventually(t, "in, past the PIN", func() bool { return x.rooms.noted("join 9000 2001 chair=false invited=true") })
			}
		})
	}
	x := newExchange(t, openRoom())
	if _, err := x.focus.Dial("9000", "20;01", func(focus.Progress) {}); err == nil {
		t.Error("dialled nonsense")
	}
}
