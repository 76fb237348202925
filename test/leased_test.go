package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"linehall/internal/lab"
)

// leased is the organisation of the demo on real lines: the appliance's box, one network that holds every site's devices, and
// between the two a leased line per branch with a shaper for each direction. Taps are before and behind every shaper.
type leased struct {
	*world
	t      *testing.T
	places *lab.Host
	rates  map[string]int64 // of the shapers
	taps   map[string]map[string][2]*tap
	shaped map[string]map[string]*shaper
}

// shaper is one direction of a line.
type shaper struct {
	link *lab.Link
	at   *lab.Host
	from int64 // packets dropped when the measurement began
}

func (s *shaper) dropped() int64 { return s.link.Stats(s.at).Dropped }

// The directions of a line, seen from the branch.
const (
	down = "down"
	up   = "up"
)

func leasedSites() []string {
	return []string{"hq", "branch1", "branch2", "branch3", "branch4", "branch5"}
}

// carrier is what lies between a branch and headquarters beside the line's rate.
type carrier struct {
	latency lab.Latency
	loss    int  // percent
	office  bool // the queues are those of deploy/router, and TCP fills the two narrowest lines both ways
}

// newLeased builds the networks, or skips the test and says why.
func newLeased(t *testing.T, over carrier) *leased {
	t.Helper()
	n := lab.New(t)
	l := &leased{
		world: &world{box: n.Host("box"), sites: map[string]*lab.Host{}, links: map[string]*lab.Link{}}, t: t, places: n.Host("places"),
		rates: map[string]int64{"branch1": 2e6, "branch2": 4e6, "branch3": 8e6, "branch4": 10e6, "branch5": 20e6}, taps: map[string]map[string][2]*tap{},
		shaped: map[string]map[string]*shaper{},
	}
	seed := maphash.MakeSeed()
	for i, id := range leasedSites() {
		// The two ends of the line, each of which shapes what it sends into it.
		head, tail := n.Host("head"+fmt.Sprint(i)), n.Host("tail"+fmt.Sprint(i))
		near := n.Link(l.box, fmt.Sprintf("10.98.%d.1/24", i), head, fmt.Sprintf("10.99.%d.1/24", i))
		far := n.Link(tail, fmt.Sprintf("10.99.%d.2/24", i), l.places, fmt.Sprintf("10.98.%d.2/24", i))
		into := n.Link(head, fmt.Sprintf("10.97.%d.1/24", i), tail, fmt.Sprintf("10.97.%d.2/24", i))
		out := into
		if over.latency != (lab.Latency{}) {
			late := n.Host("late" + fmt.Sprint(i))
			into = n.Link(head, fmt.Sprintf("10.97.%d.1/24", i), late, fmt.Sprintf("10.96.%d.1/24", i))
			out = n.Link(late, fmt.Sprintf("10.96.%d.2/24", i), tail, fmt.Sprintf("10.97.%d.2/24", i))
			n.Carry(late, into, out, over.latency)
		}
		l.bridge(head, near.Device(head), into.Device(head))
		l.bridge(tail, far.Device(tail), out.Device(tail))
		l.links[id], l.sites[id] = far, l.places
		l.settle(i, far.Device(l.places))
		rate, leased := l.rates[id]
		if !leased {
			continue
		}
		l.shaped[id] = map[string]*shaper{down: {link: into, at: head}, up: {link: out, at: tail}}
		for _, s := range l.shaped[id] {
			if over.office {
				l.in(s.at, "sh", filepath.Join(repository, "deploy", "router", "line-htb.sh"), s.link.Device(s.at), fmt.Sprint(rate/1000))
			} else {
				s.link.Shape(s.at, lab.Rate{BitsPerSecond: rate})
			}
		}
		l.taps[id] = map[string][2]*tap{
			down: {listenAt(t, head, near.Device(head), seed), listenAt(t, l.places, far.Device(l.places), seed)},
			up:   {listenAt(t, tail, far.Device(tail), seed), listenAt(t, l.box, near.Device(l.box), seed)},
		}
		far.Lose(l.places, over.loss) // behind the taps
		near.Lose(l.box, over.loss)
	}
	if over.office {
		l.work(1, 2)
	}
	return l
}

