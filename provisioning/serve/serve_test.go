package serve_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"linehall/internal/audit"
	"linehall/internal/database"
	"linehall/internal/directory"
	"linehall/internal/secret"
	"linehall/internal/site"
	"linehall/provisioning/enrolment"
	"linehall/provisioning/inventory"
	"linehall/provisioning/phone"
	"linehall/provisioning/phone/cisco"
	"linehall/provisioning/phone/fanvil"
	"linehall/provisioning/phone/grandstream"
	"linehall/provisioning/phone/htek"
	"linehall/provisioning/phone/poly"
	"linehall/provisioning/phone/snom"
	"linehall/provisioning/phone/yealink"
	"linehall/provisioning/serve"
)

const (
	ours     = "00:15:65:00:00:01" // extension 2001 at branch1
	oursFile = "001565000001.cfg"
	branch   = "127.0.1.20" // an address of branch1
	hq       = "127.0.0.20"
	outside  = "127.9.0.1"
	agent    = "Yealink SIP-T33G 124.86.0.75 00:15:65:00:00:01"
)

// exchange is a whole server: database, directory, both listeners.
type exchange struct {
	t      *testing.T
	server *serve.Server
	book   *enrolment.Book
	audit  *audit.Log
	log    *bytes.Buffer
	reg    *prometheus.Registry
	now    time.Time
	plain  string
	secure *httptest.Server
	secret string // the SIP password of 2001

	terminals    *directory.Directory
	organisation serve.Organisation
	ca           func() []byte
}

