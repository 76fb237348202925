package guard_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
	icholy "github.com/icholy/digest"

	"linehall/internal/directory"
	"linehall/sip/digest"
	"linehall/sip/guard"
	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

// scan asks for one number after the other at a rate, answers nothing, and returns how many answers it has got when it is
// shut out. Half of the numbers do not exist.
func (e exchange) scan(t *testing.T, p *stacktest.Peer, method string, rate int, length time.Duration) int {
	t.Helper()
	seen := map[string]bool{}
	var wait sync.WaitGroup
	over := make(chan struct{})
	wait.Go(func() {
		for {
			m, ok := p.Read(200 * time.Millisecond)
			if ok && m.Code >= 200 {
				seen[m.Header("Call-ID")] = true
				continue
			}
			select {
			case <-over:
				return
			default:
			}
		}
	})
	begin := time.Now()
	for i := 0; len(e.Bans()) == 0 && time.Since(begin) < length; i++ {
		time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate)))) // the rate is what is tested
		user := fmt.Sprint(8021 + i)
		if p.Try(method+" sip:"+user+"@linehall.test SIP/2.0", p.Via(fmt.Sprintf("s%d", i)), "Max-Forwards: 70",
			"From: <sip:"+user+"@linehall.test>;tag=a", "To: <sip:"+user+"@linehall.test>", fmt.Sprintf("Call-ID: %s-%d", p.Local, i),
			fmt.Sprintf("CSeq: %d %s", i+1, method), "Contact: <sip:x@"+p.Local.String()+">") != nil {
			break // a connection of somebody who is shut out, or is much too fast, is closed
		}
	}
	close(over)
	wait.Wait()
	return len(seen)
}

// scanOf is one way to scan.
type scanOf struct {
	rate              int
	transport, method string
	phone             bool // somebody has registered from the address
}

func scans() []scanOf {
	var list []scanOf
	soak := os.Getenv("LINEHALL_SOAK") != ""
	for _, transport := range []string{stack.UDP, stack.TCP} {
		for _, method := range []string{"REGISTER", "INVITE", "OPTIONS"} {
			for _, phone := range []bool{false, true} {
				list = append(list, scanOf{100, transport, method, phone})
				if soak || phone == (transport == stack.TCP) { // all together are more than a busy machine can send
					list = append(list, scanOf{5000, transport, method, phone})
				}
				if soak { // twenty tries take twenty seconds
					list = append(list, scanOf{1, transport, method, phone})
				}
			}
		}
	}
	return list
}

// Whoever goes through the numbers sees at most twenty answers, at any rate, and is shut out; a phone behind the same
// address that has registered notices nothing.
func TestScansOverRealSockets(t *testing.T) {
	var all sync.WaitGroup
	for i, v := range scans() {
		source := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)}), 0)
		all.Go(func() {
			t.Run(fmt.Sprintf("%d a second %s %s phone %v", v.rate, v.transport, v.method, v.phone), func(t *testing.T) { run(t).scanned(t, v, source) })
		})
	}
	all.Wait()
}

func (e exchange) scanned(t *testing.T, v scanOf, source netip.AddrPort) {
	t.Helper()
	dial := stacktest.DialUDPFrom
	if v.transport == stack.TCP {
		dial = stacktest.DialTCPFrom
	}
	neighbour := dial(t, source, e.addr(v.transport))
	if v.phone && register(t, neighbour, 0, "8001", "secret8001") != 200 {
		t.Fatal("the phone cannot register")
	}
	if answers := e.scan(t, dial(t, source, e.addr(v.transport)), v.method, v.rate, time.Minute); answers == 0 || answers > 20 {
		t.Errorf("%d answers", answers)
	}
	want := guard.Address
	if v.phone {
		want = guard.Flow
	}
	for end := time.Now().Add(10 * time.Second); len(e.Bans()) == 0 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	if bans := e.Bans(); len(bans) != 1 || bans[0].Kind != want {
		t.Errorf("bans: %+v", bans)
	}
	if v.phone && register(t, neighbour, 1, "8001", "secret8001") != 200 {
		t.Error("the phone behind the same address cannot register any more")
	}
}

// storm is an office behind one address whose phones all start at once, with so long a way to us.
type storm struct {
	net    stacktest.Net
	way    time.Duration
	server string
	lose   func() bool
	bound  atomic.Int32
}

