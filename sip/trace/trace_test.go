package trace

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"linehall/internal/database"
	"linehall/internal/observe"
	"linehall/internal/setting"
	"linehall/sip/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func text(lines ...string) []byte { return []byte(strings.Join(lines, "\r\n")) }

func TestSecretsAreMasked(t *testing.T) {
	for _, row := range []struct {
		name   string
		text   []byte
		hidden []string
		shown  []string
	}{
		{
			"digest", text("REGISTER sip:linehall.test SIP/2.0", "Call-ID: a",
				`Authorization: Digest username="8001", realm="linehall.test", nonce="n1", response="5ec4e7", cnonce="c1c1", qop=auth`,
				`proxy-authorization: Digest username="8001",response=bare5ec4e7, uri="sip:x"`, "", ""),
			[]string{"5ec4e7", "c1c1"},
			[]string{`username="8001"`, `nonce="n1"`, "qop=auth", `uri="sip:x"`},
		},
		{
			"SDES and ICE", text("INVITE sip:2001@linehall.test SIP/2.0", "Call-ID: a", "c: application/sdp", "", "v=0",
				"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:k3yk3yk3y|2^20|1:32 KDR=1", "a=ice-ufrag:u", "a=ice-pwd:pa55word", "k=clear:k3y", "a=ptime:20", ""),
			[]string{"k3y", "pa55word"},
			[]string{"|2^20|1:32", "AES_CM_128_HMAC_SHA1_80", "a=ptime:20", "a=ice-ufrag:u"},
		},
		{
			"DTMF", text("INFO sip:2001@linehall.test SIP/2.0", "Call-ID: a", "Content-Type: application/dtmf-relay", "", "Signal=7", "Duration=160", ""),
			[]string{"7"},
			[]string{"Duration=160"},
		},
		{"DTMF, short form", text("INFO sip:x@y SIP/2.0", "Call-ID: a", "Content-Type: application/dtmf", "", "9"), []string{"9"}, []string{"INFO"}},
		{
			"text", text("MESSAGE sip:2001@linehall.test SIP/2.0", "Call-ID: a", "Content-Type: text/plain", "", "the password is geheim"),
			[]string{"geheim", "password"},
			[]string{"text/plain"},
		},
		{
			"PIN behind a feature code", text("INVITE sip:*1180019876@linehall.test SIP/2.0", "To: <sip:%2A1180019876@linehall.test>", "Call-ID: a", "", ""),
			[]string{"9876"},
			[]string{"*118001", "%2A118001"[:5], "@linehall.test"},
		},
		{"basic", text("GET / SIP/2.0", "Authorization: Basic dXNlcjpwYXNz", "", ""), []string{"dXNlcjpwYXNz"}, []string{"Basic "}},
	} {
		t.Run(row.name, func(t *testing.T) {
			masked := bytes.Clone(row.text)
			mask(masked)
			if len(masked) != len(row.text) {
				t.Fatalf("%d bytes became %d", len(row.text), len(masked))
			}
			for _, secret := range row.hidden {
				if bytes.Contains(masked, []byte(secret)) {
					t.Errorf("%q is still there:\n%s", secret, masked)
				}
			}
			for _, part := range row.shown {
				if !bytes.Contains(masked, []byte(part)) {
					t.Errorf("%q is gone:\n%s", part, masked)
				}
			}
		})
	}
}

func FuzzMask(f *testing.F) {
	f.Add(text("INVITE sip:*1180019876@linehall.test SIP/2.0", "Authorization: Digest response=\"x\"", "Content-Type: application/sdp", "", "a=crypto:1 A inline:k"))
	f.Add([]byte("a:*\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		once := bytes.Clone(data)
		mask(once)
		if len(once) != len(data) {
			t.Fatal("the length changed")
		}
		twice := bytes.Clone(once)
		mask(twice)
		if !bytes.Equal(once, twice) {
			t.Fatalf("masking again changes %q to %q", once, twice)
		}
		ladderOf([]Message{{Text: once, In: true}})
	})
}