// bridge makes the host a piece of wire between two of its devices.
func (l *leased) bridge(host *lab.Host, devices ...string) {
	l.in(host, "ip", "link", "add", "name", "bridge0", "type", "bridge")
	for _, device := range devices {
		l.in(host, "ip", "addr", "flush", "dev", device)
		l.in(host, "ip", "link", "set", device, "master", "bridge0")
	}
	l.in(host, "ip", "link", "set", "bridge0", "up")
}

// officePort is where the office's TCP goes.
const officePort = 9999

// work fills the lines of branches with TCP both ways until the test ends.
func (l *leased) work(branches ...int) {
	l.t.Helper()
	var conns []net.Conn
	var running sync.WaitGroup
	for _, branch := range branches {
		var listener net.Listener
		address := fmt.Sprintf("10.98.%d.1:%d", branch, officePort)
		err := l.box.Do(func() (err error) { listener, err = net.Listen("tcp4", address); return err })
		if err != nil {
			l.t.Fatal(err)
		}
		var there net.Conn
		err = l.places.Do(func() (err error) {
			dialer := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 98, byte(branch), 2)}}
			there, err = dialer.DialContext(l.t.Context(), "tcp4", address)
			return err
		})
		if err != nil {
			l.t.Fatal(err)
		}
		here, err := listener.Accept()
		if err != nil {
			l.t.Fatal(err)
		}
		_ = listener.Close()
		for _, conn := range []net.Conn{here, there} {
			conns = append(conns, conn)
			running.Go(func() { _, _ = io.Copy(io.Discard, conn) })
			running.Go(func() {
				for data := make([]byte, 16<<10); ; {
					if _, err := conn.Write(data); err != nil {
						return
					}
				}
			})
		}
	}
	l.t.Cleanup(func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
		running.Wait()
	})
}

// settle gives the site's devices their addresses, and sends what comes from them over their own line.
func (l *leased) settle(site int, device string) {
	table := fmt.Sprint(100 + site)
	last := 11
	if site <= 1 {
		last = 20 // ten telephones
	}
	for host := 11; host <= last; host++ {
		l.places.Address(device, fmt.Sprintf("10.98.%d.%d/24", site, host))
	}
	l.in(l.places, "ip", "rule", "add", "from", fmt.Sprintf("10.98.%d.0/24", site), "table", table)
	l.in(l.places, "ip", "route", "add", fmt.Sprintf("10.98.%d.0/24", site), "dev", device, "table", table)
	l.in(l.places, "ip", "route", "add", "default", "via", fmt.Sprintf("10.98.%d.1", site), "table", table)
	l.in(l.places, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf."+device+".rp_filter=0")
}

func (l *leased) in(host *lab.Host, name string, args ...string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	if out, err := host.Command(ctx, name, args...).CombinedOutput(); err != nil {
		l.t.Fatalf("in %s: %s %s: %v: %s", host.Name, name, strings.Join(args, " "), err, out)
	}
}

// binds are the flags of linesim that put everybody at the own site.
func (l *leased) binds() (flags []string) {
	for i, id := range leasedSites() {
		flags = append(flags, "--bind", fmt.Sprintf("%s=10.98.%d.0/24", id, i))
	}
	return flags
}

// simulator is a linesim under way.
type simulator struct {
	t       *testing.T
	command *exec.Cmd
	out     bytes.Buffer
	errors  bytes.Buffer
}

// linesim starts the simulator in the sites' network.
func (l *leased) linesim(args ...string) *simulator {
	l.t.Helper()
	s := &simulator{t: l.t, command: commandAt(l.places, filepath.Join(repository, "bin", "linesim"), append(args, l.binds()...)...)}
	s.command.Stdout, s.command.Stderr = &s.out, &s.errors
	if err := s.command.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if s.command.ProcessState == nil {
			_ = s.command.Process.Kill()
			_ = s.command.Wait()
		}
	})
	return s
}

// report waits for the simulator's end and reads what it says as JSON.
func (s *simulator) report(into any) {
	s.t.Helper()
	if err := s.command.Wait(); err != nil {
		s.t.Logf("linesim: %v\n%.3000s", err, s.errors.String())
	}
	if err := json.Unmarshal(s.out.Bytes(), into); err != nil {
		s.t.Fatalf("linesim's report: %v\n%.2000s%.3000s", err, s.out.String(), s.errors.String())
	}
}
