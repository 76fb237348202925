package test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	directory "linehall/cmd/linesim/appliance"
	"linehall/cmd/linesim/phone"
	"linehall/cmd/linesim/voice"
)

const (
	soakCalls  = 500
	soakLength = 5 * time.Minute
	soakFrames = 50 // packets per second and direction
)

// crowd is a number of relayed calls at once, each between two telephones of its own in two sites.
type crowd struct {
	a     *appliance
	ends  []party
	ports map[string]bool // of the telephones, as /proc/net/udp writes them
}

// organisation replaces the demo's telephones by n in headquarters and n in branch5, whose line has room for them all.
func organisation(n int) func(settings, *appliance) {
	return func(s settings, a *appliance) {
		var rows strings.Builder
		rows.WriteString("mac,model,site,extension,display_name,template,state,notes\n")
		for i := range n {
			for side, site := range []string{"hq", "branch5"} {
				fmt.Fprintf(&rows, "44:db:d2:%02x:%02x:%02x,T54W,%s,%d,,,active,\n", side, i>>8, i&0xff, site, []int{8001, 6001}[side]+i)
			}
		}
		if err := os.WriteFile(filepath.Join(a.dir, "terminals.csv"), []byte(rows.String()), 0o600); err != nil {
			a.t.Fatal(err)
		}
		for _, site := range s["sites"].([]any) {
			if fields := site.(map[string]any); fields["id"] == "branch5" {
				line := fields["line"].(map[string]any)
				line["up"], line["down"] = "1Gbps", "1Gbps"
			}
		}
	}
}

// gather registers the telephones and makes the calls; secured: between one that talks SRTP only and one that talks none.
func gather(t *testing.T, a *appliance, n int, secured bool) *crowd {
	t.Helper()
	terminals, err := directory.FromSocket(t.Context(), filepath.Join(a.data, "linehall.sock"))
	if err != nil {
		t.Fatal(err)
	}
	accounts := map[string]phone.Account{}
	for _, terminal := range terminals {
		accounts[terminal.Extension] = phone.Account{Extension: terminal.Extension, AuthUser: terminal.AuthUser, Password: terminal.Password, Domain: terminal.Domain}
	}
	d := newDesks(t, a)
	server := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(a.ports.sip))
	c := &crowd{a: a, ports: map[string]bool{}}
	near, far := make([]*desk, n), make([]*desk, n)
	for i := range n {
		d.srtp = secured
		near[i] = d.registered(accounts[strconv.Itoa(8001+i)], server, netip.MustParseAddr("127.0.0.9"))
		d.srtp = false
		far[i] = d.registered(accounts[strconv.Itoa(6001+i)], server, netip.MustParseAddr("127.0.5.9"))
		far[i].answers(phone.Reaction{Sound: phone.Sound{Send: ownTone("8002")}})
	}
	for i := range n {
		by, to := near[i].talksTo(far[i].Extension(), far[i])
		c.ends = append(c.ends, by, to)
	}
	for _, end := range c.ends {
		ip := end.Local().Addr().As4()
		c.ports[fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], end.Local().Port())] = true
	}
	return c
}

// dropped is what the kernel threw away so far because a socket was full: the telephones' own, and those of the relay.
func (c *crowd) dropped() (phones, relay uint64) {
	c.a.t.Helper()
	text, err := os.ReadFile("/proc/self/net/udp")
	if err != nil {
		c.a.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 13 {
			continue
		}
		drops, err := strconv.ParseUint(fields[12], 10, 64)
		if err != nil {
			continue // the heading
		}
		_, hex, _ := strings.Cut(fields[1], ":")
		port, _ := strconv.ParseUint(hex, 16, 16) // the kernel's
		switch {
		case c.ports[fields[1]]:
			phones += drops
		case int(port) >= c.a.ports.rtpFirst && int(port) <= c.a.ports.rtpLast:
			relay += drops
		}
	}
	return phones, relay
}

// listens lets the calls last and checks that each end hears everything that was sent to it: what was lost is ours unless
// the kernel dropped it at a telephone's own socket.
func (c *crowd) listens(when string, length time.Duration) {
	t := c.a.t
	t.Helper()
	phonesBefore, relayBefore := c.dropped()
	refusedBefore := c.a.metric("linehall_dropped_total", `listener="rtp"`)
	for _, end := range c.ends {
		end.ResetStats()
	}
	begin := time.Now()
	time.Sleep(length) // the length of the soak
	var sum voice.Stats
	for _, end := range c.ends {
		s := end.Stats()
		if s.Lost > 0 {
			t.Logf("%s: %s lost %d of %d, longest gap %v", when, end.extension, s.Lost, s.Lost+s.Received, s.MaxGap)
		}
		if end.Ended() != "" {
			t.Errorf("%s: the call of %s ended: %s", when, end.extension, end.Ended())
		}
		sum.Received += s.Received
		sum.Lost += s.Lost
		sum.Foreign += s.Foreign
		sum.MaxGap = max(sum.MaxGap, s.MaxGap)
	}
	took := time.Since(begin)
	phones, relay := c.dropped()
	phones, relay = phones-phonesBefore, relay-relayBefore
	refused := c.a.metric("linehall_dropped_total", `listener="rtp"`) - refusedBefore
	rate := float64(sum.Received) / took.Seconds()
	t.Logf("%s: %.0f packets/s heard for %v, %d lost (%d at the telephones' own sockets, %d at the relay's), longest gap %v",
		when, rate, took.Round(time.Second), sum.Lost, phones, relay, sum.MaxGap.Round(time.Millisecond))
	if want := 0.98 * soakFrames * float64(len(c.ends)); rate < want {
		t.Errorf("%s: %.0f packets/s are not the load of %d calls", when, rate, len(c.ends)/2)
	}
	if sum.Lost > phones || relay > 0 || refused > 0 || sum.Foreign > 0 {
		t.Errorf("%s: the relay lost %d packets (%d in its sockets, %v dropped), and %d came from elsewhere", when, sum.Lost-min(sum.Lost, phones), relay, refused, sum.Foreign)
	}
}

