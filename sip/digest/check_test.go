package digest_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
	icholy "github.com/icholy/digest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"linehall/internal/directory"
	"linehall/sip/digest"
	"linehall/sip/stack"
)

type phones map[string]directory.Terminal

func (p phones) ByExtension(ext string) (directory.Terminal, bool) { t, ok := p[ext]; return t, ok }

func (p phones) ByAuthUser(user string) (directory.Terminal, bool) {
	for _, t := range p {
		if t.AuthUser == user && t.MayRegister() {
			return t, true
		}
	}
	return directory.Terminal{}, false
}

func (phones) Password(_ context.Context, ext string) (string, error) { return "secret" + ext, nil }

type responder struct{}

func (responder) NewResponse(req *stack.Request, code int, reason string) *sip.Response {
	return sip.NewResponseFromRequest(req.Request, code, reason, nil)
}

// failures is an Observer that wants to know of failures only.
type failures func(user string, source netip.Addr)

func (failures) Challenged(*stack.Request)              {}
func (failures) Succeeded(*stack.Request, string)       {}
func (failures) Locked(_ *stack.Request, _ string) bool { return false }
func (f failures) Failed(req *stack.Request, user string) {
	if f != nil {
		f(user, req.Flow.Remote.Addr())
	}
}

func newAuthenticator(t *testing.T, failed func(string, netip.Addr)) (*digest.Authenticator, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	a, err := digest.New(digest.Options{
		Realm: "linehall.test", Responder: responder{}, Observer: failures(failed), Registerer: reg,
		Directory: phones{
			"8001": {Extension: "8001", AuthUser: "8001", State: directory.Active},
			"8002": {Extension: "8002", AuthUser: "desk-2", State: directory.Active, Digest: directory.SHA256},
			"8003": {Extension: "8003", AuthUser: "8003", State: directory.Disabled},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a, reg
}

// ask is one request of a phone.
type ask struct {
	method   sip.RequestMethod
	from     string
	to       string // Request-URI
	user     string
	password string
	uri      string // of the digest; "" = to
	count    int
	qop      bool
}

func (a ask) request(t *testing.T, challenge string) *stack.Request {
	t.Helper()
	var to sip.Uri
	if err := sip.ParseUri(a.to, &to); err != nil {
		t.Fatal(err)
	}
	req := sip.NewRequest(a.method, to)
	from := sip.Uri{Scheme: "sip", User: a.from, Host: "linehall.test"}
	req.AppendHeader(&sip.FromHeader{Address: from, Params: sip.HeaderParams{{K: "tag", V: "1"}}})
	req.AppendHeader(&sip.ToHeader{Address: to})
	if challenge != "" {
		c, err := icholy.ParseChallenge(challenge)
		if err != nil {
			t.Fatal(err)
		}
		if !a.qop {
			c.QOP = nil
		}
		uri := a.uri
		if uri == "" {
			uri = a.to
		}
		cred, err := icholy.Digest(c, icholy.Options{Method: string(a.method), URI: uri, Username: a.user, Password: a.password, Count: a.count})
		if err != nil {
			t.Fatal(err)
		}
		req.AppendHeader(sip.NewHeader("Authorization", cred.String()))
	}
	return &stack.Request{Request: req, Flow: stack.Flow{Transport: stack.UDP, Remote: netip.MustParseAddrPort("192.0.2.1:5060")}}
}

func challengeOf(t *testing.T, res *sip.Response) string {
	t.Helper()
	all := res.GetHeaders("WWW-Authenticate")
	if res.StatusCode != 401 || len(all) != 1 {
		t.Fatalf("got %d with %d challenges", res.StatusCode, len(all))
	}
	return all[0].Value()
}

func good(ext string) ask {
	return ask{method: sip.INVITE, from: ext, to: "sip:8009@linehall.test", user: ext, password: "secret" + ext, count: 1, qop: true}
}

func TestCheck(t *testing.T) {
	a, reg := newAuthenticator(t, nil)
	cases := []struct {
		name  string
		alter func(*ask)
		want  int // 0: accepted
	}{
		{name: "right", want: 0},
		{name: "without qop", alter: func(k *ask) { k.qop = false }, want: 0},
		{name: "wrong password", alter: func(k *ask) { k.password = "x" }, want: 401},
		{name: "unknown user", alter: func(k *ask) { k.user, k.from = "9999", "9999" }, want: 401},
		{name: "another's From", alter: func(k *ask) { k.from = "8003" }, want: 403},
		{name: "anonymous From of another host", alter: func(k *ask) { k.from = "anonymous" }, want: 403},
		{name: "disabled", alter: func(k *ask) { k.user, k.from, k.password = "8003", "8003", "secret8003" }, want: 403},
		{name: "uri with port and parameters", alter: func(k *ask) { k.uri = "sip:8009@linehall.test:5060;transport=udp" }, want: 0},
		{name: "uri with our address", alter: func(k *ask) { k.uri = "sip:8009@192.0.2.9" }, want: 0},
		{name: "uri of the server alone, as SIPp writes it", alter: func(k *ask) { k.uri = "sip:192.0.2.9:5060" }, want: 0},
		{name: "uri of another target", alter: func(k *ask) { k.uri = "sip:110@linehall.test" }, want: 400},
		{name: "uri of another domain", alter: func(k *ask) { k.uri = "sip:8009@example.com" }, want: 400},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			k := good("8001")
			if c.alter != nil {
				c.alter(&k)
			}
			_, res := a.Check(k.request(t, ""))
			terminal, res := a.Check(k.request(t, challengeOf(t, res)))
			switch {
			case c.want == 0 && res != nil:
				t.Errorf("refused with %d", res.StatusCode)
			case c.want == 0 && terminal.Extension != "8001":
				t.Errorf("took it for %q", terminal.Extension)
			case c.want != 0 && (res == nil || res.StatusCode != c.want || terminal.Extension != ""):
				t.Errorf("got %v for %q, want %d", res, terminal.Extension, c.want)
			}
		})
	}
	for result, want := range map[string]float64{"ok": 5, "challenge": 12, "wrong": 2, "forbidden": 5} {
		if got := testutil.ToFloat64(counter(t, reg, result)); got != want {
			t.Errorf("%s counted %v times, want %v", result, got, want)
		}
	}
}

// counter reads one series through a registry that has it registered already.
func counter(t *testing.T, reg *prometheus.Registry, result string) prometheus.Counter {
	t.Helper()
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "linehall_sip_auth_total", Help: "Digest checks by result: ok, challenge (no credentials), stale, wrong, forbidden.",
	}, []string{"result"})
	var already prometheus.AlreadyRegisteredError
	if err := reg.Register(vec); err != nil {
		if are, ok := err.(prometheus.AlreadyRegisteredError); ok { //nolint:errorlint // Register returns it bare
			already = are
		}
	}
	return already.ExistingCollector.(*prometheus.CounterVec).WithLabelValues(result)
}

