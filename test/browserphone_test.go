package test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/evanw/esbuild/pkg/api"
)

// jssip bundles the SIP client of the browser phones for a page.
func jssip(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "jssip.js")
	result := api.Build(api.BuildOptions{
		EntryPoints: []string{filepath.Join(repository, "web", "node_modules", "jssip", "lib", "JsSIP.js")},
		Bundle:      true, Format: api.FormatIIFE, GlobalName: "JsSIP", Platform: api.PlatformBrowser, Outfile: file, Write: true,
	})
	if len(result.Errors) > 0 {
		t.Fatalf("jssip: %+v", result.Errors)
	}
	return file
}

// browserPhone is one page with a phone.
type browserPhone struct {
	ID       string `json:"id"`
	URI      string `json:"uri"`
	User     string `json:"user"`
	Password string `json:"password"`
	Tone     int    `json:"tone"` // Hz
}

// webTones are what the pages speak, in turn.
var webTones = []int{700, 1700}

func (a *appliance) browserPhones(extensions ...string) *browsers {
	a.t.Helper()
	phones := make([]browserPhone, len(extensions))
	for i, e := range extensions {
		acc := a.account(e)
		phones[i] = browserPhone{e, "sip:" + e + "@" + acc.Domain, acc.AuthUser, acc.Password, webTones[i%len(webTones)]}
	}
	return drive(a.t, "browser/phones.mjs", map[string]any{"origin": a.origin(), "jssip": jssip(a.t), "phones": phones})
}

func (a *appliance) origin() string { return fmt.Sprintf("https://127.0.0.1:%d", a.ports.https) }

// sessionResult is what became of a call in a page.
type sessionResult struct {
	Confirmed bool   `json:"confirmed"`
	Failed    string `json:"failed"`
	Code      int    `json:"code"`
	Warning   string `json:"warning"`
	Ended     string `json:"ended"`
}

// Phones in a browser (JsSIP, Chromium) register over WSS with digest, call each other with sound that does not pass
// the appliance, and are gone when their page is.
func TestBrowserPhones(t *testing.T) {
	a := startAppliance(t)
	b := a.browserPhones("8001", "8002")
	for _, id := range []string{"8001", "8002"} {
		var r struct {
			Status           int
			Contact, Require string
		}
		b.do(map[string]string{"do": "register", "phone": id}, &r)
		if r.Status != 200 || !strings.Contains(r.Contact, ".invalid;transport=ws") || r.Require != "outbound" {
			t.Fatalf("%s: registration %+v", id, r)
		}
	}
	if got := a.registered(); got != 2 {
		t.Fatalf("%d registered, want 2", got)
	}
	var call sessionResult
	b.do(map[string]string{"do": "call", "phone": "8001", "target": "sip:8002@linehall.test"}, &call)
	if !call.Confirmed {
		t.Fatalf("browser to browser: %+v", call)
	}
	for _, id := range []string{"8001", "8002"} {
		var heard struct{ Packets int }
		b.do(map[string]string{"do": "heard", "phone": id}, &heard)
		if heard.Packets < 20 { // 50 on an idle machine
			t.Errorf("%s hears %d packets/s", id, heard.Packets)
		}
	}
	if got := a.metric("linehall_calls_active", `path="direct"`); got != 1 {
		t.Errorf("%v direct calls", got)
	}
	b.do(map[string]string{"do": "hangup", "phone": "8002"}, &call)
	b.do(map[string]string{"do": "ended", "phone": "8001"}, &call)
	if call.Ended == "" {
		t.Errorf("the caller's call: %+v", call)
	}

	// A GRUU of the callee's reaches it too, and its Contact is one: the caller's BYE goes there.
	var gruu struct{ Public, Temporary string }
	b.do(map[string]string{"do": "gruu", "phone": "8002"}, &gruu)
	for _, uri := range []string{gruu.Public, gruu.Temporary} {
		call = sessionResult{}
		b.do(map[string]string{"do": "call", "phone": "8001", "target": uri}, &call)
		if !call.Confirmed {
			t.Fatalf("call to %s: %+v", uri, call)
		}
		b.do(map[string]string{"do": "hangup", "phone": "8001"}, &call)
		b.do(map[string]string{"do": "ended", "phone": "8002"}, &call)
		if call.Ended == "" {
			t.Errorf("the callee's call: %+v", call)
		}
	}

	// The page is loaded anew: its phone has another contact, and the old one is not rung.
	b.do(map[string]string{"do": "reload", "phone": "8002"}, nil)
	b.do(map[string]string{"do": "register", "phone": "8002"}, nil)
	call = sessionResult{}
	b.do(map[string]string{"do": "call", "phone": "8001", "target": "sip:8002@linehall.test"}, &call)
	if !call.Confirmed {
		t.Errorf("after a reload: %+v", call)
	}
	b.do(map[string]string{"do": "unregister", "phone": "8002"}, nil)
}

// ledOverTime is how long a browser that is led to another party may hear nothing of it: a REFER and two INVITEs of this machine,
// the playout of two phones, and what it takes to notice. With another leg it is five seconds.
const ledOverTime = 1500 * time.Millisecond

