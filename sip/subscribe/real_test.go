package subscribe

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/database"
	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/sip/call"
	"linehall/sip/digest"
	"linehall/sip/location"
	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

// exchange is a service on real sockets, with a real database and real time.
type exchange struct {
	tb     testing.TB
	dir    string
	people *people
	auth   func(*stack.Stack) Authenticator // nil: believes From
	db     *sql.DB
	s      *Service
	stack  *stack.Stack
	udp    string
	tcp    string
	stop   func() // the written order of an orderly end
	kill   func() // as a crash: nothing is written any more
}

func newExchange(tb testing.TB) *exchange {
	tb.Helper()
	x := &exchange{tb: tb, dir: tb.TempDir(), people: newPeople(), udp: stacktest.Address(tb), tcp: stacktest.Address(tb)}
	return x
}

func (x *exchange) start() {
	x.tb.Helper()
	ctx := context.Background()
	fatal := func(err error) {
		if err != nil {
			x.tb.Fatal(err)
		}
	}
	var err error
	x.db, err = database.Open(ctx, filepath.Join(x.dir, "test.db"))
	fatal(err)
	fatal(database.Migrate(ctx, x.db, Schema()))
	x.stack, err = stack.New(stack.Options{Domain: domain, Listen: []stack.Listen{{Transport: stack.UDP, Address: x.udp}, {Transport: stack.TCP, Address: x.tcp}}})
	fatal(err)
	x.people.stack = x.stack
	var auth Authenticator = x.people
	if x.auth != nil {
		auth = x.auth(x.stack)
	}
	table, err := site.NewTable([]site.Site{{ID: "hq", Name: "hq", Main: true, Prefix: "8", Subnets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	fatal(err)
	x.s, err = Open(ctx, Options{Stack: x.stack, Auth: auth, Locations: x.people, Directory: x.people, Numbers: x.people, Sites: site.NewAtlas(table), DB: x.db})
	fatal(err)
	x.stack.Handle(sip.NOTIFY, x.s.ServeNotify)
	x.stack.Handle(sip.MESSAGE, x.s.ServeMessage)
	fatal(x.stack.Listen(ctx))
	for _, l := range x.stack.Listeners() {
		if l.Transport == stack.UDP {
			x.udp = l.Address.String()
		} else {
			x.tcp = l.Address.String()
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{x.stack.Run, x.s.Run} {
		wg.Go(func() { _ = run(ctx) }) // a killed one cannot write what is left
	}
	var once sync.Once
	db := x.db
	x.stop = func() {
		once.Do(func() { cancel(); wg.Wait(); _ = db.Close() })
	}
	x.kill = func() {
		once.Do(func() { _ = db.Close(); cancel(); wg.Wait() })
	}
	x.tb.Cleanup(x.stop)
}

// numbers reads CSeq and version of a NOTIFY.
func numbers(m stacktest.Message) (cseq, version int) {
	_, _ = fmt.Sscan(m.Header("CSeq"), &cseq)
	_, rest, _ := strings.Cut(m.Body, `dialog-info" version="`)
	_, _ = fmt.Sscanf(rest, "%d", &version)
	return cseq, version
}

func answer(p *stacktest.Peer, m stacktest.Message) {
	p.Send("SIP/2.0 200 OK", "Via: "+m.Header("Via"), "From: "+m.Header("From"), "To: "+m.Header("To"), "Call-ID: "+m.Header("Call-ID"), "CSeq: "+m.Header("CSeq"))
}

func subscribeBy(p *stacktest.Peer, ext, user, branch, to, callID string, cseq int, extra ...string) {
	transport := ""
	if p.Name != "UDP" {
		transport = ";transport=" + strings.ToLower(p.Name)
	}
	p.Send(append([]string{
		"SUBSCRIBE sip:" + user + "@" + domain + " SIP/2.0", p.Via(branch), "From: <sip:" + ext + "@" + domain + ">;tag=phone", "To: " + to,
		"Call-ID: " + callID, fmt.Sprintf("CSeq: %d SUBSCRIBE", cseq), "Max-Forwards: 70", "Contact: <sip:" + ext + "@" + p.Local.String() + transport + ">", "Event: dialog",
	}, extra...)...)
}

// RFC 4235 and freeswitch PR#3056: neither version nor CSeq may fall, also not after a crash in
// which nothing was written, and not after two of them in a row.
func TestCrashes(t *testing.T) {
	x := newExchange(t)
	x.start()
	p := stacktest.DialUDP(t, netip.MustParseAddrPort(x.udp))
	subscribeBy(p, "8003", "8002", "a", "<sip:8002@"+domain+">", "crash", 1)
	to := p.Code(200).Header("To")
	cseq, version := -1, -1
	last := ""
	next := func() stacktest.Message {
		m := p.Await(func(m stacktest.Message) bool { return m.Method == "NOTIFY" && m.Raw != last }) // else it is a retransmission
		last = m.Raw
		answer(p, m)
		c, v := numbers(m)
		if c <= cseq || v <= version {
			t.Errorf("CSeq %d after %d, version %d after %d", c, cseq, v, version)
		}
		cseq, version = c, v
		return m
	}
	next()
	for round := range 3 {
		x.s.CallChanged(talk(fmt.Sprint("c", round), call.DialogConfirmed))
		next()
		time.Sleep(100 * time.Millisecond) // past the write lag
		x.kill()
		x.start()
		if m := next(); strings.Contains(m.Body, "confirmed") || !strings.Contains(m.Body, `state="full"`) {
			t.Errorf("after the crash\n%s", m.Body)
		}
	}
	// The dialog goes on: the phone's next refresh is known.
	subscribeBy(p, "8003", "8002", "b", to, "crash", 2, "Expires: 0")
	p.Code(200)
	if m := next(); !strings.HasPrefix(m.Header("Subscription-State"), "terminated") {
		t.Errorf("after the end\n%s", m.Raw)
	}
	x.stop()
	x.start()
	if n := x.s.Count()["dialog"]; n != 0 {
		t.Errorf("%d subscriptions came back after their end", n)
	}
}

// bind makes a connection the only binding of a phone, as a REGISTER over it does.
func (x *exchange) bind(ext string, p *stacktest.Peer) {
	// A message opens the flow for the stack.
	p.Send("OPTIONS sip:"+domain+" SIP/2.0", p.Via("o"), "From: <sip:"+ext+"@x>;tag=1", "To: <sip:x@x>", "Call-ID: "+p.Local.String(), "CSeq: 1 OPTIONS", "Max-Forwards: 70")
	p.Final()
	aor := location.AOR(ext, domain)
	x.people.mu.Lock()
	x.people.bindings[aor] = []location.Binding{{
		AOR: aor, Contact: "sip:" + ext + "@" + p.Local.String() + ";transport=tcp", Expires: time.Now().Add(time.Hour),
		Flow: stack.Flow{Transport: stack.TCP, Local: p.Remote, Remote: p.Local},
	}}
	x.people.mu.Unlock()
	x.s.PhoneChanged(aor)
}

// A phone opens a new connection before we know that the old one has gone: a NOTIFY that was lost
// with the old one is repeated over the new one at once, whenever it left.
func TestConnectionReplaced(t *testing.T) {
	for _, early := range []bool{false, true} {
		t.Run(fmt.Sprintf("known before the NOTIFY left %v", early), func(t *testing.T) {
			x := newExchange(t)
			x.start()
			old := stacktest.DialTCP(t, netip.MustParseAddrPort(x.tcp))
			subscribeBy(old, "8003", "8002", "a", "<sip:8002@"+domain+">", "tcp", 1)
			old.Code(200)
			answer(old, old.Request("NOTIFY"))
			next := stacktest.DialTCP(t, netip.MustParseAddrPort(x.tcp))
			if early {
				x.bind("8003", next)
			}
			x.s.CallChanged(talk("c1", call.DialogConfirmed))
			old.Request("NOTIFY") // which gets no answer
			if !early {
				x.bind("8003", next)
			}
			old.Close()
			m := next.Request("NOTIFY")
			answer(next, m)
			if !strings.Contains(m.Body, "confirmed") {
				t.Errorf("got\n%s", m.Raw)
			}
		})
	}
}

// A TCP phone whose connection was cut, by the network or by our restart, hears of everything
// once it has registered again.
func TestConnectionGone(t *testing.T) {
	x := newExchange(t)
	x.start()
	p := stacktest.DialTCP(t, netip.MustParseAddrPort(x.tcp))
	subscribeBy(p, "8003", "8002", "a", "<sip:8002@"+domain+">", "tcp", 1)
	p.Code(200)
	answer(p, p.Request("NOTIFY"))
	p.Close()
	for round := range 2 {
		x.s.CallChanged(talk("c1", call.DialogConfirmed))
		if round == 1 {
			time.Sleep(100 * time.Millisecond)
			x.stop()
			x.start()
		}
		again := stacktest.DialTCP(t, netip.MustParseAddrPort(x.tcp))
		x.bind("8003", again)
		m := again.Request("NOTIFY")
		answer(again, m)
		want := "confirmed"
		if round == 1 {
			want = "</dialog-info>"
		}
		if !strings.Contains(m.Body, want) || !strings.HasPrefix(m.Start, "NOTIFY sip:8003@"+again.Local.String()) {
			t.Errorf("round %d\n%s", round, m.Raw)
		}
		x.s.CallChanged(ended("c1"))
		if round == 0 {
			answer(again, again.Request("NOTIFY"))
		}
		again.Close()
	}
}

// A database that refuses to be written does not stop the lamps.
func TestBrokenDatabase(t *testing.T) {
	x := newExchange(t)
	x.start()
	p := stacktest.DialUDP(t, netip.MustParseAddrPort(x.udp))
	subscribeBy(p, "8003", "8002", "a", "<sip:8002@"+domain+">", "broken", 1)
	p.Code(200)
	answer(p, p.Request("NOTIFY"))
	_ = x.db.Close()
	x.s.mu.Lock()
	for _, sub := range x.s.subs {
		sub.cseq.Ceiling, sub.version.Ceiling = sub.cseq.Value, sub.version.Value
	}
	x.s.mu.Unlock()
	x.s.CallChanged(talk("c1", call.DialogConfirmed))
	p.Await(func(m stacktest.Message) bool { return m.Method == "NOTIFY" && strings.Contains(m.Body, "confirmed") })
}

// TestSIPp lets an independent implementation watch: digest, dialog, refresh, end.
func TestSIPp(t *testing.T) {
	path, err := exec.LookPath("sipp")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("sipp is not installed (package sip-tester)")
	}
	x := newExchange(t)
	x.auth = func(st *stack.Stack) Authenticator {
		auth, err := digest.New(digest.Options{Realm: domain, Directory: passwords{x.people}, Responder: st})
		if err != nil {
			t.Fatal(err)
		}
		return auth
	}
	x.start()
	for _, mode := range []string{"u1", "t1"} {
		dir := t.TempDir()
		inf := filepath.Join(dir, "users.csv")
		if err := os.WriteFile(inf, []byte("SEQUENTIAL\n8003;[authentication username=8003 password=secret8003];8002\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		scenario, err := filepath.Abs("testdata/watch.xml")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, path, x.udp, "-sf", scenario, "-inf", inf, "-t", mode, "-i", "127.0.0.1", "-m", "20", "-r", "20", "-l", "20", "-nostdin", "-timeout", "30s", "-timeout_error")
		if mode == "t1" {
			cmd.Args[1] = x.tcp
		}
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("%s: %v\n%s", mode, err, out[max(0, len(out)-4000):])
		}
		if n := x.s.Count()["dialog"]; n != 0 {
			t.Errorf("%s: %d subscriptions left", mode, n)
		}
	}
}

type passwords struct{ *people }

func (p passwords) ByAuthUser(user string) (directory.Terminal, bool) { return p.ByExtension(user) }
