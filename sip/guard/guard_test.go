package guard_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
	icholy "github.com/icholy/digest"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"linehall/internal/auth"
	"linehall/internal/database"
	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/sip/digest"
	"linehall/sip/guard"
	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

func request(remote string, userAgent string) *stack.Request {
	req := sip.NewRequest(sip.REGISTER, sip.Uri{Scheme: "sip", Host: "linehall.test"})
	req.AppendHeader(sip.NewHeader("User-Agent", userAgent))
	return &stack.Request{Request: req, Flow: stack.Flow{Transport: stack.UDP, Remote: netip.MustParseAddrPort(remote)}}
}

func open(t *testing.T, opts guard.Options) *guard.Guard {
	t.Helper()
	if opts.Config.Tries == 0 {
		opts.Config = auth.DefaultConfig().SIP
	}
	g, err := guard.Open(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestBansExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := open(t, guard.Options{})
		remote := netip.MustParseAddrPort("192.0.2.1:5060")
		for i := range 20 {
			if !g.Admit(remote, stack.UDP) {
				t.Fatalf("banned after %d tries", i)
			}
			g.Failed(request(remote.String(), "phone"), "8001")
		}
		if g.Admit(remote, stack.UDP) || g.Admit(netip.MustParseAddrPort("192.0.2.1:9"), stack.TCP) || !g.Admit(netip.MustParseAddrPort("192.0.2.2:5060"), stack.UDP) {
			t.Error("not exactly the source is banned")
		}
		time.Sleep(10*time.Minute + time.Second)
		if !g.Admit(remote, stack.UDP) || len(g.Bans()) != 0 {
			t.Error("the ban does not end")
		}
	})
}

func TestScannersAreKnown(t *testing.T) {
	t.Parallel()
	for name, scanner := range map[string]bool{
		"friendly-scanner": true, "SIPVicious 0.3": true, "sipcli/v1.8": true, "sundayddr": true, "VaxSIPUserAgent/3.5": true, "pplsip": true,
		"Yealink SIP-T46U 108.86.0.20": false, "": false,
	} {
		g := open(t, guard.Options{})
		for range 2 {
			g.Saw(request("192.0.2.1:5060", name))
		}
		if got := len(g.Bans()) == 1; got != scanner {
			t.Errorf("%q: banned %v", name, got)
		}
	}
}

func TestBansSurviveARestart(t *testing.T) {
	t.Parallel()
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "linehall.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := database.Migrate(t.Context(), db, guard.Schema()); err != nil {
		t.Fatal(err)
	}
	bad, worse := netip.MustParseAddrPort("192.0.2.1:5060"), netip.MustParseAddrPort("[2001:db8::1]:5060")
	life := func(during func(g *guard.Guard)) {
		t.Helper()
		g := open(t, guard.Options{DB: db})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		during(g)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	life(func(g *guard.Guard) {
		for _, remote := range []netip.AddrPort{bad, worse} {
			for range 2 {
				g.Saw(request(remote.String(), "friendly-scanner"))
			}
		}
	})
	life(func(g *guard.Guard) {
		if g.Admit(bad, stack.UDP) || g.Admit(worse, stack.UDP) || len(g.Bans()) != 2 {
			t.Errorf("bans after a restart: %+v", g.Bans())
		}
		if err := g.Lift(bad.Addr()); err != nil || !g.Admit(bad, stack.UDP) {
			t.Errorf("lifted: %v, admitted %v", err, g.Admit(bad, stack.UDP))
		}
		if err := g.Lift(bad.Addr()); !errors.Is(err, guard.ErrNotFound) {
			t.Errorf("lifted twice: %v", err)
		}
	})
	life(func(g *guard.Guard) {
		if !g.Admit(bad, stack.UDP) || g.Admit(worse, stack.UDP) {
			t.Errorf("bans after lifting one: %+v", g.Bans())
		}
		c := auth.DefaultConfig().SIP
		c.Allow = []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")}
		g.Apply(c)
		if !g.Admit(worse, stack.UDP) {
			t.Error("an allowed address is banned")
		}
	})
	life(func(g *guard.Guard) {
		if len(g.Bans()) != 0 {
			t.Errorf("left over: %+v", g.Bans())
		}
	})
}

// phones is a directory in memory: extension N has password "secretN".
type phones map[string]directory.Terminal

func (p phones) ByExtension(ext string) (directory.Terminal, bool) { t, ok := p[ext]; return t, ok }
func (p phones) ByAuthUser(user string) (directory.Terminal, bool) { t, ok := p[user]; return t, ok }

func (p phones) Password(_ context.Context, ext string) (string, error) {
	return "secret" + ext, nil
}

// exchange is the real stack and digest with a guard before them; REGISTER is answered with 200 to who is known.
type exchange struct {
	*guard.Guard
	stack   *stack.Stack
	metrics *prometheus.Registry
}

