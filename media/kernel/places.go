package kernel

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"linehall/internal/observe"
)

// places are the devices that the program is attached to: all Ethernet devices with an address, VLANs and bridges
// among them. Nothing is attached before the first flow. Guarded by Path.mu.
type places struct {
	path *Path
	at   map[int]*place // by index of the device
	own  map[netip.Addr]struct{}
	seen time.Duration // when devices were looked at, on the monotonic clock; 0: never
}

type place struct {
	name string
	tcx  link.Link // nil: clsact
}

// look is how often devices and addresses are looked at again.
const look = 2 * time.Second

// devicePin is the name of a pinned place: the index of its device follows.
const devicePin = "device-"

func newPlaces(p *Path) *places { return &places{path: p, at: map[int]*place{}} }

// inherit takes over the places of the process before and puts the present program there.
func (d *places) inherit() error {
	if !d.path.pinned {
		return nil
	}
	entries, err := os.ReadDir(d.path.pins)
	if err != nil {
		return fmt.Errorf("places of the process before: %w", err)
	}
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), devicePin)
		index, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue
		}
		file := filepath.Join(d.path.pins, e.Name())
		l, err := link.LoadPinnedLink(file, nil)
		if err == nil {
			if err = l.Update(d.path.objects.Forward); err == nil {
				d.at[index] = &place{name: name(index), tcx: l}
				continue
			}
			_ = l.Close() // its device is gone
		}
		_ = os.Remove(file) // the device is gone, or no link was there
	}
	if len(d.path.orphans) > 0 {
		return d.refresh()
	}
	return nil
}

func name(index int) string {
	if dev, err := net.InterfaceByIndex(index); err == nil {
		return dev.Name
	}
	return strconv.Itoa(index)
}

// reach returns nil when the program is where the flow's packets come, and neither party is on this host.
func (d *places) reach(f Flow) error {
	if d.seen == 0 {
		select {
		case d.path.wanted <- struct{}{}:
		default: // Run knows
		}
		return ErrPreparing
	}
	for _, a := range []netip.Addr{f.From.Addr(), f.To.Addr()} {
		if _, own := d.own[a]; own {
			return ErrLocal
		}
	}
	if len(d.at) == 0 {
		return errors.New("no Ethernet device with an address")
	}
	return nil
}

// refresh attaches to devices that came and forgets those that went.
func (d *places) refresh() error {
	devices, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("devices: %w", err)
	}
	own, there := map[netip.Addr]struct{}{}, map[int]bool{}
	var errs []error
	for _, dev := range devices {
		addresses, err := dev.Addrs()
		if err != nil {
			continue // it went away just now
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				own[p.Addr().Unmap()] = struct{}{}
			}
		}
		there[dev.Index] = true
		if dev.Flags&net.FlagUp == 0 || dev.Flags&net.FlagLoopback != 0 || len(dev.HardwareAddr) != 6 || len(addresses) == 0 || d.at[dev.Index] != nil {
			continue
		}
		if err := d.attach(dev.Index, dev.Name); err != nil {
			errs = append(errs, fmt.Errorf("attach to %s: %w", dev.Name, explain(err)))
		}
	}
	for index, at := range d.at {
		if !there[index] {
			d.detach(index, at)
		}
	}
	d.own, d.seen = own, monotonic()
	if len(d.at) == 0 {
		return errors.Join(errs...)
	}
	for _, err := range errs {
		d.path.log.Warn("kernel path misses a device", observe.Err, err)
	}
	return nil
}

func (d *places) attach(index int, name string) error {
	at := &place{name: name}
	if !d.path.clsact {
		l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: d.path.objects.Forward, Attach: ebpf.AttachTCXIngress})
		if err == nil {
			at.tcx = l
			d.at[index] = at
			if d.path.pinned {
				d.pinOne(index, at)
			}
			return nil
		}
		if !errors.Is(err, ebpf.ErrNotSupported) {
			return err //nolint:wrapcheck // attach to the device, says the caller
		}
	}
	if err := attachFilter(index, d.path.objects.Forward.FD(), d.handle()); err != nil {
		return err
	}
	d.at[index] = at
	return nil
}

// handle names our filter among those of other processes on a device.
func (d *places) handle() uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(d.path.pins)) // never fails
	return h.Sum32()&0x7fffffff | 1
}

// pin makes the places outlive the process. A clsact filter does so by itself.
func (d *places) pin() {
	for index, at := range d.at {
		d.pinOne(index, at)
	}
}

