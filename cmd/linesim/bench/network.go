package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// network is a server between two places of phones, each in a network namespace of its own, joined by veth pairs. A cable
// without anything between is the way of the run without a relay.
//
//	near 10.9.1.2 ───── 10.9.1.1 box 10.9.2.1 ───── 10.9.2.2 far
//	     10.9.3.1 ───────────────────────────────── 10.9.3.2
//
// nil is the machine's own network: everybody on loopback.
type network struct{ near, box, far string }

// The addresses of a network.
var (
	nearPhones, nearBox = netip.MustParseAddr("10.9.1.2"), netip.MustParseAddr("10.9.1.1")
	farPhones, farBox   = netip.MustParseAddr("10.9.2.2"), netip.MustParseAddr("10.9.2.1")
	nearCable, farCable = netip.MustParseAddr("10.9.3.1"), netip.MustParseAddr("10.9.3.2")
)

var (
	errNetwork = errors.New("test network")
	networks   atomic.Int64
	leftover   = regexp.MustCompile(`^linesim-(\d+)-\d+-`)
)

// newNetwork builds the three places; close removes them.
func newNetwork(ctx context.Context) (n *network, err error) {
	removeLeftovers(ctx)
	name := fmt.Sprintf("linesim-%d-%d-", os.Getpid(), networks.Add(1))
	n = &network{near: name + "near", box: name + "box", far: name + "far"}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	for _, host := range []string{n.near, n.box, n.far} {
		if err := ip(ctx, "netns", "add", host); err != nil {
			return nil, err
		}
		if err := ip(ctx, "-n", host, "link", "set", "lo", "up"); err != nil {
			return nil, err
		}
	}
	for _, l := range []struct {
		device string
		a, b   string
		at, to netip.Addr
	}{{"near0", n.near, n.box, nearPhones, nearBox}, {"far0", n.far, n.box, farPhones, farBox}, {"cable0", n.near, n.far, nearCable, farCable}} {
		if err := ip(ctx, "-n", l.a, "link", "add", l.device, "type", "veth", "peer", "name", l.device, "netns", l.b); err != nil {
			return nil, err
		}
		for host, addr := range map[string]netip.Addr{l.a: l.at, l.b: l.to} {
			if err := errors.Join(
				ip(ctx, "-n", host, "addr", "add", addr.String()+"/24", "dev", l.device),
				ip(ctx, "-n", host, "link", "set", l.device, "up"),
			); err != nil {
				return nil, err
			}
		}
	}
	return n, errors.Join(
		ip(ctx, "-n", n.near, "route", "add", "default", "via", nearBox.String()),
		ip(ctx, "-n", n.far, "route", "add", "default", "via", farBox.String()))
}

// forward has the box route between the phones, as a host without a relay would.
func (n *network) forward(ctx context.Context) error {
	name, args := n.command("sysctl", "-qw", "net.ipv4.ip_forward=1")
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil { //nolint:gosec // a fixed program
		return fmt.Errorf("%w: forwarding: %w: %s", errNetwork, err, out)
	}
	return nil
}

func (n *network) close() {
	for _, host := range []string{n.near, n.box, n.far} {
		_ = ip(context.Background(), "netns", "del", host) // what stays is removed by the next network
	}
}

// removeLeftovers removes the places of processes that are gone.
func removeLeftovers(ctx context.Context) {
	out, err := exec.CommandContext(ctx, "ip", "netns", "list").Output()
	if err != nil {
		return // newNetwork says why
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		m := leftover.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		if pid, err := strconv.Atoi(m[1]); err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = ip(ctx, "netns", "del", name) // another run may have been faster
		}
	}
}

func ip(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil { //nolint:gosec // a fixed program
		return fmt.Errorf("%w: ip %s: %w: %s", errNetwork, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// server is the address at which the server listens for what is not a phone's business.
func (n *network) server() netip.Addr {
	if n == nil {
		return netip.MustParseAddr("127.0.0.1")
	}
	return nearBox
}

// command is a command line of the server's place. Files stay visible.
func (n *network) command(name string, args ...string) (string, []string) {
	if n == nil {
		return name, args
	}
	return "nsenter", append([]string{"--net=/run/netns/" + n.box, "--", name}, args...)
}

// inside runs f in the network of an address: sockets that it opens belong there. Goroutines that it starts do not run there.
func (n *network) inside(at netip.Addr, f func() error) error {
	if n == nil {
		return f()
	}
	host := n.box
	switch at {
	case nearPhones, nearCable:
		host = n.near
	case farPhones, farCable:
		host = n.far
	}
	// The thread goes back where it was: servers end with the thread that started them (Pdeathsig), which may be this one.
	runtime.LockOSThread()
	home, err := enter(filepath.Join("/run/netns", host))
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err = f()
	defer func() { _ = unix.Close(home) }() // only a name
	if backErr := unix.Setns(home, unix.CLONE_NEWNET); backErr != nil {
		return errors.Join(err, fmt.Errorf("%w: back from %s: %w", errNetwork, host, backErr)) // it stays locked: nobody else may land here
	}
	runtime.UnlockOSThread()
	return err
}

// enter moves the thread into a network and returns a descriptor of the one that it left.
func enter(path string) (home int, err error) {
	if home, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("%w: %w", errNetwork, err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(unix.Setns(fd, unix.CLONE_NEWNET), unix.Close(fd))
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("%w: enter %s: %w", errNetwork, path, err), unix.Close(home))
	}
	return home, nil
}
