// Package lab builds small test networks out of kernel parts: a network namespace per place, veth pairs between them,
// a token bucket (tbf, or htb with a packet fifo) as the leased line, and nftables for random loss.
//
// It needs root, the ip, tc, nft and nsenter programs and a kernel with namespaces; Available says what is missing, and
// New skips the test with that reason. Everything is removed when the test ends; what a killed test left behind is
// removed by the next New. Delay and jitter are not its business: the kernels we test on may lack netem.
//
//	n := lab.New(t)
//	hq, branch := n.Host("hq"), n.Host("branch")
//	line := n.Link(hq, "10.9.0.1/24", branch, "10.9.0.2/24")
//	line.Shape(branch, lab.Rate{BitsPerSecond: 2_000_000})
//	line.Lose(hq, 3) // percent of what arrives at hq
//	out, err := branch.Command(ctx, "ip", "addr").CombinedOutput()
package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// programs are what the lab runs.
func programs() []string { return []string{"ip", "tc", "nft", "nsenter"} }

// commandTimeout bounds one ip, tc or nft call.
const commandTimeout = 20 * time.Second

// Available returns nil when test networks can be built here, otherwise the reason.
func Available() error { return available() }

var available = sync.OnceValue(func() error {
	if os.Geteuid() != 0 {
		return errors.New("test networks need root")
	}
	for _, p := range programs() {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("test networks need the program %s (packages iproute2, nftables, util-linux)", p)
		}
	}
	name := namespace("probe")
	if _, err := run(context.Background(), "ip", "netns", "add", name); err != nil {
		return fmt.Errorf("test networks need network namespaces: %w", err)
	}
	_, err := run(context.Background(), "ip", "netns", "del", name)
	return err
})

// TB is the part of testing.TB that the lab uses.
type TB interface {
	Helper()
	Cleanup(func())
	Context() context.Context
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Skipf(format string, args ...any)
}

var _ TB = testing.TB(nil)

// Net is one test network. It belongs to one test and is not for concurrent use.
type Net struct {
	t     TB
	hosts []*Host
	links int
}

// New starts an empty network, or skips the test with the reason.
func New(t TB) *Net {
	t.Helper()
	if err := Available(); err != nil {
		t.Skipf("lab: %v", err)
	}
	removeLeftovers(t.Context())
	return &Net{t: t}
}

var namespaces atomic.Int64

// namespace returns a name that says which process it belongs to.
func namespace(what string) string {
	return fmt.Sprintf("lab-%d-%d-%s", os.Getpid(), namespaces.Add(1), what)
}

var ours = regexp.MustCompile(`^lab-(\d+)-\d+-`)

// removeLeftovers removes the namespaces of processes that are gone.
func removeLeftovers(ctx context.Context) {
	out, err := run(ctx, "ip", "netns", "list")
	if err != nil {
		return
	}
	for line := range strings.Lines(out) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		m := ours.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		pid, err := strconv.Atoi(m[1])
		if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_, _ = run(ctx, "ip", "netns", "del", name) // another test may have been faster
		}
	}
}

// Host is a place with its own network stack.
type Host struct {
	t         TB
	Name      string
	Namespace string
}

// Host adds a place; its loopback is up.
func (n *Net) Host(name string) *Host {
	n.t.Helper()
	h := &Host{t: n.t, Name: name, Namespace: namespace(name)}
	must(n.t, "ip", "netns", "add", h.Namespace)
	n.t.Cleanup(func() {
		// The test's own context has ended by now.
		if _, err := run(context.Background(), "ip", "netns", "del", h.Namespace); err != nil {
			n.t.Errorf("lab: %v", err)
		}
	})
	must(n.t, "ip", "-n", h.Namespace, "link", "set", "lo", "up")
	n.hosts = append(n.hosts, h)
	return h
}

// Forward lets the host pass packets on between its links.
func (h *Host) Forward() {
	h.t.Helper()
	h.must("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
}

// Address adds an address to a device of the host, "lo" for instance.
func (h *Host) Address(device, prefix string) {
	h.t.Helper()
	must(h.t, "ip", "-n", h.Namespace, "addr", "add", prefix, "dev", device)
}

// Route sends a prefix to a next hop.
func (h *Host) Route(prefix, via string) {
	h.t.Helper()
	must(h.t, "ip", "-n", h.Namespace, "route", "add", prefix, "via", via)
}

// Command returns a command that runs in the host's network, and only its network: files and mounts stay visible.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	full := append([]string{"--net=/run/netns/" + h.Namespace, "--", name}, args...)
	return exec.CommandContext(ctx, "nsenter", full...) //nolint:gosec // tests run what tests say
}

func (h *Host) must(name string, args ...string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), commandTimeout)
	defer cancel()
	if out, err := h.Command(ctx, name, args...).CombinedOutput(); err != nil {
		h.t.Fatalf("lab: in %s: %s %v: %v: %s", h.Name, name, args, err, out)
	}
}

func must(t TB, name string, args ...string) string {
	t.Helper()
	out, err := run(t.Context(), name, args...)
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	return out
}

func run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput() //nolint:gosec // fixed programs, arguments from tests
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// address is the address of a prefix text such as 10.9.0.1/24.
func address(t TB, prefix string) netip.Addr {
	t.Helper()
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	return p.Addr()
}
