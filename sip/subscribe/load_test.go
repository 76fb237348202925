package subscribe

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linehall/internal/directory"
	"linehall/sip/call"
)

// watcher is a phone with many lamps on one socket: it answers every NOTIFY and remembers the
// last state of each lamp. It shares no code with the service but the words.
type watcher struct {
	conn *net.UDPConn
	mu   sync.Mutex
	last map[string]string // by Call-ID: the states of the newest document
	seen atomic.Int64
}

func newWatcher(tb testing.TB, server string) *watcher {
	tb.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(server)))
	if err != nil {
		tb.Fatal(err)
	}
	w := &watcher{conn: conn, last: map[string]string{}}
	done := make(chan struct{})
	go func() { defer close(done); w.run() }()
	tb.Cleanup(func() { _ = conn.Close(); <-done })
	return w
}

func (w *watcher) run() {
	buf := make([]byte, 1<<16)
	for {
		n, err := w.conn.Read(buf)
		if err != nil {
			return
		}
		text := string(buf[:n])
		if !strings.HasPrefix(text, "NOTIFY") {
			continue
		}
		head, body, _ := strings.Cut(text, "\r\n\r\n")
		reply := "SIP/2.0 200 OK\r\n"
		id := ""
		for line := range strings.SplitSeq(head, "\r\n") {
			name, value, _ := strings.Cut(line, ": ")
			switch name {
			case "Via", "From", "To", "Call-ID", "CSeq":
				reply += line + "\r\n"
			}
			if name == "Call-ID" {
				id = value
			}
		}
		_, _ = w.conn.Write([]byte(reply + "Content-Length: 0\r\n\r\n"))
		states := ""
		for part := range strings.SplitSeq(body, "<state>") {
			if s, _, ok := strings.Cut(part, "</state>"); ok {
				states += s
			}
		}
		w.mu.Lock()
		w.last[id] = states
		w.mu.Unlock()
		w.seen.Add(1)
	}
}

// subscribe asks for a lamp without waiting.
func (w *watcher) subscribe(ext, number, id string) {
	local := w.conn.LocalAddr().String()
	_, _ = fmt.Fprintf(w.conn, "SUBSCRIBE sip:%s@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%s\r\nFrom: <sip:%s@%s>;tag=t\r\nTo: <sip:%s@%s>\r\n"+
		"Call-ID: %s\r\nCSeq: 1 SUBSCRIBE\r\nMax-Forwards: 70\r\nContact: <sip:%s@%s>\r\nEvent: dialog\r\nContent-Length: 0\r\n\r\n",
		number, domain, local, id, ext, domain, number, domain, id, ext, local)
}

// hall is 120 phones with 30 lamps each: 3600 subscriptions.
func hall(tb testing.TB, x *exchange, phones, lamps int) ([]*watcher, func(number string) string) {
	tb.Helper()
	ext := func(i int) string { return fmt.Sprint(8100 + i%phones) }
	for i := range phones {
		e := ext(i)
		x.people.known[e] = directory.Terminal{Extension: e, AuthUser: e, State: directory.Active}
	}
	x.start()
	all := make([]*watcher, phones)
	for i := range all {
		all[i] = newWatcher(tb, x.udp)
		for k := range lamps {
			all[i].subscribe(ext(i), ext(i+k+1), fmt.Sprintf("w%d-%s", i, ext(i+k+1)))
		}
		deadline := time.Now().Add(10 * time.Second)
		for all[i].seen.Load() < int64(lamps) && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
	}
	// state is what the watchers of a number have seen last, when they agree.
	state := func(number string) string {
		found := map[string]bool{}
		for _, w := range all {
			w.mu.Lock()
			for id, s := range w.last {
				if strings.HasSuffix(id, "-"+number) {
					found[strings.ReplaceAll(s, "terminated", "")] = true
				}
			}
			w.mu.Unlock()
		}
		if len(found) == 1 {
			for s := range found {
				return s
			}
		}
		return fmt.Sprint(found)
	}
	return all, state
}

func total(all []*watcher) int64 {
	var n int64
	for _, w := range all {
		n += w.seen.Load()
	}
	return n
}

func twoParty(id, a, b string, state call.DialogState) call.Info {
	return call.Info{ID: id, State: call.StateRinging, Dialogs: []call.DialogInfo{
		{ID: id + "-0", Extension: a, CallID: id + "a@host.example", LocalTag: "4a6f0c2e", RemoteTag: "QF3HZ2LMYB6WC7TN", Initiator: true, State: state, RemoteExtension: b, RemoteDisplay: "值班室"},
		{ID: id + "-1", Extension: b, CallID: id + "b@host.example", LocalTag: "77bd01aa", RemoteTag: "KD5RWT3ZXQ2MA7HB", State: state, RemoteExtension: a, RemoteDisplay: "值班室"},
	}}
}

