package trunk

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
)

func found(t *testing.T, r *resolver, g GatewayConfig) string {
	t.Helper()
	targets, err := r.targets(t.Context(), g)
	if err != nil {
		return err.Error()
	}
	var words []string
	for _, to := range targets {
		words = append(words, to.String()+"/"+to.host)
	}
	return strings.Join(words, " ")
}

// The steps of RFC 3263 §4.1 and §4.2.
func TestTargets(t *testing.T) {
	dns := &fakeDNS{
		naptr: map[string][]NAPTR{
			"n.example": {
				{Order: 90, Preference: 50, Flags: "s", Service: "SIP+D2T", Into: "_sip._tcp.n.example."},
				{Order: 50, Preference: 50, Flags: "S", Service: "sips+d2t", Into: "_sips._tcp.n.example."},
				{Order: 10, Preference: 1, Flags: "s", Service: "SIP+D2S", Into: "_sip._sctp.n.example."},
				{Order: 10, Preference: 1, Flags: "u", Service: "E2U+sip"},
			},
			"odd.example": {{Flags: "u", Service: "E2U+sip"}},
		},
		srv: map[string][]SRV{
			"_sips._tcp.n.example": {{Priority: 20, Port: 5061, Target: "b.n.example."}, {Priority: 10, Port: 5071, Target: "A.n.example"}},
			"_sip._tcp.n.example":  {{Port: 5060, Target: "b.n.example."}},
			"_sip._tcp.s.example":  {{Port: 5062, Target: "a.n.example."}},
			"_sip._udp.gone":       {{Port: 0, Target: "."}},
			"_sip._udp.half":       {{Priority: 1, Port: 5060, Target: "nowhere.example."}, {Priority: 2, Port: 5060, Target: "a.n.example."}},
		},
		addrs: map[string][]string{
			"a.n.example": {"192.0.2.1", "2001:db8::1"}, "b.n.example": {"192.0.2.2"}, "plain.example": {"192.0.2.3"},
			"odd.example": {"192.0.2.4"}, "gone": {"192.0.2.5"}, "bad.example": {"0.0.0.0", "224.0.0.1", "192.0.2.6"},
		},
	}
	for _, tt := range []struct {
		name, want string
		g          GatewayConfig
	}{
		{"an address", "udp:192.0.2.9:5060/192.0.2.9", GatewayConfig{Address: "192.0.2.9"}},
		{"an address with a port over TLS", "tls:[2001:db8::9]:5099/2001:db8::9", GatewayConfig{Address: "[2001:db8::9]:5099", Transport: "tls"}},
		{"TLS has its own port", "tls:192.0.2.9:5061/192.0.2.9", GatewayConfig{Address: "192.0.2.9", Transport: "tls"}},
		{"NAPTR says TLS first", "tls:192.0.2.1:5071/n.example tls:[2001:db8::1]:5071/n.example tls:192.0.2.2:5061/n.example", GatewayConfig{Domain: "N.example"}},
		{"a transport that is asked for needs no NAPTR", "tcp:192.0.2.2:5060/n.example", GatewayConfig{Domain: "n.example", Transport: "tcp"}},
		{"no NAPTR, then SRV", "tcp:192.0.2.1:5062/s.example tcp:[2001:db8::1]:5062/s.example", GatewayConfig{Domain: "s.example"}},
		{"neither, then addresses", "udp:192.0.2.3:5060/plain.example", GatewayConfig{Domain: "plain.example."}},
		{"a port, then addresses at once", "udp:192.0.2.1:5080/a.n.example udp:[2001:db8::1]:5080/a.n.example", GatewayConfig{Domain: "a.n.example:5080"}},
		{"useless NAPTR", "udp:192.0.2.4:5060/odd.example", GatewayConfig{Domain: "odd.example"}},
		{"an SRV that says no", "udp:192.0.2.5:5060/gone", GatewayConfig{Domain: "gone"}},
		{"an SRV that leads nowhere is skipped", "udp:192.0.2.1:5060/half udp:[2001:db8::1]:5060/half", GatewayConfig{Domain: "half", Transport: "udp"}},
		{"addresses nobody can have", "udp:192.0.2.6:5060/bad.example", GatewayConfig{Domain: "bad.example"}},
		{"nothing", "nothing.example: the name leads to no address", GatewayConfig{Domain: "nothing.example"}},
	} {
		if got := found(t, newResolver(dns), tt.g); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestResolverRemembersAndForgives(t *testing.T) {
	dns := &fakeDNS{addrs: map[string][]string{"gw.example": {"192.0.2.1"}}}
	r := newResolver(dns)
	now := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	r.now = func() time.Time { return now }
	g := GatewayConfig{Domain: "gw.example:5060"}
	for range 5 {
		if got := found(t, r, g); got != "udp:192.0.2.1:5060/gw.example" {
			t.Fatal(got)
		}
	}
	if dns.asked["addr gw.example"] != 1 {
		t.Errorf("asked %d times", dns.asked["addr gw.example"])
	}
	dns.fail = true
	now = now.Add(time.Hour)
	if got := found(t, r, g); got != "udp:192.0.2.1:5060/gw.example" {
		t.Errorf("DNS is away and an old answer is not used: %s", got)
	}
	now = now.Add(2 * staleLife)
	if got := found(t, r, g); !strings.Contains(got, errDNS.Error()) {
		t.Errorf("two days without DNS: %s", got)
	}
	asked := dns.asked["addr gw.example"]
	found(t, r, g)
	if dns.asked["addr gw.example"] != asked {
		t.Error("a failure is not remembered")
	}
	dns.fail = false
	dns.addrs["gw.example"] = []string{"192.0.2.2"}
	now = now.Add(time.Minute)
	if got := found(t, r, g); got != "udp:192.0.2.2:5060/gw.example" {
		t.Errorf("after the failure: %s", got)
	}
	for i := range 2 * mostNames {
		found(t, r, GatewayConfig{Domain: strings.Repeat("x", i%60+1) + string(rune('a'+i%26)) + ".example:5060"})
	}
	if len(r.known) > mostNames {
		t.Errorf("%d names remembered", len(r.known))
	}
}

// naptrWire is a record as RFC 3403 §4.1 draws it.
func naptrWire(order, preference uint16, flags, service, regexp, into string) []byte {
	b := binary.BigEndian.AppendUint16(nil, order)
	b = binary.BigEndian.AppendUint16(b, preference)
	for _, text := range []string{flags, service, regexp} {
		b = append(append(b, byte(len(text))), text...)
	}
	for label := range strings.SplitSeq(into, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}

func naptrAnswer(tb testing.TB, id uint16, truncated bool, bodies ...[]byte) []byte {
	tb.Helper()
	name := dnsmessage.MustNewName("n.example.")
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, Response: true, Truncated: truncated},
		Questions: []dnsmessage.Question{{Name: name, Type: typeNAPTR, Class: dnsmessage.ClassINET}},
	}
	for _, body := range bodies {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: name, Type: typeNAPTR, Class: dnsmessage.ClassINET, TTL: 60},
			Body:   &dnsmessage.UnknownResource{Type: typeNAPTR, Data: body},
		})
	}
	packed, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	return packed
}

