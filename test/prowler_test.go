package test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

// reply is what somebody got who asked for a phone's file.
type reply struct {
	code   int
	header string // all but the date
	body   string
}

// asks asks for a path from an address, by HTTPS or plainly.
func (a *appliance) asks(from string, secure bool, method, path, agent string, body io.Reader) reply {
	a.t.Helper()
	dialer := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: dialer.DialContext, DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	base := fmt.Sprintf("http://127.0.0.1:%d", a.ports.provisioning)
	if secure {
		base = fmt.Sprintf("https://127.0.0.1:%d/prov", a.ports.https)
	}
	req, err := http.NewRequestWithContext(a.t.Context(), method, base, body)
	if err != nil {
		a.t.Fatal(err)
	}
	req.URL.Path, req.URL.RawPath = "", ""
	req.URL.Opaque = "//" + req.URL.Host + strings.TrimPrefix(base[strings.Index(base, "://")+3:], req.URL.Host) + path // as it is
	if agent != "" {
		req.Header.Set("User-Agent", agent)
	}
	res, err := client.Do(req)
	if err != nil {
		return reply{header: err.Error()}
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil && !strings.Contains(err.Error(), "reset") { // who sends what nobody reads is cut off
		a.t.Errorf("%s from %s: %v", path, from, err)
	}
	res.Header.Del("Date")
	var header bytes.Buffer
	if err := res.Header.Write(&header); err != nil {
		a.t.Fatal(err)
	}
	return reply{res.StatusCode, header.String(), string(content)}
}

var tokenIn = regexp.MustCompile(`/prov/t/([a-z0-9]+)/`)

// Whoever wants what is a phone's gets the same answer whatever he tries, no secret, and is counted; who tries phone after
// phone is shut out, raises an alarm and is on record.
func TestProwlersGetNothing(t *testing.T) {
	t.Parallel()
	a := startAppliance(t)
	const (
		file  = "/805ec058c711.cfg" // 8002, at headquarters
		agent = "Yealink SIP-T54W 96.86.0.100 80:5e:c0:58:c7:11"
		home  = "127.0.0.61"
		other = "127.0.1.61" // branch1
	)
	secret := a.account("8002").Password
	tardy := a.slowClients(home)

	closed := a.asks(home, true, "GET", file, agent, nil)
	if closed.code != 200 || strings.Contains(closed.body, secret) || tokenIn.MatchString(closed.body) {
		t.Fatalf("closed window: %+v", closed)
	}
	a.run("terminal", "open", "--site", "hq")
	for what, r := range map[string]reply{
		"plain HTTP": a.asks(home, false, "GET", file, agent, nil), "another site": a.asks(other, true, "GET", file, agent, nil),
	} {
		if r.code != 200 || strings.Contains(r.body, secret) || tokenIn.MatchString(r.body) {
			t.Errorf("%s: %+v", what, r)
		}
	}
	enrolled := a.asks(home, true, "GET", file, agent, nil)
	token := tokenIn.FindStringSubmatch(enrolled.body)
	if token == nil || !strings.Contains(enrolled.body, secret) {
		t.Fatalf("window open: %+v", enrolled)
	}
	own := "/t/" + token[1] + file
	if r := a.asks(home, true, "GET", own, agent, nil); !strings.Contains(r.body, secret) {
		t.Fatalf("with its token: %+v", r)
	}

	refused := a.asks(home, true, "GET", "/805ec0ffffff.cfg", "", nil) // the measure: a phone that nobody knows
	plainRefused := a.asks(home, false, "GET", "/805ec0ffffff.cfg", "", nil)
	if refused.code != 404 || plainRefused.code != 404 {
		t.Fatalf("refusals: %+v, %+v", refused, plainRefused)
	}
	for _, tc := range []struct {
		what, from string
		secure     bool
		path       string
		agent      string
	}{
		{"outside the organisation", "127.9.0.1", true, file, agent},
		{"outside, plainly", "127.9.0.1", false, file, agent},
		{"a token at another site", other, true, own, agent},
		{"a token without encryption", home, false, own, agent},
		{"a wrong token", home, true, "/t/" + strings.Repeat("a", len(token[1])) + file, agent},
		{"a token of another phone", home, true, "/t/" + token[1] + "/805ec058c712.cfg", ""},
		{"another phone's file", home, true, "/805ec058c712.cfg", agent},
		{"climbing", home, false, "/../linehall.yaml", agent},
		{"climbing, written in hex", home, false, "/%2e%2e/%2e%2e/etc/passwd", agent},
		{"climbing over HTTPS", home, true, "/..%2f..%2fdata%2flinehall.db", agent},
		{"backslashes", home, false, "/..%5c..%5clinehall.yaml", agent},
		{"an absolute path", home, false, "//etc/passwd", agent},
		{"a NUL", home, false, "/805ec058c711.cfg%00.txt", agent},
		{"a long path", home, false, "/" + strings.Repeat("a", 4000), agent},
		{"a file of ours", home, false, "/secret.key", agent},
	} {
		r, want := a.asks(tc.from, tc.secure, "GET", tc.path, tc.agent, nil), plainRefused
		if tc.secure {
			want = refused
		}
		if r != want {
			t.Errorf("%s:\n got %+v\nwant %+v", tc.what, r, want)
		}
	}
	if r := a.asks(home, true, "GET", "/t/"+token[1]+"/../../../linehall.yaml", agent, nil); r.code != 404 || strings.Contains(r.body, "sites") { // the console's own refusal
		t.Errorf("climbing out of the folder: %+v", r)
	}
	if r := a.asks(home, false, "GET", file, agent, strings.NewReader(strings.Repeat("x", 1<<20))); r.code != 404 && r.code != 0 {
		t.Errorf("a GET with a megabyte: %+v", r)
	}
	if r := a.asks(home, false, "GET", file, strings.Repeat("x", 20<<10), nil); r.code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("20 KiB of header: %+v", r)
	}
	if r := a.asks(home, true, "PUT", file, agent, strings.NewReader("x")); r.code != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %+v", r)
	}

	// A new enrolment is the end of the token before it.
	a.run("terminal", "open", "--site", "hq")
	if r := a.asks(home, true, "GET", file, agent, nil); !strings.Contains(r.body, secret) || strings.Contains(r.body, token[1]) {
		t.Fatalf("enrolled anew: %+v", r)
	}
	if r := a.asks(home, true, "GET", own, agent, nil); r != refused {
		t.Errorf("a token replayed after a new enrolment: %+v", r)
	}

	a.sweeps(t, file, agent, refused)
	for _, result := range []string{"outside", "token", "mismatch", "unknown", "none", "size", "method", "swept", "full", "bootstrap"} {
		if a.metric("linehall_provisioning_requests_total", `result="`+result+`"`) == 0 {
			t.Errorf("nothing is counted as %s", result)
		}
	}
	tardy()
	if log := a.output.String(); strings.Contains(log, secret) || strings.Contains(log, token[1]) {
		t.Error("a secret is in the log")
	}
	a.run("audit", "verify")
}