var (
	phone  = stack.Flow{Transport: stack.UDP, Local: netip.MustParseAddrPort("127.0.0.1:5060"), Remote: netip.MustParseAddrPort("127.0.0.11:5060")}
	branch = stack.Flow{Transport: stack.TLS, Local: netip.MustParseAddrPort("127.0.0.1:5061"), Remote: netip.MustParseAddrPort("127.0.1.11:40000")}
)

func open(t *testing.T, config Config) (*Book, *prometheus.Registry) {
	t.Helper()
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "t.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := database.Migrate(t.Context(), db, Schema()); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	b, err := Open(t.Context(), Options{DB: db, Config: config, Dropped: observe.NewDropped(reg), Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	return b, reg
}

// talk shows the book a call from 8001 to 2001.
func talk(b *Book, id string) {
	in := "in-" + id
	b.Message(true, phone, text("INVITE sip:2001@linehall.test SIP/2.0", "From: <sip:8001@linehall.test>;tag=a", "To: <sip:2001@linehall.test>", "Call-ID: "+in,
		"CSeq: 1 INVITE", "Content-Type: application/sdp", "Content-Length: 5", "", "v=0\r\n"))
	b.Bind(in, id)
	b.Bind("out-"+id, id)
	b.Message(false, branch, text("INVITE sip:2001@127.0.1.11 SIP/2.0", `f: "Li" <sip:8001@linehall.test>;tag=b`, "t: sip:2001@linehall.test", "i: out-"+id, "CSeq: 1 INVITE", "", ""))
	ringing := text("SIP/2.0 180 Ringing", "From: <sip:8001@linehall.test>;tag=b", "To: <sip:2001@linehall.test>;tag=c", "Call-ID: out-"+id, "CSeq: 1 INVITE", "", "")
	b.Message(true, branch, ringing)
	b.Message(true, branch, ringing)
	b.End(id)
}

