package stack

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// sink is a PacketSocket that keeps what is written.
type sink struct {
	mu      sync.Mutex
	written [][]byte
}

func (*sink) ReadFrom([]byte) (int, netip.AddrPort, netip.Addr, error) { select {} }

func (s *sink) WriteTo(b []byte, _ netip.AddrPort, _ netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = append(s.written, bytes.Clone(b))
	return nil
}

func (*sink) LocalAddr() netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:5060") }

func (*sink) Close() error { return nil }

// reader returns a stack that answers 200 to everything, a way to feed it and
// its panic counter.
func reader(tb testing.TB) (feed func([]byte) [][]byte, panics prometheus.Counter) {
	tb.Helper()
	panics = prometheus.NewCounter(prometheus.CounterOpts{Name: "panics"})
	s, err := New(Options{Domain: "linehall.test", Panics: panics, Limits: Limits{SourceRate: 1e12, SourceBurst: 1e12}})
	if err != nil {
		tb.Fatal(err)
	}
	answer := func(_ context.Context, req *Request) {
		_ = req.From().Address.String() + req.To().Address.String() + req.CallID().Value() + req.CSeq().Value()
		_ = req.Contact()
		_ = req.Tx.Respond(s.NewResponse(req, 200, "OK"))
	}
	for _, m := range knownMethods {
		s.Handle(m, answer)
	}
	s.OnStrayResponse(func(res *sip.Response, _ Flow, _ *Reading) { _ = res.To().Address.String() })
	out := &sink{}
	u := newUDPSocket(s, out)
	flow := Flow{Transport: UDP, Local: u.addr, Remote: netip.MustParseAddrPort("127.0.0.9:5060")}
	tb.Cleanup(func() { s.servers.terminateAll(); s.early.close(); s.stopExpiries(); s.stop(); s.workers.Wait() })
	return func(data []byte) [][]byte {
		out.mu.Lock()
		out.written = nil
		out.mu.Unlock()
		u.datagram(data, flow, nil)
		s.work.Wait()
		s.servers.terminateAll()
		s.early.close()
		out.mu.Lock()
		defer out.mu.Unlock()
		return out.written
	}, panics
}

// FuzzDatagram feeds bytes to everything that sees a datagram: admission,
// parser, normalisation, validation and a handler.
func FuzzDatagram(f *testing.F) {
	files, err := filepath.Glob("testdata/rfc4475/*.dat")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte("\r\n\r\n"))
	f.Add([]byte("CANCEL sip:a@b SIP/2.0\r\nv:SIP/2.0/UDP a;branch=z9hG4bK1\r\nf:<sip:a@b>\r\nt:<sip:a@b>\r\ni:1\r\nCSeq:1 CANCEL\r\n\r\n"))
	feed, panics := reader(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		answers := feed(data)
		if !bytes.Equal(before, data) {
			t.Error("the datagram was written to")
		}
		if testutil.ToFloat64(panics) != 0 {
			t.Fatal("something panicked")
		}
		if len(answers) > 2 {
			t.Errorf("%d answers", len(answers))
		}
		for _, a := range answers {
			if len(a) == 2 {
				continue // the answer to a keep-alive
			}
			if len(a) > 2*len(data)+1024 {
				t.Errorf("%d bytes answered to %d", len(a), len(data))
			}
			if !wellFormed(a, Limits{}.withDefaults()) || !bytes.HasPrefix(a, []byte("SIP/2.0 ")) {
				t.Errorf("malformed answer:\n%q", a)
			}
		}
	})
}

// FuzzFramer: however a stream is cut, the same messages come out, and what is
// kept stays within the limits.
func FuzzFramer(f *testing.F) {
	f.Add([]byte("OPTIONS sip:a@b SIP/2.0\r\nl: 3\r\n\r\nabc\r\n\r\nOPTIONS sip:a@b SIP/2.0\r\nContent-Length:\r\n 0\r\n\r\n"), uint8(3))
	f.Add([]byte("\r\n\r\n\r\nOPTIONS sip:a@b SIP/2.0\r\n\r\n"), uint8(1))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint8) {
		limits := Limits{MessageBytes: 4096, HeaderBytes: 2048}.withDefaults()
		whole := frames(t, limits, stream, len(stream)+1)
		pieces := frames(t, limits, stream, int(cut)+1)
		if len(whole) != len(pieces) {
			t.Fatalf("%d messages at once, %d in pieces of %d", len(whole), len(pieces), int(cut)+1)
		}
		for i := range whole {
			if !bytes.Equal(whole[i], pieces[i]) {
				t.Errorf("message %d differs: %q and %q", i, whole[i], pieces[i])
			}
		}
	})
}

func frames(t *testing.T, limits Limits, stream []byte, size int) [][]byte {
	t.Helper()
	var out [][]byte
	fr := newFramer(limits)
	for len(stream) > 0 {
		n := min(size, len(stream))
		fr.add(stream[:n])
		stream = stream[n:]
		for {
			frame, kind := fr.next()
			if kind == frameNone {
				break
			}
			switch kind {
			case frameMessage:
				out = append(out, bytes.Clone(frame))
			case framePing:
			default:
				return out
			}
		}
	}
	return out
}

// TestAdmissionForgetsTheOldest: the table keeps its size and a source that
// comes back starts anew.
func TestAdmissionForgetsTheOldest(t *testing.T) {
	a := newAdmission(Limits{Sources: 100, SourceBurst: 1, SourceRate: 1}.withDefaults(), nil)
	now := time.Now()
	first := netip.MustParseAddr("10.0.0.1")
	if !a.allow(first, now) || a.allow(first, now) {
		t.Fatal("a burst of one is not one")
	}
	addr := first
	for range 10000 {
		addr = addr.Next()
		a.allow(addr, now)
	}
	if len(a.buckets) != 100 || len(a.order) != 100 {
		t.Errorf("%d sources remembered", len(a.buckets))
	}
	if !a.allow(first, now) {
		t.Error("a forgotten source is still limited")
	}
	if v6 := netip.MustParseAddr("2001:db8::1"); SourceKey(v6) != SourceKey(netip.MustParseAddr("2001:db8::2")) {
		t.Error("one site's addresses count apart")
	}
}

func BenchmarkDatagram(b *testing.B) {
	feed, _ := reader(b)
	raw := []byte("OPTIONS sip:8002@linehall.test SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.9:5060;branch=z9hG4bKbench;rport\r\nMax-Forwards: 70\r\n" +
		"From: <sip:8001@linehall.test>;tag=1\r\nTo: <sip:8002@linehall.test>\r\nCall-ID: bench\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		feed(raw)
	}
}