// heap is what lives in the appliance, at the end of its next collection but one: asking for the figures is what it collects.
func (c *crowd) heap() float64 {
	t := c.a.t
	t.Helper()
	before := c.a.metric("go_gc_duration_seconds_count")
	for deadline := time.Now().Add(5 * time.Minute); c.a.metric("go_gc_duration_seconds_count") < before+2; {
		if time.Now().After(deadline) {
			t.Fatal("the collector does not run")
		}
	}
	return c.a.metric("go_memstats_next_gc_bytes") / 4
}

// crash kills the process, starts the next one, and checks that every end hears again within a second.
func (c *crowd) crash() {
	t := c.a.t
	t.Helper()
	for _, end := range c.ends {
		end.ResetStats()
	}
	killed := time.Now()
	c.a.kill9()
	before := make([]uint64, len(c.ends))
	for i, end := range c.ends {
		before[i] = end.Stats().Received
	}
	c.a.start()
	t.Logf("ready again %v after the kill", time.Since(killed).Round(time.Millisecond))
	var longest time.Duration
	for i, end := range c.ends {
		c.a.eventually(10*time.Second, end.extension+" hears again", func() error {
			if got := end.Stats().Received; got < before[i]+soakFrames {
				return fmt.Errorf("%d packets since the kill", got-before[i])
			}
			return nil
		})
		gap := end.Stats().MaxGap
		longest = max(longest, gap)
		if gap > time.Second {
			t.Errorf("%s heard nothing for %v", end.extension, gap)
		}
	}
	t.Logf("the longest anybody heard nothing: %v", longest.Round(time.Millisecond))
}

// hangUpAll ends every call in good order.
func (c *crowd) hangUpAll() {
	t := c.a.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var (
		wait   sync.WaitGroup
		mu     sync.Mutex
		failed []error
		slots  = make(chan struct{}, 20)
	)
	for i := 0; i < len(c.ends); i += 2 {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			if err := c.ends[i].Hangup(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, fmt.Errorf("%s: %w", c.ends[i].extension, err))
			}
		})
	}
	wait.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Errorf("hang up: %v", err)
	}
	c.active(0)
}

// active waits until the appliance has that many calls.
func (c *crowd) active(want int) {
	c.a.t.Helper()
	c.a.eventually(30*time.Second, fmt.Sprintf("%d calls are active", want), func() error {
		if n := c.a.metric("linehall_calls_active"); n != float64(want) {
			return fmt.Errorf("%v calls", n)
		}
		return nil
	})
}

// Relayed calls, 500 at once for five minutes, with a crash in the middle, in clear and with keys of ours on one side: nothing
// is lost by us, all calls go on after the crash, the gap is under a second, and the memory stays what it was.
func TestSoakRelayedCalls(t *testing.T) {
	if os.Getenv("LINEHALL_SOAK") == "" {
		t.Skip("runs under make soak: twice 500 relayed calls, 50,000 packets/s, for five minutes (TestMediaSurvivesKill9 is the short form)")
	}
	for name, secured := range map[string]bool{"RTP": false, "SRTP ends here": true} {
		t.Run(name, func(t *testing.T) {
			a := startAppliance(t, organisation(soakCalls))
			c := gather(t, a, soakCalls, secured)
			c.active(soakCalls)
			c.lasts("before the crash", soakLength/2)
			c.crash()
			c.active(soakCalls)
			c.lasts("after the crash", soakLength/2)
			c.hangUpAll()
			a.recorded()
		})
	}
}

// recorded checks that the quality of the last call is on record: of every second, and in the words of both telephones.
func (a *appliance) recorded() {
	t := a.t
	t.Helper()
	type seconds struct {
		Rated int     `json:"rated"`
		Worst float64 `json:"worst"`
	}
	var got struct {
		Caller  *seconds `json:"seconds_caller"`
		Callee  *seconds `json:"seconds_callee"`
		Reports []struct {
			Kind string  `json:"kind"`
			MOS  float64 `json:"mos"`
		} `json:"reports"`
	}
	a.decode(&got, "cdr", "show", a.lastRecord().ID)
	for _, s := range []*seconds{got.Caller, got.Callee} {
		if want := int(soakLength / 2 / time.Second); s == nil || s.Rated < want*9/10 || s.Worst < 4 {
			t.Errorf("seconds on record %+v, want about %d, all good", s, want)
		}
	}
	if len(got.Reports) != 2 || got.Reports[0].Kind != "rtcp" || got.Reports[0].MOS < 4 || got.Reports[1].MOS < 4 {
		t.Errorf("reports of the telephones: %+v", got.Reports)
	}
}

// lasts is listens, with the memory before and after.
func (c *crowd) lasts(when string, length time.Duration) {
	t := c.a.t
	t.Helper()
	before := c.heap()
	c.listens(when, length)
	after := c.heap()
	t.Logf("%s: live heap %.1f MiB, then %.1f MiB", when, before/(1<<20), after/(1<<20))
	if after > 1.1*before {
		t.Errorf("%s: the heap grew from %.0f to %.0f bytes", when, before, after)
	}
}