func (d *places) pinOne(index int, at *place) {
	if at.tcx == nil {
		return
	}
	if err := at.tcx.Pin(filepath.Join(d.path.pins, devicePin+strconv.Itoa(index))); err != nil {
		d.path.log.Warn("calls of a device will not outlive the process", slog.String("device", at.name), slog.Any(observe.Err, err))
	}
}

func (d *places) detach(index int, at *place) {
	delete(d.at, index)
	if at.tcx == nil {
		_ = detachFilter(index, d.handle()) // the device may be gone
		return
	}
	_ = at.tcx.Unpin() // it may not be pinned, or be gone with its device
	_ = at.tcx.Close() // as above
}

func (d *places) list() (devices []string, hook string) {
	devices, hook = []string{}, "tcx"
	for _, at := range d.at {
		devices = append(devices, at.name)
		if at.tcx == nil {
			hook = "clsact"
		}
	}
	slices.Sort(devices)
	if len(devices) == 0 {
		hook = ""
	}
	return devices, hook
}

func (d *places) close(keep bool) error {
	var errs []error
	for index, at := range d.at {
		switch {
		case !keep:
			d.detach(index, at)
		case at.tcx != nil:
			errs = append(errs, at.tcx.Close()) // the pin holds it
		}
	}
	return errors.Join(errs...)
}

// Run keeps the flows alive, prepares the devices for the first one and follows them from then on, until ctx ends.
func (p *Path) Run(ctx context.Context) error {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	renewed := monotonic()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-p.wanted:
			err = p.prepare()
		case <-ticker.C:
			if p.attached() {
				err = p.prepare()
			}
			if now := monotonic(); now-renewed > time.Minute {
				renewed = now
				err = errors.Join(err, p.renew(), routeFromHere())
			}
		}
		if err != nil && ctx.Err() == nil {
			p.log.Warn("kernel path", observe.Err, err)
		}
	}
}

func (p *Path) attached() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.places.seen != 0
}

// prepare attaches the program to the devices as they are now, and pins it.
func (p *Path) prepare() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	err := p.places.refresh()
	p.pin()
	return err
}

// routeFromHere switches on forwarding of the loopback device. The program routes packets as if they were sent from
// here, which is what they are to everybody else, and the kernel asks for that switch of the device that they seem to
// come from. No packet of any other device is forwarded for it.
func routeFromHere() error {
	return eachSwitch(func(file string) error { return os.WriteFile(file, []byte("1"), 0) })
}

// routable tells whether routeFromHere would work.
func routable() error {
	return eachSwitch(func(file string) error {
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return err //nolint:wrapcheck // eachSwitch says which
		}
		return f.Close() //nolint:wrapcheck // as above
	})
}

// eachSwitch calls set for the switch of each version of IP that is off.
func eachSwitch(set func(file string) error) error {
	for _, version := range []string{"ipv4", "ipv6"} {
		file := "/proc/sys/net/" + version + "/conf/lo/forwarding"
		is, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) && version == "ipv6" {
			continue // not built in, or switched off
		}
		if err == nil && strings.TrimSpace(string(is)) != "0" {
			continue
		}
		if err := set(file); err != nil {
			return fmt.Errorf("net.%s.conf.lo.forwarding is off and cannot be switched on: %w", version, err)
		}
	}
	return nil
}

// bpfFS is where the BPF file system is by custom.
const bpfFS = "/sys/fs/bpf"

// prepare makes the directory of the pins, and mounts a BPF file system if there is none.
func prepare(pins string) error {
	if err := os.MkdirAll(pins, 0o700); err == nil && isBPF(pins) {
		return nil
	}
	at := filepath.Dir(pins)
	if strings.HasPrefix(pins, bpfFS+"/") {
		at = bpfFS
	} else if err := os.MkdirAll(at, 0o700); err != nil {
		return fmt.Errorf("directory of the BPF file system: %w", err)
	}
	if !isBPF(at) {
		if err := unix.Mount("bpf", at, "bpf", 0, "mode=0700"); err != nil {
			return fmt.Errorf("mount a BPF file system on %s: %w", at, err)
		}
	}
	if err := os.MkdirAll(pins, 0o700); err != nil {
		return fmt.Errorf("directory of the pins: %w", err)
	}
	return nil
}

func isBPF(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && fs.Type == unix.BPF_FS_MAGIC
}

// discard removes what is pinned.
func discard(pins string) {
	if isBPF(pins) {
		_ = os.RemoveAll(pins) // what stays is found and replaced by the next start
	}
}
