package pnp_test

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"linehall/provisioning/pnp"
)

var (
	phoneAt = netip.MustParseAddrPort("10.1.20.31:5080")
	own     = netip.MustParseAddrPort("10.1.0.10:5060")
)

// snom is the question of a current phone, as in a trace.
const snom = "SUBSCRIBE sip:MAC%3a0004130A0B0C@224.0.1.75 SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 10.1.20.31:5060;branch=z9hG4bK-1;rport\r\n" +
	"From: <sip:MAC%3a0004130A0B0C@224.0.1.75>;tag=A\r\nTo: <sip:MAC%3a0004130A0B0C@224.0.1.75>\r\n" +
	"Call-ID: X\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:10.1.20.31:5060>\r\n" +
	"Event: ua-profile;profile-type=\"device\";vendor=\"snom\";model=\"snomD785\";version=\"10.1.184.15\"\r\n" +
	"Accept: application/url\r\nExpires: 0\r\nContent-Length: 0\r\n\r\n"

// desk runs a server whose answers are kept.
type desk struct {
	server *pnp.Server
	sent   chan string
	asked  []pnp.Asked
}

func start(t *testing.T, url string) *desk {
	t.Helper()
	d := &desk{sent: make(chan string, 64)}
	d.server = pnp.New(pnp.Options{Now: time.Now, Log: slog.New(slog.DiscardHandler), Introduce: func(_ context.Context, a pnp.Asked) (string, bool) {
		d.asked = append(d.asked, a)
		return url, url != ""
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = d.server.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return d
}

func (d *desk) take(text string) bool {
	return d.server.Take([]byte(text), phoneAt, own, func(b []byte) error { d.sent <- string(b); return nil })
}

// answers lists what was sent so far.
func (d *desk) answers() []string {
	var list []string
	for {
		select {
		case text := <-d.sent:
			list = append(list, text)
		default:
			return list
		}
	}
}

func headers(text string) map[string]string {
	head, _, _ := strings.Cut(text, "\r\n\r\n")
	found := map[string]string{}
	for _, line := range strings.Split(head, "\r\n")[1:] {
		name, value, _ := strings.Cut(line, ": ")
		found[name] = value
	}
	return found
}

func TestAPhoneIsToldItsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, "http://10.1.0.10:8080/")
		if !d.take(snom) {
			t.Fatal("not taken")
		}
		synctest.Wait()
		sent := d.answers()
		if len(sent) != 2 {
			t.Fatalf("sent %q", sent)
		}
		response, notify := headers(sent[0]), headers(sent[1])
		if !strings.HasPrefix(sent[0], "SIP/2.0 200 OK\r\n") || response["Via"] != "SIP/2.0/UDP 10.1.20.31:5060;branch=z9hG4bK-1;rport=5080;received=10.1.20.31" ||
			response["Call-ID"] != "X" || response["CSeq"] != "1 SUBSCRIBE" || response["Expires"] != "0" || response["Contact"] != "<sip:10.1.0.10:5060>" {
			t.Errorf("response:\n%s", sent[0])
		}
		if !strings.HasPrefix(sent[1], "NOTIFY sip:10.1.20.31:5060 SIP/2.0\r\n") || !strings.HasSuffix(sent[1], "\r\n\r\nhttp://10.1.0.10:8080/") {
			t.Errorf("notify:\n%s", sent[1])
		}
		tag := strings.TrimPrefix(response["To"], "<sip:MAC%3a0004130A0B0C@224.0.1.75>;tag=")
		want := map[string]string{
			"From": "<sip:MAC%3a0004130A0B0C@224.0.1.75>;tag=" + tag, "To": "<sip:MAC%3a0004130A0B0C@224.0.1.75>;tag=A", "Call-ID": "X", "CSeq": "1 NOTIFY",
			"Max-Forwards": "20", "Contact": "<sip:10.1.0.10:5060>", "Subscription-State": "terminated;reason=timeout",
			"Event":        `ua-profile;profile-type="device";vendor="snom";model="snomD785";version="10.1.184.15"`,
			"Content-Type": "application/url", "Content-Length": "22", "Via": notify["Via"],
		}
		if diff := cmp.Diff(want, notify); diff != "" || tag == "" {
			t.Errorf("notify (-want +got):\n%s", diff)
		}
		asked := []pnp.Asked{{MAC: "00:04:13:0a:0b:0c", Vendor: "snom", Model: "snomD785", Version: "10.1.184.15", Remote: phoneAt, Own: own}}
		if diff := cmp.Diff(asked, d.asked, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
	})
}