func run(t *testing.T) exchange {
	t.Helper()
	e := exchange{Guard: open(t, guard.Options{}), metrics: prometheus.NewRegistry()}
	dropped := observe.NewDropped(e.metrics)
	var err error
	e.stack, err = stack.New(stack.Options{Domain: "linehall.test", Filter: e.Guard, Gate: e.Guard, Dropped: dropped, Listen: []stack.Listen{
		{Transport: stack.UDP, Address: "127.0.0.1:0"}, {Transport: stack.TCP, Address: "127.0.0.1:0"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	dir := phones{}
	for i := range 40 {
		ext := fmt.Sprint(8001 + i)
		dir[ext] = directory.Terminal{Extension: ext, AuthUser: ext, State: directory.Active}
	}
	check, err := digest.New(digest.Options{Realm: "linehall.test", Directory: dir, Responder: e.stack, Observer: e.Guard})
	if err != nil {
		t.Fatal(err)
	}
	answer := func(_ context.Context, req *stack.Request) {
		_, res := check.Check(req)
		if res == nil {
			res = e.stack.NewResponse(req, 200, "OK")
		}
		_ = req.Tx.Respond(res)
	}
	e.stack.HandleAtOnce(sip.REGISTER, answer)
	e.stack.Handle(sip.INVITE, answer)
	e.stack.Handle(sip.OPTIONS, func(ctx context.Context, req *stack.Request) {
		e.Probed(req)
		e.stack.ServeOptions(ctx, req)
	})
	if err := e.stack.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	serve(t, e.stack.Run, e.Run)
	return e
}

// serve runs parts until the test ends.
func serve(t *testing.T, parts ...func(context.Context) error) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context()) // ends before the cleanups
	for _, run := range parts {
		group.Go(func() error { return run(ctx) })
	}
	t.Cleanup(func() {
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func (e exchange) addr(transport string) netip.AddrPort {
	for _, l := range e.stack.Listeners() {
		if l.Transport == transport {
			return l.Address
		}
	}
	return netip.AddrPort{}
}

// register asks for a challenge and answers it; 0 is silence.
func register(t *testing.T, p *stacktest.Peer, n int, ext, password string) int {
	t.Helper()
	var authorization string
	for i := range 2 {
		lines := []string{
			"REGISTER sip:linehall.test SIP/2.0", p.Via(fmt.Sprintf("r%d-%d", n, i)), "Max-Forwards: 70",
			"From: <sip:" + ext + "@linehall.test>;tag=a", "To: <sip:" + ext + "@linehall.test>", fmt.Sprintf("Call-ID: %s-%d", p.Local, n),
			fmt.Sprintf("CSeq: %d REGISTER", i+1),
		}
		if authorization != "" {
			lines = append(lines, "Authorization: "+authorization)
		}
		p.Send(lines...)
		m, ok := p.Read(2 * time.Second)
		if !ok {
			return 0
		}
		if m.Code != 401 || i == 1 {
			return m.Code
		}
		challenge, err := icholy.ParseChallenge(m.Header("WWW-Authenticate"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := icholy.Digest(challenge, icholy.Options{Method: "REGISTER", URI: "sip:linehall.test", Username: ext, Password: password, Count: 1})
		if err != nil {
			t.Fatal(err)
		}
		authorization = c.String()
	}
	return 0
}

// Guessing ends within twenty tries, on every transport, and nobody else notices.
func TestGuessingIsBanned(t *testing.T) {
	e := run(t)
	guesser := stacktest.DialUDPFrom(t, netip.MustParseAddrPort("127.0.0.66:0"), e.addr(stack.UDP))
	open := stacktest.DialTCPFrom(t, netip.MustParseAddrPort("127.0.0.66:0"), e.addr(stack.TCP))
	if code := register(t, open, 0, "8001", "x"); code != 401 {
		t.Fatalf("over TCP: %d", code)
	}
	tries := 0
	for register(t, guesser, tries+1, "8001", fmt.Sprint(tries)) == 401 {
		if tries++; tries > 20 {
			t.Fatal("never banned")
		}
	}
	if code := register(t, open, 30, "8001", "secret8001"); code != 0 {
		t.Errorf("a connection from before still gets %d", code)
	}
	if code := register(t, stacktest.DialUDPFrom(t, netip.MustParseAddrPort("127.0.0.67:0"), e.addr(stack.UDP)), 0, "8001", "secret8001"); code != 200 {
		t.Errorf("the owner of the account, elsewhere, got %d", code)
	}
	families, err := e.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(families); !strings.Contains(text, "banned") {
		t.Errorf("no drop is counted: %s", text)
	}
}

// Behind the address of a guesser phones go on, also the one whose account is guessed; the guesser does not.
func TestPhonesBehindTheSameAddressGoOn(t *testing.T) {
	e := run(t)
	dial := func() *stacktest.Peer {
		return stacktest.DialUDPFrom(t, netip.MustParseAddrPort("127.0.0.68:0"), e.addr(stack.UDP))
	}
	owner, other := dial(), dial()
	if a, b := register(t, owner, 0, "8001", "secret8001"), register(t, other, 0, "8002", "secret8002"); a != 200 || b != 200 {
		t.Fatalf("registered with %d and %d", a, b)
	}
	guesser := dial()
	tries := 0
	for register(t, guesser, tries, "8001", fmt.Sprint(tries)) == 401 {
		if tries++; tries > 20 {
			t.Fatal("never banned")
		}
	}
	// The account is locked: even the right password gets what a wrong one gets.
	if right, wrong := register(t, dial(), 50, "8001", "secret8001"), register(t, dial(), 50, "8001", "x"); right != wrong || right == 200 {
		t.Errorf("the guessed account from a new port got %d with its password, %d with another", right, wrong)
	}
	if a, b := register(t, owner, 51, "8001", "secret8001"), register(t, other, 51, "8002", "secret8002"); a != 200 || b != 200 {
		t.Errorf("the phones got %d and %d", a, b)
	}
	if code := register(t, dial(), 52, "8003", "secret8003"); code != 200 {
		t.Errorf("a new phone behind the address got %d", code)
	}
}