// phone registers two accounts from one port, as a phone does: it repeats what has no answer.
func (s *storm) phone(n int) {
	const phoneAddress = "192.0.2.9"
	socket := s.net.Listen(fmt.Sprintf("%s:%d", phoneAddress, 10000+n))
	for account := range 2 {
		user := fmt.Sprint(1000 + 2*n + account)
		authorization := ""
		for try := 0; ; try++ {
			m := s.ask(socket, fmt.Sprintf("b%d-%d-%d", n, account, try), user, try, authorization)
			if m.Code == 200 {
				s.bound.Add(1)
				break
			}
			challenge, err := icholy.ParseChallenge(m.Header("WWW-Authenticate"))
			if err != nil {
				return
			}
			c, err := icholy.Digest(challenge, icholy.Options{Method: "REGISTER", URI: "sip:linehall.test", Username: user, Password: "secret" + user, Count: 1})
			if err != nil {
				return
			}
			authorization = "Authorization: " + c.String()
		}
	}
}

func (s *storm) ask(socket *stacktest.Socket, branch, user string, try int, authorization string) stacktest.Message {
	lines := []string{
		"REGISTER sip:linehall.test SIP/2.0", "Via: SIP/2.0/UDP " + socket.LocalAddr().String() + ";branch=z9hG4bK" + branch, "Max-Forwards: 70",
		"From: <sip:" + user + "@linehall.test>;tag=a", "To: <sip:" + user + "@linehall.test>", "Call-ID: c" + user, fmt.Sprintf("CSeq: %d REGISTER", try+1),
	}
	if authorization != "" {
		lines = append(lines, authorization)
	}
	for again := sip.T1; ; again *= 2 {
		sent := time.Now()
		time.Sleep(s.way)
		if s.lose == nil || !s.lose() {
			socket.Send(s.server, lines...)
		}
		for time.Since(sent) < again {
			for _, m := range socket.Pending() {
				if m.Header("CSeq") == fmt.Sprintf("%d REGISTER", try+1) && m.Header("Call-ID") == "c"+user {
					time.Sleep(s.way)
					return m
				}
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// 120 phones with two accounts each start at once behind one address from which nobody has ever registered: all are bound
// within two seconds, and nobody is banned. So it is when a tenth of what they send is lost, only later.
func TestRegistrationStormBehindOneAddress(t *testing.T) {
	for name, v := range map[string]struct {
		lose  func() bool
		limit time.Duration
	}{
		"nothing is lost": {nil, 2 * time.Second},
		"a tenth is lost": {func() func() bool {
			var n atomic.Int32
			return func() bool { return n.Add(1)%10 == 0 }
		}(), 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &storm{way: 25 * time.Millisecond, server: "192.0.2.1:5060", lose: v.lose}
				g := open(t, guard.Options{})
				sipStack, err := stack.New(stack.Options{Domain: "linehall.test", Filter: g, Gate: g, Packets: []stack.PacketSocket{s.net.Listen(s.server)}})
				if err != nil {
					t.Fatal(err)
				}
				dir := phones{}
				for i := range 240 {
					ext := fmt.Sprint(1000 + i)
					dir[ext] = directory.Terminal{Extension: ext, AuthUser: ext, State: directory.Active}
				}
				check, err := digest.New(digest.Options{Realm: "linehall.test", Directory: dir, Responder: sipStack, Observer: g})
				if err != nil {
					t.Fatal(err)
				}
				sipStack.HandleAtOnce(sip.REGISTER, func(_ context.Context, req *stack.Request) {
					_, res := check.Check(req)
					if res == nil {
						res = sipStack.NewResponse(req, 200, "OK")
					}
					_ = req.Tx.Respond(res)
				})
				serve(t, sipStack.Run, g.Run)
				synctest.Wait()
				begin := time.Now()
				var all sync.WaitGroup
				for n := range 120 {
					all.Go(func() { s.phone(n) })
				}
				all.Wait()
				if took := time.Since(begin); s.bound.Load() != 240 || took > v.limit {
					t.Errorf("%d bound after %s", s.bound.Load(), took)
				} else {
					t.Logf("240 bound after %s", took)
				}
				if bans := g.Bans(); len(bans) != 0 {
					t.Errorf("banned: %+v", bans)
				}
			})
		})
	}
}