// A phone in a browser (JsSIP, Chromium) and desk phones (baresip) call each other through the gateway: each hears what the
// other says, in G.711 and G.722, presses keys that the other hears, is held, restarts ICE, transfers and is transferred. The
// appliance is killed in the middle of a call, which goes on. What both said is on record, each in a channel.
func TestBrowserCallsDeskPhones(t *testing.T) {
	a := startAppliance(t, func(s settings, _ *appliance) {
		s.set("recording.rules", []any{map[string]any{"name": "browsers", "extensions": []any{"8001"}, "mode": "always", "announce": "none"}})
	})
	b := a.browserPhones("8001")
	page := func(do string, target any, answer any) {
		t.Helper()
		b.do(map[string]any{"do": do, "phone": "8001", "target": target}, answer)
	}
	pageHears := func(what string, tone int) {
		t.Helper()
		var got struct{ Share float64 }
		page("hears", tone, &got)
		if got.Share < 0.8 {
			t.Errorf("%s: %d Hz is %.2f of what the page hears", what, tone, got.Share)
		}
	}
	desk := func(extension, codec string, tone int) *softphone {
		acc := a.account(extension)
		s := startBaresip(t, nil, "hq", acc, tone, "module g722.so\nausrc_srate 8000\n", fmt.Sprintf(
			"<sip:%s@%s;transport=udp>;auth_user=%s;auth_pass=%s;outbound=\"sip:%s:%d;transport=udp\";answermode=auto;audio_codecs=%s;regint=120",
			acc.Extension, acc.Domain, acc.AuthUser, acc.Password, acc.Server, acc.UDPPort, codec))
		s.registeredAt(a, "udp")
		return s
	}
	narrow, wide := desk("8003", "pcma", lowTone), desk("8004", "G722/16000/1,pcma", highTone)
	said := webTones[0]
	page("register", nil, nil)

	var call sessionResult
	page("call", "sip:8003@linehall.test", &call)
	if !call.Confirmed {
		t.Fatalf("browser to desk phone: %+v", call)
	}
	narrow.hears(said)
	pageHears("G.711", lowTone)
	if got := a.metric("linehall_calls_active", `path="gateway"`); got != 1 {
		t.Errorf("%v calls through the gateway", got)
	}

	pressed := func(at *softphone, key string) {
		t.Helper()
		page("digit", key, nil)
		a.eventually(10*time.Second, "the desk phone gets key "+key, func() error {
			if !strings.Contains(at.output.String(), "received event: '"+key+"'") {
				return fmt.Errorf("nothing received")
			}
			return nil
		})
	}
	pressed(narrow, "5")
	narrow.do("sndcode", "8")
	var digit struct{ Share float64 }
	page("hearsDigit", []int{852, 1336}, &digit)
	if digit.Share < 0.7 {
		t.Errorf("the page hears %.2f of a key", digit.Share)
	}
	page("restart", nil, nil)
	narrow.hearsAnew(said)
	pageHears("after a restart of ICE", lowTone)

	a.eventually(5*time.Second, "the state is stored", func() error { return a.stored(1) })
	a.keysAreSealed()
	a.kill9()
	a.start()
	narrow.hearsAnew(said)
	pageHears("after a crash", lowTone)

	// The desk phone sends the browser on to another one: a new party, and another codec.
	// It keeps its leg, so that both hear each other without ICE and DTLS anew.
	began, heard := time.Now(), wide.hearsAt(said)
	narrow.do("transfer", "sip:8004@linehall.test")
	var there struct{ At int64 }
	page("hearsAt", highTone, &there)
	for who, took := range map[string]time.Duration{"the page": time.UnixMilli(there.At).Sub(began), "the desk phone": (<-heard).Sub(began)} {
		t.Logf("%s hears the other one %v after the transfer", who, took)
		if took < 0 || took > ledOverTime {
			t.Errorf("%s hears the other one %v after the transfer, want at most %v", who, took, ledOverTime)
		}
	}
	wide.hears(said)
	pageHears("transferred", highTone)
	var session struct{ Codec string }
	page("session", nil, &session)
	if !strings.EqualFold(session.Codec, "audio/G722") {
		t.Errorf("the page has codec %q", session.Codec)
	}
	held := func(state string) {
		t.Helper()
		a.eventually(10*time.Second, "the call is "+state, func() error {
			if calls := a.talking(); len(calls) != 1 || calls[0].State != state {
				return fmt.Errorf("%+v", calls)
			}
			return nil
		})
	}
	// After a hold baresip 1.0 decodes nothing more into its file, whoever held; keys tell whether media reaches it.
	wide.do("hold", "")
	held("held")
	wide.do("resume", "")
	held("established")
	pageHears("resumed by the desk phone", highTone)
	pressed(wide, "7")
	page("hold", nil, nil)
	held("held")
	page("unhold", nil, nil)
	held("established")
	pageHears("resumed by the page", highTone)
	pressed(wide, "6")
	id := a.talking()[0].ID
	page("hangup", nil, &call)
	a.eventually(10*time.Second, "no call is left", func() error {
		if n := len(a.talking()); n != 0 {
			return fmt.Errorf("%d calls", n)
		}
		return nil
	})

	a.hearsRecording(id, said, highTone)

	// The desk phone calls the browser, which sends it on.
	narrow.do("dial", "sip:8001@linehall.test")
	page("session", nil, &session)
	narrow.hears(said)
	pageHears("called", lowTone)
	var referred struct{ Accepted bool }
	page("refer", "sip:8004@linehall.test", &referred)
	if !referred.Accepted {
		t.Errorf("the browser's transfer: %+v", referred)
	}
	narrow.hears(highTone)
	wide.hears(lowTone)
	wide.do("hangup", "")

	var export struct {
		CDRs []struct {
			From, To   string
			Path       string
			SRTPCaller bool     `json:"srtp_caller"`
			MOSCaller  *float64 `json:"mos_caller"`
			MOSCallee  *float64 `json:"mos_callee"`
		}
	}
	a.decode(&export, "cdr", "export")
	if n := len(export.CDRs); n < 3 {
		t.Errorf("%d records", n)
	}
	for _, r := range export.CDRs {
		if r.From != "8001" && r.To != "8001" { // the two desk phones', if its end is on record already
			continue
		}
		if r.Path != "gateway" || r.MOSCaller == nil || r.MOSCallee == nil || *r.MOSCaller < 3 || *r.MOSCallee < 3 {
			t.Errorf("record %+v", r)
		}
	}
}