// A NOTIFY that is lost is sent again; one that has arrived is not, and a repeated question is not a new one.
func TestRepetitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, "http://10.1.0.10:8080/")
		d.take(snom)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if sent := d.answers(); len(sent) != 5 {
			t.Errorf("unheard: %d messages, want 200 and 4 NOTIFYs", len(sent))
		}
		d.take(snom)
		synctest.Wait()
		if sent := d.answers(); len(sent) != 1 || len(d.asked) != 1 {
			t.Errorf("a repeated question got %d messages and was asked %d times", len(sent), len(d.asked))
		}
		time.Sleep(31 * time.Second)
		d.take(snom)
		synctest.Wait()
		sent := d.answers()
		if len(sent) != 2 {
			t.Fatalf("after a reboot: %q", sent)
		}
		notify := headers(sent[1])
		if !d.take("SIP/2.0 200 OK\r\nVia: " + notify["Via"] + "\r\nCSeq: 1 NOTIFY\r\nContent-Length: 0\r\n\r\n") {
			t.Error("the answer to the NOTIFY was not taken")
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if sent := d.answers(); len(sent) != 0 {
			t.Errorf("after the phone's 200: %q", sent)
		}
	})
}

func TestWhatPhonesSend(t *testing.T) {
	for _, tc := range []struct {
		name, old, updated string
		mac                string // "" = not answered
	}{
		{"upper case escape", "MAC%3a", "MAC%3A", "00:04:13:0a:0b:0c"},
		{"Fanvil family", "MAC%3a0004130A0B0C@224.0.1.75", "MAC=00304fa99948@224.0.1.75", "00:30:4f:a9:99:48"},
		{"a vendor's own host", "@224.0.1.75", "@intern.snom.de", "00:04:13:0a:0b:0c"},
		{"no branch", ";branch=z9hG4bK-1;rport", "", "00:04:13:0a:0b:0c"},
		{"no quotes", `"`, "", "00:04:13:0a:0b:0c"},
		{"bare line ends", "\r\n", "\n", "00:04:13:0a:0b:0c"},
		{"short names", "Event:", "o:", "00:04:13:0a:0b:0c"},
		{"a folded header", ";profile-type", ";\r\n profile-type", "00:04:13:0a:0b:0c"},
		{"no address of the device", "MAC%3a0004130A0B0C", "00000001", ""},
		{"no Call-ID", "Call-ID: X\r\n", "", ""},
		{"no Via", "Via:", "X-Via:", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := start(t, "http://10.1.0.10:8080/")
				if !d.take(strings.ReplaceAll(snom, tc.old, tc.updated)) {
					t.Error("not taken")
				}
				synctest.Wait()
				if sent := d.answers(); len(sent) > 0 != (tc.mac != "") {
					t.Errorf("sent %q", sent)
				}
				if tc.mac != "" && (len(d.asked) != 1 || d.asked[0].MAC != tc.mac || d.asked[0].Vendor != "snom") {
					t.Errorf("asked %+v", d.asked)
				}
			})
		})
	}
}

func TestWhoIsNotToldGetsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, "")
		d.take(snom)
		synctest.Wait()
		if sent := d.answers(); len(sent) != 0 {
			t.Errorf("sent %q", sent)
		}
	})
}

func TestOtherDatagramsAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, "http://10.1.0.10:8080/")
		for _, text := range []string{
			"", "\r\n\r\n", strings.Replace(snom, "ua-profile", "dialog", 1), strings.Replace(snom, "SUBSCRIBE", "REGISTER", 1),
			strings.Replace(strings.Replace(snom, "ua-profile", "presence", 1), "X\r\n", "ua-profile\r\n", 1),
			"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.1.0.10;branch=z9hG4bKother\r\n\r\n",
		} {
			if d.take(text) {
				t.Errorf("took %q", text)
			}
		}
	})
}

// ours are the headers that we send.
var ours = strings.Fields("Via From To Call-ID CSeq Contact Expires Content-Length Max-Forwards Event Subscription-State Content-Type")

// A question may hold what it likes: nothing of it begins a line of its own in what we send.
func FuzzAnswersKeepTheirLines(f *testing.F) {
	f.Add(snom)
	f.Add(strings.ReplaceAll(snom, "\r\n", "\n"))
	f.Add(strings.ReplaceAll(snom, "Contact: <sip:10.1.20.31:5060>", "Contact: sip:a b\x00\rX: y"))
	f.Fuzz(func(t *testing.T, text string) {
		synctest.Test(t, func(t *testing.T) {
			d := start(t, "http://10.1.0.10:8080/")
			d.take(text)
			synctest.Wait()
			for _, sent := range d.answers() {
				head, _, _ := strings.Cut(sent, "\r\n\r\n")
				for _, line := range strings.Split(head, "\r\n")[1:] {
					name, _, _ := strings.Cut(line, ": ")
					if !slices.Contains(ours, name) || strings.ContainsAny(line, "\r\n\x00") {
						t.Errorf("line %q in %q", line, sent)
					}
				}
			}
		})
	})
}