func newExchange(t *testing.T) *exchange {
	t.Helper()
	x := &exchange{t: t, log: &bytes.Buffer{}, reg: prometheus.NewRegistry(), now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	x.ca = func() []byte { return []byte("-----BEGIN CERTIFICATE-----\n") }
	folder := t.TempDir()
	db, err := database.Open(t.Context(), filepath.Join(folder, "test.db"))
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	must(t, database.Migrate(t.Context(), db, audit.Schema(), directory.Schema(), enrolment.Schema()))
	box, err := secret.Open(folder)
	must(t, err)
	terminals, err := directory.Open(t.Context(), db, box)
	must(t, err)
	x.terminals = terminals
	must(t, terminals.Apply(t.Context(), []directory.Terminal{
		{Extension: "2001", DisplayName: "林东值班室", Site: "branch1", MAC: ours, Model: "T33G", State: directory.Active, Template: "loud"},
		{Extension: "2002", Site: "branch1", MAC: "00:15:65:00:00:02", Model: "T33G", State: directory.Disabled},
		{Extension: "2003", Site: "branch1", MAC: "7c:2f:80:00:00:03", Model: "N510", State: directory.Active},
		{Extension: "2004", Site: "branch1", MAC: "00:15:65:00:00:04", Model: "T33G", State: directory.Active, Template: "gone"},
	}))
	x.secret, err = terminals.Password(t.Context(), "2001")
	must(t, err)
	table, err := site.NewTable([]site.Site{
		{ID: "hq", Name: "局机关", Main: true, Subnets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24")}},
		{ID: "branch1", Name: "林东", Subnets: []netip.Prefix{netip.MustParsePrefix("127.0.1.0/24")}, Line: &site.Line{Up: 2e6, Down: 2e6}},
	})
	must(t, err)
	x.book, err = enrolment.Open(t.Context(), db, box, func() time.Time { return x.now })
	must(t, err)
	x.audit, err = audit.Open(t.Context(), db)
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(folder, "templates", "yealink"), 0o700))
	must(t, os.WriteFile(filepath.Join(folder, "templates", "yealink", "loud.cfg"), []byte("phone_setting.ring_type = Ring2.wav\n"), 0o600))
	config := inventory.DefaultConfig()
	config.Templates = filepath.Join(folder, "templates")
	x.organisation = serve.Organisation{
		Domain: "linehall.test", Language: "zh-CN", TimeZone: "Asia/Shanghai", SIPPorts: map[phone.Transport]uint16{phone.UDP: 5060, phone.TLS: 5061},
		HTTPPort: 8080, HTTPSPort: 8443, DialNow: []string{"110"}, Terminals: config,
		Brands: []phone.Brand{yealink.Brand{}, grandstream.Brand{}, fanvil.Brand{}, snom.Brand{}, cisco.Brand{}, poly.Brand{}, htek.Brand{}},
	}
	x.server = serve.New(serve.Options{
		Directory: terminals, Atlas: site.NewAtlas(table), Book: x.book, Audit: x.audit,
		CA: func() []byte { return x.ca() }, Now: func() time.Time { return x.now },
		Log: slog.New(slog.NewTextHandler(x.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Registerer: x.reg,
		Organisation: x.organisation,
	})
	x.listen()
	return x
}

// listen starts the plain listener by Run and the secure one with TLS.
func (x *exchange) listen() {
	x.t.Helper()
	listener, err := new(net.ListenConfig).Listen(x.t.Context(), "tcp", "127.0.0.1:0")
	must(x.t, err)
	x.plain = "http://" + listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- x.server.Run(ctx, listener) }()
	x.t.Cleanup(func() {
		stop()
		must(x.t, <-ended)
	})
	x.secure = httptest.NewTLSServer(x.server.Secure())
	x.t.Cleanup(x.secure.Close)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reply is what a phone got.
type reply struct {
	status int
	body   string
	header http.Header
}

// do asks like a phone at the address from.
func (x *exchange) do(method, from, url, userAgent string, body io.Reader) reply {
	x.t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := x.secure.Client().Transport.(*http.Transport).Clone()
	transport.DialContext, transport.DisableKeepAlives = dialer.DialContext, true
	request, err := http.NewRequestWithContext(x.t.Context(), method, url, body)
	must(x.t, err)
	request.Header.Set("User-Agent", userAgent)
	response, err := (&http.Client{Transport: transport}).Do(request)
	must(x.t, err)
	content, err := io.ReadAll(response.Body)
	must(x.t, err)
	must(x.t, response.Body.Close())
	return reply{response.StatusCode, string(content), response.Header}
}

func (x *exchange) get(from, url string) reply {
	x.t.Helper()
	return x.do(http.MethodGet, from, url, agent, nil)
}

// settings parses a file as the phone does.
func (x *exchange) settings(r reply) map[string]string {
	x.t.Helper()
	if r.status != http.StatusOK {
		x.t.Fatalf("status %d: %s", r.status, r.body)
	}
	lines, err := yealink.Brand{}.Parse([]byte(r.body))
	must(x.t, err)
	settings := map[string]string{}
	for _, line := range lines {
		settings[line.Key] = line.Value
	}
	return settings
}

func (x *exchange) open() {
	x.t.Helper()
	_, err := x.server.OpenWindow(x.t.Context(), "branch1", 30*time.Minute, "admin")
	must(x.t, err)
}

func (x *exchange) wantNoSecret(what string, r reply) {
	x.t.Helper()
	if strings.Contains(r.body, x.secret) || strings.Contains(r.body, "password") {
		x.t.Errorf("%s: a secret got out:\n%s", what, r.body)
	}
}

func TestAPhoneComesFromTheBoxToItsPassword(t *testing.T) {
	x := newExchange(t)
	// Out of the box: DHCP names the plain listener.
	for _, name := range []string{"/001565000001.boot", "/y000000000000.boot"} {
		if got := x.get(branch, x.plain+name); got.status != http.StatusNotFound {
			t.Errorf("%s: %d; with a boot file the phone asks for nothing else", name, got.status)
		}
	}
	common := x.get(branch, x.plain+"/y000000000124.cfg")
	x.wantNoSecret("common file", common)
	if got := x.settings(common)["local_time.time_zone"]; got != "+8" {
		t.Errorf("time zone %q", got)
	}
	first := x.get(branch, x.plain+"/"+oursFile)
	x.wantNoSecret("bootstrap", first)
	settings := x.settings(first)
	next := settings["static.auto_provision.server.url"]
	if next != "https://127.0.0.1:8443/prov/" || settings["static.trusted_certificates.url"] != "http://127.0.0.1:8080/ca.crt" {
		t.Errorf("next %q, CA %q", next, settings["static.trusted_certificates.url"])
	}
	if ca := x.get(branch, x.plain+"/ca.crt"); !strings.HasPrefix(ca.body, "-----BEGIN CERTIFICATE") {
		t.Errorf("CA: %d %q", ca.status, ca.body)
	}
	// The window is closed: still no secret, but it keeps asking.
	closed := x.get(branch, x.secure.URL+"/prov/"+oursFile)
	x.wantNoSecret("closed window", closed)
	if x.settings(closed)["static.auto_provision.repeat.minutes"] != "10" {
		t.Error("the phone does not come back soon")
	}
	x.open()
	full := x.settings(x.get(branch, x.secure.URL+"/prov/"+oursFile))
	want := map[string]string{
		"account.1.user_name": "2001", "account.1.password": x.secret, "account.1.display_name": "林东值班室",
		"account.1.sip_server.1.address": "linehall.test", "account.1.outbound_proxy.1.address": "127.0.0.1",
		"phone_setting.ring_type": "Ring2.wav", "static.auto_provision.dhcp_option.enable": "0",
	}
	for key, value := range want {
		if full[key] != value {
			t.Errorf("%s = %q, want %q", key, full[key], value)
		}
	}
	// From now on its own address works without a window, the common one does not.
	own := strings.Replace(full["static.auto_provision.server.url"], "https://127.0.0.1:8443", x.secure.URL, 1) + oursFile
	again := x.get(branch, own)
	if diff := cmp.Diff(full, x.settings(again)); diff != "" {
		t.Errorf("the same phone gets another file (-first +second):\n%s", diff)
	}
	x.wantNoSecret("enrolled in this window", x.get(branch, x.secure.URL+"/prov/"+oursFile))
	x.now = x.now.Add(24 * time.Hour)
	if third := x.get(branch, own); third.body != again.body {
		t.Error("unchanged settings gave other bytes a day later")
	}
	if device, _ := x.book.Device(ours); !device.ProvisionedAt.Equal(x.now) || device.Address != branch {
		t.Errorf("device %+v", device)
	}
	if strings.Contains(x.log.String(), x.secret) || strings.Contains(x.log.String(), strings.Split(own, "/")[5]) {
		t.Error("the log has a secret")
	}
	events, err := x.audit.List(t.Context(), 0, 10)
	must(t, err)
	if len(events) != 2 || events[0].Action != "terminal.enrol" || events[0].Object != "2001" {
		t.Errorf("audit %+v", events)
	}
}

func TestSecretsStayInsideTheGate(t *testing.T) {
	x := newExchange(t)
	x.open()
	x.wantNoSecret("plain HTTP in the window", x.get(branch, x.plain+"/"+oursFile))
	x.wantNoSecret("plain HTTP under /prov/", x.get(branch, x.plain+"/prov/"+oursFile))
	x.wantNoSecret("another site", x.get(hq, x.secure.URL+"/prov/"+oursFile))
	x.wantNoSecret("the secure handler without TLS", func() reply {
		server := httptest.NewServer(x.server.Secure())
		defer server.Close()
		return x.get(branch, server.URL+"/prov/"+oursFile)
	}())
	token, err := x.book.Token(t.Context(), ours, "branch1")
	must(t, err)
	refused := x.get(outside, x.secure.URL+"/prov/"+oursFile)
	for what, got := range map[string]reply{
		"token by plain HTTP":     x.get(branch, x.plain+"/prov/t/"+token+"/"+oursFile),
		"token from another site": x.get(hq, x.secure.URL+"/prov/t/"+token+"/"+oursFile),
		"token of another phone":  x.do(http.MethodGet, branch, x.secure.URL+"/prov/t/"+token+"/001565000004.cfg", "", nil),
		"guessed token":           x.get(branch, x.secure.URL+"/prov/t/aaaaaaaaaaaaaaaaaaaaaaaaaa/"+oursFile),
		"unknown phone":           x.do(http.MethodGet, branch, x.secure.URL+"/prov/001565999999.cfg", "", nil),
		"disabled phone":          x.do(http.MethodGet, branch, x.secure.URL+"/prov/001565000002.cfg", "", nil),
		"another phone's file":    x.get(branch, x.secure.URL+"/prov/001565000004.cfg"),
		"missing template":        x.do(http.MethodGet, branch, x.secure.URL+"/prov/001565000004.cfg", "", nil),
		"other brand":             x.do(http.MethodGet, branch, x.secure.URL+"/prov/cfg7c2f80000003.xml", "", nil),
		"traversal":               x.get(branch, x.secure.URL+"/prov/..%2f..%2fetc%2fpasswd"),
		"traversal in a token":    x.get(branch, x.secure.URL+"/prov/t/../"+oursFile),
		"backslash":               x.get(branch, x.secure.URL+"/prov/..%5c..%5c"+oursFile),
		"folder":                  x.get(branch, x.secure.URL+"/prov/"),
		"line break":              x.get(branch, x.secure.URL+"/prov/"+oursFile+"%0a"),
		"the user's changes":      x.get(branch, x.secure.URL+"/prov/001565000001-local.cfg"),
		"deeper":                  x.get(branch, x.secure.URL+"/prov/x/"+oursFile),
	} {
		if got.status != http.StatusNotFound || got.body != refused.body {
			t.Errorf("%s: %d %q, want the same refusal as from outside: %d %q", what, got.status, got.body, refused.status, refused.body)
		}
		x.wantNoSecret(what, got)
	}
}

func TestUnknownPhonesAreListed(t *testing.T) {
	x := newExchange(t)
	const stranger = "Yealink SIP-T46U 108.86.0.20 80:5e:c0:aa:bb:cc"
	for _, name := range []string{"/805ec0aabbcc.boot", "/y000000000000.boot", "/y000000000108.cfg", "/805ec0aabbcc.cfg"} {
		if got := x.do(http.MethodGet, branch, x.plain+name, stranger, nil); got.status != http.StatusNotFound {
			t.Errorf("%s: %d", name, got.status)
		}
	}
	x.do(http.MethodGet, hq, x.plain+"/cfgc074ad112233.xml", "Grandstream Model HW GRP2614 SW 1.0.5.67 DevId c074ad112233", nil)
	x.do(http.MethodGet, outside, x.plain+"/805ec0ddeeff.cfg", "", nil)
	list := x.server.Unknown()
	if len(list) != 2 {
		t.Fatalf("%d unknown phones: %+v", len(list), list)
	}
	byMAC := map[string]int{list[0].MAC: 0, list[1].MAC: 1}
	seen := list[byMAC["80:5e:c0:aa:bb:cc"]]
	if seen.Brand != "yealink" || seen.Model != "T46U" || seen.Site != "branch1" || seen.Requests != 4 ||
		seen.CSV() != "80:5e:c0:aa:bb:cc,T46U,branch1,,,,active," {
		t.Errorf("seen %+v, row %s", seen, seen.CSV())
	}
	if other := list[byMAC["c0:74:ad:11:22:33"]]; other.Brand != "grandstream" || other.Model != "GRP2614" || other.Site != "hq" {
		t.Errorf("seen %+v", other)
	}
	metrics := `
# HELP linehall_provisioning_requests_total Requests of phones for configuration files.
# TYPE linehall_provisioning_requests_total counter
linehall_provisioning_requests_total{brand="grandstream",result="unknown"} 1
linehall_provisioning_requests_total{brand="yealink",result="outside"} 1
linehall_provisioning_requests_total{brand="yealink",result="unknown"} 4
`
	if err := testutil.GatherAndCompare(x.reg, strings.NewReader(metrics), "linehall_provisioning_requests_total"); err != nil {
		t.Error(err)
	}
}

func TestOddRequestsAreBounded(t *testing.T) {
	x := newExchange(t)
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodOptions} {
		got := x.do(method, branch, x.plain+"/"+oursFile, agent, strings.NewReader("x"))
		if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d, Allow %q", method, got.status, got.header.Get("Allow"))
		}
	}
	head := x.do(http.MethodHead, branch, x.plain+"/"+oursFile, agent, nil)
	full := x.get(branch, x.plain+"/"+oursFile)
	if head.status != http.StatusOK || head.body != "" || head.header.Get("Content-Length") != full.header.Get("Content-Length") {
		t.Errorf("HEAD: %+v", head)
	}
	if got := x.get(branch, x.plain+"/"+strings.Repeat("a", 300)); got.status != http.StatusNotFound {
		t.Errorf("long path: %d", got.status)
	}
	if got := x.do(http.MethodGet, branch, x.plain+"/"+oursFile, agent, strings.NewReader(strings.Repeat("x", 5000))); got.status != http.StatusNotFound {
		t.Errorf("large body: %d", got.status)
	}
	limited := 0
	handler := x.server.Bootstrap()
	for range 1000 {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/001565999999.cfg", nil)
		r.RemoteAddr = "127.0.1.77:5555"
		handler.ServeHTTP(w, r)
		if w.Code == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited != 600 {
		t.Errorf("%d of 1000 requests at once were refused", limited)
	}
	x.now = x.now.Add(time.Second)
	if got := x.get(branch, x.plain+"/"+oursFile); got.status != http.StatusOK {
		t.Errorf("another phone suffers: %d", got.status)
	}
}

func TestWindowsAreChecked(t *testing.T) {
	x := newExchange(t)
	for _, wish := range []struct {
		id       site.ID
		duration time.Duration
	}{{"branch9", time.Hour}, {"branch1", 0}, {"branch1", 5 * time.Hour}} {
		if _, err := x.server.OpenWindow(t.Context(), wish.id, wish.duration, "admin"); err == nil {
			t.Errorf("window of %s for %s was opened", wish.id, wish.duration)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add("/prov/t/abc/001565000001.cfg", agent)
	f.Add("//..%2f/", "")
	server := serve.New(serve.Options{
		Directory: nobody{}, Atlas: site.NewAtlas(nil), CA: func() []byte { return []byte("x") },
		Now: time.Now, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	f.Fuzz(func(t *testing.T, path, userAgent string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path, r.RemoteAddr = path, "127.0.1.1:1"
		r.Header.Set("User-Agent", userAgent)
		w := httptest.NewRecorder()
		server.Secure().ServeHTTP(w, r)
		if w.Code == http.StatusOK && !strings.HasSuffix(path, "ca.crt") {
			t.Errorf("%q was answered", path)
		}
	})
}

type nobody struct{}

func (nobody) ByMAC(string) (directory.Terminal, bool) { return directory.Terminal{}, false }

func (nobody) Newest(context.Context, string) (string, error) { return "", directory.ErrUnknown }