func TestAlgorithmOfTheTerminal(t *testing.T) {
	a, _ := newAuthenticator(t, nil)
	k := ask{method: sip.REGISTER, from: "8002", to: "sip:linehall.test", user: "desk-2", password: "secret8002", count: 1, qop: true}
	_, res := a.Check(k.request(t, ""))
	challenge := challengeOf(t, res)
	if !strings.Contains(challenge, "algorithm=SHA-256") {
		t.Errorf("challenge %s", challenge)
	}
	if terminal, res := a.Check(k.request(t, challenge)); res != nil || terminal.Extension != "8002" {
		t.Errorf("got %v", res)
	}
	// MD5 is no way around it.
	if _, res := a.Check(k.request(t, strings.Replace(challenge, "SHA-256", "MD5", 1))); res == nil || res.StatusCode != 401 {
		t.Errorf("MD5 for a SHA-256 terminal: %v", res)
	}
}

// A nonce may be used again with a rising count, also out of order; a repeated
// count and an old nonce get stale=true and no reproach.
func TestCountsAndStaleness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := 0
		a, _ := newAuthenticator(t, func(string, netip.Addr) { failures++ })
		k := good("8001")
		_, res := a.Check(k.request(t, ""))
		challenge := challengeOf(t, res)
		for _, step := range []struct {
			count int
			wait  time.Duration
			ok    bool
		}{{1, 0, true}, {2, 0, true}, {5, 0, true}, {3, 0, true}, {3, 0, false}, {5, 0, false}, {6, 4 * time.Minute, true}, {7, 2 * time.Minute, false}} {
			time.Sleep(step.wait)
			k.count = step.count
			_, res := a.Check(k.request(t, challenge))
			if (res == nil) != step.ok {
				t.Errorf("count %d: accepted %v", step.count, res == nil)
			}
			if res != nil && !strings.Contains(challengeOf(t, res), "stale=true") {
				t.Errorf("count %d: not said to be stale", step.count)
			}
		}
		if failures != 0 {
			t.Errorf("%d failures reported for right passwords", failures)
		}
		k.password = "x"
		if _, res := a.Check(k.request(t, challenge)); strings.Contains(challengeOf(t, res), "stale") {
			t.Error("stale=true for a wrong password")
		}
		if failures != 1 {
			t.Errorf("%d failures reported", failures)
		}
	})
}