// sweeps tries phone after phone from an address of branch2.
func (a *appliance) sweeps(t *testing.T, file, agent string, refused reply) {
	t.Helper()
	const prowler = "127.0.2.66"
	if r := a.asks(prowler, true, "GET", file, agent, nil); r.code != 200 {
		t.Errorf("before: %+v", r)
	}
	for i := range 6 {
		if r := a.asks(prowler, true, "GET", fmt.Sprintf("/805ec0fffff%x.cfg", i), "", nil); r != refused {
			t.Errorf("guess %d: %+v", i, r)
		}
	}
	if r := a.asks(prowler, true, "GET", file, agent, nil); r != refused {
		t.Errorf("after six guesses: %+v", r)
	}
	a.eventually(5*time.Second, "the sweep is an alarm", func() error {
		if out := a.run("status", "--json"); !strings.Contains(out, "provisioning_sweep") || !strings.Contains(out, prowler) {
			return fmt.Errorf("status: %.2000s", out)
		}
		return nil
	})
	if out := a.run("audit", "list", "--limit", "50"); !strings.Contains(out, "provisioning.sweep") {
		t.Errorf("the audit log has no sweep:\n%s", out)
	}
	a.run("terminal", "open", "--site", "branch2")
	if r := a.asks(prowler, true, "GET", file, agent, nil); r.code != 200 {
		t.Errorf("after the admin opened the window: %+v", r)
	}
}

// slowClients connect and say almost nothing; the returned function checks that nobody waits for them.
func (a *appliance) slowClients(from string) (check func()) {
	a.t.Helper()
	began := time.Now()
	var conns []net.Conn
	for i := range 20 {
		conn := dialFrom(a.t.Context(), "tcp", from+":0", a.ports.provisioning)
		if conn == nil {
			a.t.Fatal("no connection")
		}
		a.t.Cleanup(func() { conn.Close() })
		if _, err := conn.Write([]byte("GET /805ec058c711.cfg HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", i))); err != nil {
			a.t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	return func() {
		a.t.Helper()
		for _, conn := range conns {
			if err := conn.SetReadDeadline(began.Add(20 * time.Second)); err != nil {
				a.t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
				a.t.Errorf("a slow client is still connected after %s: %v", time.Since(began), err)
				return
			}
		}
	}
}
