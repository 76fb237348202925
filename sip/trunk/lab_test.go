package trunk

import (
	"context"
	"crypto/md5" //nolint:gosec // RFC 7616, computed here once more and by hand
	"encoding/hex"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"linehall/sip/dialplan"
	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

const ourAddress = "192.0.2.1:5060"

// lab is a service on a network in memory; it runs under testing/synctest.
type lab struct {
	t   *testing.T
	net *stacktest.Net
	s   *Service
	dns *fakeDNS
	end context.CancelFunc
	all sync.WaitGroup
	own map[string]int // active calls by "trunk" or "trunk/gateway"
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, net: &stacktest.Net{}, dns: &fakeDNS{}, own: map[string]int{}}
	st, err := stack.New(stack.Options{Packets: []stack.PacketSocket{l.net.Listen(ourAddress)}, Domain: "linehall.test"})
	if err != nil {
		t.Fatal(err)
	}
	l.s, err = New(Options{Stack: st, DNS: l.dns, Active: func(trunk, gateway string) int {
		if gateway == "" {
			return l.own[trunk]
		}
		return l.own[trunk+"/"+gateway]
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	trunks, stop := context.WithCancel(context.Background())
	l.end = func() {
		stop()
		time.Sleep(3 * time.Second) // of the bubble's clock: the keepers say goodbye
		cancel()
		l.all.Wait()
	}
	if err := st.Listen(ctx); err != nil {
		t.Fatal(err)
	}
	l.all.Go(func() { _ = st.Run(ctx) })
	l.all.Go(func() { _ = l.s.Run(trunks) })
	return l
}

func (l *lab) apply(configs ...Config) {
	l.t.Helper()
	for _, c := range configs {
		if err := c.Validate(); err != nil {
			l.t.Fatalf("the test's own configuration: %v", err)
		}
	}
	numbering := dialplan.DefaultNumbering()
	numbering.Area = "471"
	if err := l.s.Apply(configs, numbering); err != nil {
		l.t.Fatal(err)
	}
}

// status is the state of the first gateway of the first trunk.
func (l *lab) status() GatewayStatus {
	l.t.Helper()
	return l.s.Status()[0].Gateways[0]
}

// far is a gateway written for tests: it shares no code with ours.
type far struct {
	l      *lab
	socket *stacktest.Socket

	mu       sync.Mutex
	silent   bool
	answer   func(m stacktest.Message) string // status line and further headers, separated by \r\n; "" = 200 OK
	requests []stacktest.Message
}

func (l *lab) gateway(addr string) *far {
	f := &far{l: l, socket: l.net.Listen(addr)}
	l.all.Go(f.serve)
	end := l.end
	l.end = func() {
		_ = f.socket.Close() // in memory; late requests find nobody
		end()
	}
	return f
}

func (f *far) serve() {
	buf := make([]byte, 1<<16)
	for {
		n, from, _, err := f.socket.ReadFrom(buf)
		if err != nil {
			return
		}
		m := stacktest.Parse(string(buf[:n]))
		f.mu.Lock()
		silent, answer := f.silent, f.answer
		if m.Method != "" {
			f.requests = append(f.requests, m)
		}
		f.mu.Unlock()
		if m.Method == "" || silent {
			continue
		}
		status := "200 OK"
		if answer != nil {
			if said := answer(m); said != "" {
				status = said
			}
		}
		lines := []string{"SIP/2.0 " + strings.SplitN(status, "\r\n", 2)[0]}
		for _, v := range m.Headers("Via") {
			lines = append(lines, "Via: "+v)
		}
		lines = append(lines, "From: "+m.Header("From"), "To: "+m.Header("To")+";tag=far", "Call-ID: "+m.Header("Call-ID"), "CSeq: "+m.Header("CSeq"))
		if _, more, has := strings.Cut(status, "\r\n"); has {
			lines = append(lines, strings.Split(more, "\r\n")...)
		}
		f.socket.Send(from.String(), lines...)
	}
}

func (f *far) hush(silent bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.silent = silent
}

func (f *far) answers(with func(stacktest.Message) string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = with
}

// got returns the requests of a method so far.
func (f *far) got(method string) []stacktest.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []stacktest.Message
	for _, m := range f.requests {
		if m.Method == method {
			found = append(found, m)
		}
	}
	return found
}

// registrar answers REGISTERs with a challenge and checks the response by hand (RFC 2617).
type registrar struct {
	user, password, nonce string
	expires               int
	least                 int // Min-Expires
}

func (r *registrar) answer(m stacktest.Message) string {
	if m.Method != "REGISTER" {
		return ""
	}
	asked, _ := strconv.Atoi(m.Header("Expires"))
	if asked != 0 && asked < r.least {
		return "423 Interval Too Brief\r\nMin-Expires: " + strconv.Itoa(r.least)
	}
	given := params(m.Header("Authorization"))
	challenge := "401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"provider\", qop=\"auth\", algorithm=MD5, nonce=\"" + r.nonce + "\""
	if given["nonce"] != r.nonce {
		if given["nonce"] != "" {
			challenge += ", stale=true"
		}
		return challenge
	}
	uri := strings.Fields(m.Start)[1]
	ha1, ha2 := sum(r.user+":provider:"+r.password), sum("REGISTER:"+uri)
	want := sum(strings.Join([]string{ha1, r.nonce, given["nc"], given["cnonce"], "auth", ha2}, ":"))
	if given["username"] != r.user || given["uri"] != uri || given["response"] != want {
		return challenge
	}
	if r.expires > 0 && asked != 0 {
		asked = r.expires
	}
	return "200 OK\r\nContact: " + m.Header("Contact") + ";expires=" + strconv.Itoa(asked) + "\r\nService-Route: <sip:edge.provider.example;lr>"
}

func sum(s string) string {
	h := md5.Sum([]byte(s)) //nolint:gosec // see the import
	return hex.EncodeToString(h[:])
}

func params(header string) map[string]string {
	found := map[string]string{}
	for part := range strings.SplitSeq(strings.TrimPrefix(header, "Digest "), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		found[name] = strings.Trim(value, `"`)
	}
	return found
}

// fakeDNS answers from tables; fail makes every question fail.
type fakeDNS struct {
	mu    sync.Mutex
	fail  bool
	asked map[string]int
	naptr map[string][]NAPTR
	srv   map[string][]SRV
	addrs map[string][]string
}

var errDNS = errors.New("the name server does not answer")

func (d *fakeDNS) ask(question string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asked == nil {
		d.asked = map[string]int{}
	}
	d.asked[question]++
	if d.fail {
		return errDNS
	}
	return nil
}

func (d *fakeDNS) NAPTR(_ context.Context, name string) ([]NAPTR, error) {
	return d.naptr[name], d.ask("naptr " + name)
}

func (d *fakeDNS) SRV(_ context.Context, name string) ([]SRV, error) {
	return d.srv[name], d.ask("srv " + name)
}

func (d *fakeDNS) Addresses(_ context.Context, host string) ([]netip.Addr, error) {
	var found []netip.Addr
	for _, a := range d.addrs[host] {
		found = append(found, netip.MustParseAddr(a))
	}
	return found, d.ask("addr " + host)
}

// provider is a trunk with one gateway.
func provider(addr string) Config {
	c := DefaultConfig()
	c.Name = "provider"
	g := DefaultGateway()
	g.Address = addr
	c.Gateways = []GatewayConfig{g}
	return c
}

func account1(c Config) Config {
	c.Register, c.Auth, c.Domain = true, AuthConfig{User: "04715550000", Password: "secret"}, "provider.example"
	return c
}