// What a stranger sees does not tell whether a user exists.
func TestUnknownUsersLookTheSame(t *testing.T) {
	a, _ := newAuthenticator(t, nil)
	shape := func(user string) string {
		k := good(user)
		k.password = "guess"
		_, res := a.Check(k.request(t, ""))
		_, res = a.Check(k.request(t, challengeOf(t, res)))
		c, err := icholy.ParseChallenge(challengeOf(t, res))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(res.StatusCode, res.Reason, len(c.Nonce), c.Algorithm, c.QOP, c.Stale, c.Realm)
	}
	if a, b := shape("8001"), shape("9999"); a != b {
		t.Errorf("known %s\nunknown %s", a, b)
	}
}

func FuzzAuthorization(f *testing.F) {
	f.Add(`Digest username="8001", realm="linehall.test", nonce="x", uri="sip:a", response="y", qop=auth, nc=00000001, cnonce="z"`)
	f.Add(`Digest username="a\"b",realm=linehall.test,nonce=,uri="`)
	f.Add(`Digest ,,,=`)
	f.Fuzz(func(t *testing.T, header string) {
		if strings.ContainsAny(header, "\r\n") {
			return
		}
		a, _ := newAuthenticator(t, nil)
		req := good("8001").request(t, "")
		req.AppendHeader(sip.NewHeader("Authorization", header))
		if terminal, res := a.Check(req); res == nil {
			t.Errorf("%q was accepted for %s", header, terminal.Extension)
		}
	})
}

// While a phone may have either of two passwords both are good, and only the new one ends the old.
func TestBothPasswordsOfARotation(t *testing.T) {
	var renewed []string
	next := map[string]string{"8001": "brand new"}
	a, err := digest.New(digest.Options{
		Realm: "linehall.test", Responder: responder{},
		Directory: phones{
			"8001": {Extension: "8001", AuthUser: "8001", State: directory.Active},
			"8004": {Extension: "8004", AuthUser: "8004", State: directory.Active, Digest: directory.SHA256},
		},
		Next:    func(ext string) (string, bool) { p, ok := next[ext]; return p, ok },
		Renewed: func(ext string) { renewed = append(renewed, ext) },
	})
	if err != nil {
		t.Fatal(err)
	}
	check := func(ext, password string) int {
		t.Helper()
		one := good(ext)
		_, refusal := a.Check(one.request(t, ""))
		one.password = password
		terminal, refusal := a.Check(one.request(t, challengeOf(t, refusal)))
		if refusal != nil {
			return refusal.StatusCode
		}
		if terminal.Extension != ext {
			t.Errorf("%s is taken for %s", ext, terminal.Extension)
		}
		return 200
	}
	for _, tc := range []struct {
		ext, password string
		want          int
	}{
		{"8001", "secret8001", 200}, {"8001", "wrong", 401}, {"8001", "", 401}, {"8004", "secret8004", 200}, {"8004", "brand new", 401}, {"8004", "", 401},
	} {
		if got := check(tc.ext, tc.password); got != tc.want || len(renewed) > 0 {
			t.Errorf("%s with %q: %d, want %d; renewed %v", tc.ext, tc.password, got, tc.want, renewed)
		}
	}
	if got := check("8001", "brand new"); got != 200 || len(renewed) != 1 || renewed[0] != "8001" {
		t.Errorf("the next password: %d, renewed %v", got, renewed)
	}
}