// Design 4: at 50 calls/s with 3,600 watchers every lamp is right one second after the load
// ends. It takes the machine for some seconds and belongs to make soak.
func TestLoad(t *testing.T) {
	if os.Getenv("LINEHALL_SOAK") == "" {
		t.Skip("LINEHALL_SOAK is not set")
	}
	x := newExchange(t)
	all, state := hall(t, x, 120, 30)
	if n := x.s.Count()["dialog"]; n != 3600 {
		t.Fatalf("%d subscriptions", n)
	}
	before := total(all)
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond) // 50 calls/s
	defer tick.Stop()
	const calls = 500
	type step struct {
		at    time.Time
		id    string
		a, b  string
		state call.DialogState
	}
	var plan []step
	for i := range calls {
		at := began.Add(time.Duration(i) * 20 * time.Millisecond)
		a, b, id := fmt.Sprint(8100+(2*i)%120), fmt.Sprint(8100+(2*i+1)%120), fmt.Sprintf("01HZX%05d", i)
		for k, s := range []call.DialogState{call.DialogTrying, call.DialogEarly, call.DialogConfirmed, ""} {
			plan = append(plan, step{at.Add(time.Duration(k*300) * time.Millisecond), id, a, b, s})
		}
	}
	cpu := processTime()
	for now := range tick.C {
		rest := plan[:0]
		for _, p := range plan {
			switch {
			case p.at.After(now):
				rest = append(rest, p)
			case p.state == "":
				x.s.CallChanged(ended(p.id))
			default:
				x.s.CallChanged(twoParty(p.id, p.a, p.b, p.state))
			}
		}
		if plan = rest; len(plan) == 0 {
			break
		}
	}
	// Ten calls stand at the end.
	for i := range 10 {
		x.s.CallChanged(twoParty(fmt.Sprint("end", i), fmt.Sprint(8100+i), fmt.Sprint(8150+i), call.DialogConfirmed))
	}
	end := time.Now()
	want := func() bool {
		for i := range 120 {
			s := state(fmt.Sprint(8100 + i))
			if busy := i < 10 || i >= 50 && i < 60; busy != (s == "confirmed") || !busy && s != "" {
				return false
			}
		}
		return true
	}
	for !want() && time.Since(end) < 20*time.Second {
		time.Sleep(20 * time.Millisecond)
	}
	right := time.Since(end)
	n := total(all) - before
	t.Logf("%d NOTIFYs in %s, right %s after the end, %s CPU (watchers included): %s each", n, end.Sub(began), right, processTime()-cpu, (processTime()-cpu)/time.Duration(max(n, 1)))
	if right > time.Second {
		t.Errorf("lamps right %s after the load", right)
	}
	// A restart: everybody is told again.
	before = total(all)
	x.kill()
	restarted := time.Now()
	x.start()
	for total(all)-before < 3600 && time.Since(restarted) < 20*time.Second {
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("restart: %d told after %s", total(all)-before, time.Since(restarted))
	if time.Since(restarted) > 10*time.Second {
		t.Errorf("recovery took %s", time.Since(restarted))
	}
	x.stop()
	eventuallyFew(t)
}

func eventuallyFew(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > 300 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > 300 { // 120 watchers and the test
		t.Errorf("%d goroutines left", n)
	}
}

func BenchmarkDocument(b *testing.B) {
	info := twoParty("01HZX00000ABCDEFGHJKMNPQRS", "8001", "8002", call.DialogEarly)
	d := document{b: make([]byte, 0, 2048)}
	l := lamp{domain: domain, number: "8002", version: 7, dialogs: info.Dialogs[1:], full: true}
	b.ReportAllocs()
	for b.Loop() {
		d.b = d.b[:0]
		l.write(&d)
	}
	b.ReportMetric(float64(len(d.b)), "bytes")
}

// The writer itself allocates nothing.
func TestDocumentAllocs(t *testing.T) {
	info := twoParty("01HZX00000ABCDEFGHJKMNPQRS", "8001", "8002", call.DialogEarly)
	d := document{b: make([]byte, 0, 2048)}
	l := lamp{domain: domain, number: "8002", version: 7, dialogs: info.Dialogs[1:], full: true}
	if n := testing.AllocsPerRun(100, func() { d.b = d.b[:0]; l.write(&d) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	x := newExchange(b)
	x.start()
	w := newWatcher(b, x.udp)
	w.subscribe("8003", "8002", "bench")
	for w.seen.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	x.s.CallChanged(talk("c1", call.DialogEarly))
	var sub *subscription
	x.s.mu.Lock()
	for _, one := range x.s.subs {
		sub = one
	}
	x.s.mu.Unlock()
	n := &notice{sub: sub, seq: 7, version: 6, state: "active;expires=3599", full: true, numbers: sub.lamps.numbers, flow: sub.flow}
	b.ReportAllocs()
	for b.Loop() {
		x.s.request(n)
	}
}

// BenchmarkNotify is a NOTIFY with its answer over UDP, the watcher's share included.
func BenchmarkNotify(b *testing.B) {
	x := newExchange(b)
	all, _ := hall(b, x, 40, 30)
	x.s.limits.Rate, x.s.limits.BusyRate = 1e6, 1e6
	x.s.pace.interval = time.Microsecond
	b.ReportAllocs()
	before := total(all)
	round := 0
	for b.Loop() {
		// Each iteration is one NOTIFY: rounds of 30 watchers of a number.
		if round%30 == 0 {
			x.s.CallChanged(twoParty("b"+fmt.Sprint(round/30%40), fmt.Sprint(8100+round/30%40), "none", []call.DialogState{call.DialogEarly, call.DialogConfirmed}[round/1200%2]))
		}
		round++
		for total(all)-before < int64(round)-60 {
			runtime.Gosched()
		}
	}
}