func TestLadder(t *testing.T) {
	b, _ := open(t, DefaultConfig())
	talk(b, "call1")
	l, err := b.Ladder(t.Context(), "call1")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range l.Steps {
		p := l.Parties[s.Party]
		line := p.Name + " " + p.Transport + " " + direction(s.In) + " " + s.Summary
		if s.Repeated {
			line += " again"
		}
		got = append(got, line)
	}
	want := []string{"8001 UDP < INVITE 2001 [sdp]", "2001 TLS > INVITE 2001", "2001 TLS < 180 Ringing (INVITE)", "2001 TLS < 180 Ringing (INVITE) again"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestFinishedCallsAreKeptAndForgotten(t *testing.T) {
	config := DefaultConfig()
	config.MaxSize = 1
	b, _ := open(t, config)
	talk(b, "call1")
	b.Message(true, phone, text("REGISTER sip:linehall.test SIP/2.0", "Call-ID: reg", "", "")) // belongs to no call
	b.Message(true, phone, text("INVITE sip:2001@linehall.test SIP/2.0", "Call-ID: unclaimed", "", ""))
	b.Message(false, phone, text("SIP/2.0 401 Unauthorized", "Call-ID: unclaimed", "", ""))
	b.sweep(t.Context(), time.Now().Add(linger))
	if len(b.calls) != 0 || len(b.threads) != 1 || len(b.threads["unclaimed"].messages) != 2 {
		t.Errorf("%d calls and %d threads in memory", len(b.calls), len(b.threads))
	}
	if l, err := b.Ladder(t.Context(), "call1"); err != nil || len(l.Steps) != 4 {
		t.Errorf("%d steps, %v", len(l.Steps), err)
	}
	b.sweep(t.Context(), time.Now().Add(unclaimed+time.Second))
	if len(b.threads) != 0 || b.bytes != 0 {
		t.Errorf("%d threads and %d bytes are left", len(b.threads), b.bytes)
	}
	// Too much on disk: the older one goes.
	if _, err := b.db.ExecContext(t.Context(), "UPDATE call_trace SET size = 900000, ended_at = ended_at - 1000"); err != nil {
		t.Fatal(err)
	}
	talk(b, "call2")
	b.sweep(t.Context(), time.Now().Add(linger))
	if _, err := b.db.ExecContext(t.Context(), "UPDATE call_trace SET size = 900000 WHERE call_id = 'call2'"); err != nil {
		t.Fatal(err)
	}
	b.prune(t.Context(), time.Now())
	if _, err := b.Ladder(t.Context(), "call1"); !errors.Is(err, ErrUnknown) {
		t.Errorf("the older call: %v", err)
	}
	if _, err := b.Ladder(t.Context(), "call2"); err != nil {
		t.Errorf("the newer call: %v", err)
	}
	b.prune(t.Context(), time.Now().Add(config.Keep+time.Hour))
	if _, err := b.Ladder(t.Context(), "call2"); !errors.Is(err, ErrUnknown) {
		t.Errorf("after its time: %v", err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	b, reg := open(t, DefaultConfig())
	for range maxMessages + 10 {
		b.Message(true, phone, text("INVITE sip:x SIP/2.0", "Call-ID: one", "", ""))
	}
	if n := len(b.threads["one"].messages); n != maxMessages {
		t.Errorf("%d messages of one Call-ID", n)
	}
	long := strings.Repeat("x", 64_000)
	for i := range maxBytes/len(long) + 10 {
		b.Message(true, phone, text("INVITE sip:x SIP/2.0", "Call-ID: "+strconv.Itoa(i), "", long))
	}
	if b.bytes > maxBytes {
		t.Errorf("%d bytes", b.bytes)
	}
	if n := testutil.CollectAndCount(reg, "linehall_dropped_total"); n == 0 {
		t.Error("nothing is counted as dropped")
	}
}

func TestNothingIsKeptWhenSwitchedOff(t *testing.T) {
	b, _ := open(t, Config{MaxSize: 1, HEP: HEPConfig{Agent: 1}})
	talk(b, "call1")
	if _, err := b.Ladder(t.Context(), "call1"); !errors.Is(err, ErrUnknown) || len(b.threads) != 0 {
		t.Errorf("%v, %d threads", err, len(b.threads))
	}
}

func TestRunWritesAtTheEnd(t *testing.T) {
	b, _ := open(t, DefaultConfig())
	talk(b, "call1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	var n int
	if err := b.db.QueryRowContext(t.Context(), "SELECT count(*) FROM call_trace").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// chunksOf takes a HEP packet apart by its description, independently of how it was put together.
func chunksOf(t *testing.T, packet []byte) map[uint16][]byte {
	t.Helper()
	if len(packet) < 6 || string(packet[:4]) != "HEP3" || int(binary.BigEndian.Uint16(packet[4:])) != len(packet) {
		t.Fatalf("no HEP3 packet: % x", packet[:min(len(packet), 12)])
	}
	chunks := map[uint16][]byte{}
	for rest := packet[6:]; len(rest) > 0; {
		length := int(binary.BigEndian.Uint16(rest[4:]))
		chunks[binary.BigEndian.Uint16(rest[2:])] = rest[6:length]
		rest = rest[length:]
	}
	return chunks
}

func TestHEP(t *testing.T) {
	server, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	config := DefaultConfig()
	config.HEP = HEPConfig{Address: server.LocalAddr().String(), Agent: 77, Password: setting.Secret("key")}
	b, _ := open(t, config)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	defer func() { cancel(); <-done }()
	b.Message(false, branch, text("INFO sip:2001@127.0.1.11 SIP/2.0", "Call-ID: c7", "Content-Type: application/dtmf-relay", "", "Signal=7"))
	buf := make([]byte, 65536)
	if err := server.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, _, err := server.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	c := chunksOf(t, buf[:n])
	if c[1][0] != 2 || c[2][0] != 6 || net.IP(c[3]).String() != "127.0.0.1" || net.IP(c[4]).String() != "127.0.1.11" ||
		binary.BigEndian.Uint16(c[7]) != 5061 || binary.BigEndian.Uint16(c[8]) != 40000 || c[11][0] != 1 || binary.BigEndian.Uint32(c[12]) != 77 {
		t.Errorf("chunks %v", c)
	}
	if string(c[14]) != "key" || string(c[17]) != "c7" || !bytes.HasPrefix(c[15], []byte("INFO ")) || bytes.Contains(c[15], []byte("Signal=7")) {
		t.Errorf("key %q, correlation %q, payload %q", c[14], c[17], c[15])
	}
}

func TestPCAP(t *testing.T) {
	v6 := stack.Flow{Transport: stack.UDP, Local: netip.MustParseAddrPort("[::1]:5060"), Remote: netip.MustParseAddrPort("[2001:db8::1]:5070")}
	packets := []Packet{
		Message{At: time.Unix(20, 5000), Flow: v6, In: true, Text: []byte("odd")}.Packet(),
		Message{At: time.Unix(10, 1000), Flow: phone, Text: []byte("hello")}.Packet(),
		{At: time.Unix(30, 0), Source: phone.Local, Dest: phone.Remote, Contents: make([]byte, 70_000)},
	}
	var file bytes.Buffer
	if err := WritePCAP(&file, packets); err != nil {
		t.Fatal(err)
	}
	b := file.Bytes()
	if binary.LittleEndian.Uint32(b) != 0xa1b2c3d4 || binary.LittleEndian.Uint32(b[20:]) != 101 {
		t.Fatalf("header % x", b[:24])
	}
	var frames [][]byte
	for b = b[24:]; len(b) > 0; {
		n := binary.LittleEndian.Uint32(b[8:])
		frames = append(frames, b[16:16+n])
		b = b[16+n:]
	}
	if len(frames) != 3 || string(frames[0][28:]) != "hello" || string(frames[1][48:]) != "odd" || len(frames[2]) > 65535 {
		t.Fatalf("%d frames", len(frames))
	}
	if sum16(0, frames[0][:20]) != 0xffff {
		t.Error("the IPv4 header's checksum does not hold")
	}
	pseudo := append(bytes.Clone(frames[1][8:40]), 0, 0, 0, byte(len(frames[1])-40), 0, 0, 0, 17)
	if sum16(uint32(sum16(0, pseudo)), frames[1][40:]) != 0xffff {
		t.Error("the UDP checksum over IPv6 does not hold")
	}
}

func BenchmarkMessage(b *testing.B) {
	book := &Book{threads: map[string]*thread{}, calls: map[string]*call{}, total: prometheus.NewCounter(prometheus.CounterOpts{Name: "x"})}
	config := DefaultConfig()
	book.config.Store(&config)
	invite := text("INVITE sip:2001@linehall.test SIP/2.0", "Via: SIP/2.0/UDP 127.0.0.11:5060;branch=z9hG4bK1", "Max-Forwards: 70", `From: "Li" <sip:8001@linehall.test>;tag=a`,
		"To: <sip:2001@linehall.test>", "Call-ID: 0123456789@127.0.0.11", "CSeq: 1 INVITE", `Authorization: Digest username="8001", response="0123456789abcdef0123456789abcdef"`,
		"Content-Type: application/sdp", "Content-Length: 200", "", "v=0", "o=- 1 1 IN IP4 127.0.0.11", "s=-", "c=IN IP4 127.0.0.11", "t=0 0", "m=audio 40000 RTP/AVP 8 0 101", "a=rtpmap:8 PCMA/8000", "a=ptime:20", "")
	b.ReportAllocs()
	for b.Loop() {
		book.Message(true, phone, invite)
		if book.bytes > maxBytes/2 {
			clear(book.threads)
			book.bytes = 0
		}
	}
}