// A name server on the loopback that answers UDP with a truncated message and TCP with the whole.
func TestNAPTROverTheNetwork(t *testing.T) {
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.Listen("tcp4", udp.LocalAddr().String())
	if err != nil {
		t.Skip("the TCP port is taken:", err)
	}
	defer tcp.Close()
	record := naptrWire(50, 10, "s", "SIP+D2U", "", "_sip._udp.n.example")
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			id := binary.BigEndian.Uint16(buf[:n])
			_, _ = udp.WriteTo(naptrAnswer(t, id, true), from)
		}
	}()
	go func() {
		conn, err := tcp.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		head := make([]byte, 4)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		answer := naptrAnswer(t, binary.BigEndian.Uint16(head[2:]), false, []byte{1, 2}, record)
		_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	}()
	got, err := askNAPTR(t.Context(), udp.LocalAddr().String(), "n.example")
	want := []NAPTR{{Order: 50, Preference: 10, Flags: "s", Service: "SIP+D2U", Into: "_sip._udp.n.example"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestNameServers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte("# x\nnameserver 192.0.2.53\nnameserver nonsense\nsearch example\nnameserver 2001:db8::53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := nameServers(path)
	if diff := cmp.Diff([]string{"192.0.2.53:53", "[2001:db8::53]:53"}, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := (systemDNS{resolvConf: filepath.Join(t.TempDir(), "none")}).NAPTR(context.Background(), "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
}

func FuzzNAPTR(f *testing.F) {
	f.Add(naptrAnswer(f, 7, false, naptrWire(1, 2, "s", "SIP+D2T", "", "_sip._tcp.n.example")))
	f.Add(naptrAnswer(f, 7, true))
	f.Add([]byte{0, 7, 0x80, 0, 0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, message []byte) {
		records, _, err := parseNAPTR(message, 7)
		if len(records) > mostRecords {
			t.Errorf("%d records", len(records))
		}
		for _, r := range records {
			if r.Into != "" && !validHost(r.Into) {
				t.Errorf("a name nobody can look up: %q (%v)", r.Into, err)
			}
		}
	})
}
