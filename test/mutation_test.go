package test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linehall/sip/stack/stacktest"
)

// mutate sends mutated messages at the given rate until ctx ends, half of them made of the torture messages, half of what
// phones say, from sixteen addresses over UDP and one connection of each over TCP. It returns how many it sent.
func (a *appliance) mutate(ctx context.Context, rate int) func() int64 {
	a.t.Helper()
	files, err := filepath.Glob(filepath.Join(repository, "sip/stack/testdata/rfc*/*.dat"))
	if err != nil || len(files) == 0 {
		a.t.Fatalf("no torture messages: %v", err)
	}
	var seeds [][]byte
	for i, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			a.t.Fatal(err)
		}
		seeds = append(seeds, raw, plausible(i))
	}
	const senders = 16
	var sent atomic.Int64
	var running sync.WaitGroup
	for i := range senders {
		running.Go(func() {
			m := stacktest.NewMutator(uint64(i), seeds...)
			local := fmt.Sprintf("127.0.0.%d:0", 100+i)
			udp := dialFrom(ctx, "udp", local, a.ports.sip)
			tcp := dialFrom(ctx, "tcp", local, a.ports.sip)
			const turns = 50 // a second
			tick := time.NewTicker(time.Second / turns)
			defer tick.Stop()
			for ctx.Err() == nil {
				<-tick.C
				for n := range rate / senders / turns {
					b := m.Next()
					conn := udp
					if n%16 == 15 {
						conn = tcp
					}
					if conn == nil {
						continue
					}
					if _, err := conn.Write(b); err != nil && conn == tcp { // it was told to go
						tcp = dialFrom(ctx, "tcp", local, a.ports.sip)
					}
					sent.Add(1)
				}
			}
			for _, conn := range []net.Conn{udp, tcp} {
				if conn != nil {
					_ = conn.Close()
				}
			}
		})
	}
	return func() int64 { running.Wait(); return sent.Load() }
}

func dialFrom(ctx context.Context, network, local string, port int) net.Conn {
	d := net.Dialer{Timeout: time.Second}
	if network == "udp" {
		d.LocalAddr, _ = net.ResolveUDPAddr("udp", local)
	} else {
		d.LocalAddr, _ = net.ResolveTCPAddr("tcp", local)
	}
	conn, err := d.DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil
	}
	return conn
}

// plausible is a message that a phone of the demo could send.
func plausible(i int) []byte {
	method := []string{"REGISTER", "INVITE", "SUBSCRIBE", "OPTIONS", "BYE", "NOTIFY", "REFER", "PUBLISH", "MESSAGE", "CANCEL"}[i%10]
	return []byte(method + " sip:8002@linehall.test SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.9:5060;rport;branch=z9hG4bKp\r\nMax-Forwards: 70\r\n" +
		"From: \"Li\" <sip:8001@linehall.test>;tag=a\r\nTo: <sip:8002@linehall.test>\r\nCall-ID: mutated\r\nCSeq: 1 " + method + "\r\n" +
		"Contact: <sip:8001@127.0.0.9:5060>;expires=60;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\";reg-id=1\r\n" +
		"Supported: outbound, gruu, path, 100rel, timer, replaces\r\nEvent: dialog\r\nRefer-To: <sip:8003@linehall.test>\r\n" +
		"Authorization: Digest username=\"8001\", realm=\"linehall.test\", nonce=\"AAAA\", uri=\"sip:8002@linehall.test\", response=\"" +
		"0123456789abcdef0123456789abcdef\", qop=auth, nc=00000001, cnonce=\"x\"\r\n" +
		"Content-Type: application/sdp\r\nContent-Length: 105\r\n\r\n" +
		"v=0\r\no=- 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n")
}

// admitMutants keeps the senders from being banned for their wrong credentials: the parser is to see all they send.
func admitMutants(s settings, _ *appliance) { s.set("security.sip.allow", []any{"127.0.0.96/27"}) }

// Thirty calls hear nothing of a storm of mutated messages, nothing panics, and the memory comes back.
func mutationStorm(t *testing.T, rate int, length time.Duration) {
	t.Helper()
	a := startAppliance(t, admitMutants)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sent := a.mutate(ctx, rate)
	begin := time.Now()
	callLoad(t, a, "u1", "127.0.0.1", 8011, 15, 30, length)
	cancel()
	took := time.Since(begin)
	n := sent()
	t.Logf("%d mutated messages in %v: %.0f/s", n, took.Round(time.Millisecond), float64(n)/took.Seconds())
	if got := float64(n) / took.Seconds(); got < 0.6*float64(rate) {
		t.Errorf("only %.0f of %d messages/s were sent", got, rate)
	}
	if panics := a.metric("linehall_panics_total"); panics != 0 {
		t.Errorf("%v panics", panics)
	}
	if bindings := a.metric("linehall_sip_registered_bindings"); bindings != 20 {
		t.Errorf("%v bindings, want those of the 20 phones", bindings)
	}
}

func TestMutatedMessagesHurtNoCall(t *testing.T) {
	mutationStorm(t, 4000, 4*time.Second)
}

func TestSoakMutatedMessages(t *testing.T) {
	if os.Getenv("LINEHALL_SOAK") == "" {
		t.Skip("runs under make soak: 10,000 mutated messages/s for a minute, twice, and the time until the memory is back")
	}
	a := startAppliance(t, admitMutants)
	storm := func(rate int) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		sent := a.mutate(ctx, rate)
		begin := time.Now()
		// One call a second, of 35 s each (SIPp waits 40 s for a BYE): thirty at once in the middle of a minute.
		callLoad(t, a, "u1", "127.0.0.1", 8011, 1, 30, 35*time.Second)
		cancel()
		t.Logf("%.0f mutated messages/s", float64(sent())/time.Since(begin).Seconds())
	}
	// The first storm fills tables and pools that stay; the second must add nothing.
	storm(10000)
	before := a.settledHeap()
	storm(10000)
	after := a.settledHeap()
	t.Logf("live heap %.1f MiB, then %.1f MiB", before/(1<<20), after/(1<<20))
	if after > 1.1*before {
		t.Errorf("the heap grew from %.0f to %.0f bytes", before, after)
	}
	if panics := a.metric("linehall_panics_total"); panics != 0 {
		t.Errorf("%v panics", panics)
	}
}

// settledHeap is the live heap once every transaction has ended: what the collector found in its last cycle, which comes
// every two minutes at the latest (runtime, forcegcperiod). Its next goal is four times that (gcPercent in cmd/linehall).
func (a *appliance) settledHeap() float64 {
	a.t.Helper()
	a.eventually(2*time.Minute, "no transaction is left", func() error {
		if n := a.metric("linehall_sip_transactions"); n > 0 {
			return fmt.Errorf("%v transactions", n)
		}
		return nil
	})
	collected := a.metric("go_gc_duration_seconds_count")
	a.eventually(5*time.Minute, "the collector ran twice", func() error {
		if n := a.metric("go_gc_duration_seconds_count"); n < collected+2 {
			return fmt.Errorf("%v cycles since", n-collected)
		}
		return nil
	})
	return a.metric("go_memstats_next_gc_bytes") / 4
}