// A certificate that is replaced shows at the next handshake, on the SIP TLS port and on that of WebSockets, and open
// connections stay.
func TestCertificateChangesUnderConnections(t *testing.T) {
	a := startAppliance(t)
	sipTLS, https := fmt.Sprintf("127.0.0.1:%d", a.ports.tls), fmt.Sprintf("127.0.0.1:%d", a.ports.https)
	phones := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // what is looked at is which certificate comes
	leaf := func(addr string) []byte {
		t.Helper()
		conn, err := (&tls.Dialer{Config: phones}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // nothing was said
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw
	}
	before := [][]byte{leaf(sipTLS), leaf(https)}

	desk, err := (&tls.Dialer{Config: phones}).DialContext(t.Context(), "tcp", sipTLS)
	if err != nil {
		t.Fatal(err)
	}
	defer desk.Close() //nolint:errcheck // the test has ended
	transport := &http.Transport{TLSClientConfig: phones}
	defer transport.CloseIdleConnections()
	page, res, err := websocket.Dial(t.Context(), "wss://"+https+"/sip", &websocket.DialOptions{
		Subprotocols: []string{"sip"}, HTTPClient: &http.Client{Transport: transport}, HTTPHeader: http.Header{"Origin": {"https://" + https}},
	})
	if err != nil {
		t.Fatal(err, res)
	}
	defer page.CloseNow() //nolint:errcheck // the test has ended
	alive := func() {
		t.Helper()
		id := fmt.Sprint(time.Now().UnixNano())
		text := func(transport string) []byte {
			return []byte("OPTIONS sip:linehall.test SIP/2.0\r\nVia: SIP/2.0/" + transport + " x.invalid;branch=z9hG4bK" + id + "\r\nMax-Forwards: 70\r\n" +
				"From: <sip:x@linehall.test>;tag=" + id + "\r\nTo: <sip:linehall.test>\r\nCall-ID: " + id + "\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
		}
		if _, err := desk.Write(text("TLS")); err != nil {
			t.Fatal(err)
		}
		_ = desk.SetReadDeadline(time.Now().Add(10 * time.Second)) // of a live socket
		buf := make([]byte, 4096)
		if n, err := desk.Read(buf); err != nil || !bytes.HasPrefix(buf[:n], []byte("SIP/2.0 200 ")) {
			t.Errorf("TLS: %q, %v", buf[:n], err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := page.Write(ctx, websocket.MessageText, text("WSS")); err != nil {
			t.Fatal(err)
		}
		if _, answer, err := page.Read(ctx); err != nil || !bytes.HasPrefix(answer, []byte("SIP/2.0 200 ")) {
			t.Errorf("WSS: %q, %v", answer, err)
		}
	}
	alive()
	a.run("cert", "renew")
	for i, addr := range []string{sipTLS, https} {
		a.eventually(10*time.Second, "a new certificate on "+addr, func() error {
			if bytes.Equal(leaf(addr), before[i]) {
				return fmt.Errorf("still the old one")
			}
			return nil
		})
	}
	alive()

	_, refused, err := websocket.Dial(t.Context(), "wss://"+https+"/sip", &websocket.DialOptions{ //nolint:bodyclose // read by the library
		Subprotocols: []string{"sip"}, HTTPClient: &http.Client{Transport: transport}, HTTPHeader: http.Header{"Origin": {"https://evil.example"}},
	})
	if err == nil || refused == nil || refused.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another site: %v, %v", refused, err)
	}
}

// drive starts a driver of browsers with its plan.
func drive(t *testing.T, script string, plan map[string]any) *browsers {
	t.Helper()
	artifacts := t.TempDir()
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(artifacts, "plan.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return startDriver(t, script, file, artifacts)
}
