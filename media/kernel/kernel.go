// Package kernel carries the RTP of established calls inside the kernel: a program at tc ingress (forward.c) rewrites the
// packets of the flows that were entered here, counts them as media/rtcp would (RFC 3550 appendix A), and sends them on
// without waking anybody. It does not decide which packets are a party's; media/relay does, and enters a flow once that
// is settled. Every packet that is not exactly a flow's RTP goes on to the sockets.
//
// A Path works in the network namespace it was opened in. Flows, counters and the program's places are pinned in a BPF
// file system, so that packets flow on while the process is away; the next one adopts what its calls still need
// (Adopt) and sweeps the rest (Sweep). If no process comes back the program stops forwarding after an hour.
//
// Concurrency: a Path may be used by any goroutine.
//
//	p, err := kernel.Open(kernel.Options{Pins: "/sys/fs/bpf/linehall/1f2e", Flows: 4000})
//	e, err := p.Enter(kernel.Flow{From: phone, At: ours, As: oursToOther, To: other}, reception.State())
//	counted, err := p.Read(e)
//	counted, err = p.Leave(e)
package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cilium/ebpf"

	"linehall/internal/observe"
	"linehall/media/rtcp"
)

// Options are what a Path works with.
type Options struct {
	Pins  string // a directory of its own in a BPF file system; "": nothing outlives the process
	Flows int    // most at a time
	Log   *slog.Logger

	clsact bool // attach as kernels before 6.6 have to
}

// Flow is one direction of a stream: what arrives from From at At leaves as As to To. All are IPv4 or all IPv6.
type Flow struct {
	From, At, As, To netip.AddrPort
	DSCP             uint8
	Clocks           *[128]uint32 // Hz per payload type, 0: not known; nil: none is
}

// Same reports whether two flows are the same, clock rates included.
func (f Flow) Same(o Flow) bool {
	a, b := f.Clocks, o.Clocks
	f.Clocks, o.Clocks = nil, nil
	return f == o && (a == b || clocks(a) == clocks(b))
}

func clocks(c *[128]uint32) [128]uint32 {
	if c == nil {
		return [128]uint32{}
	}
	return *c
}

// Entry is a flow that is in the kernel.
type Entry struct {
	key  programKey
	slot uint32
}

var (
	// ErrLocal says that a party is on this host: its packets pass no device.
	ErrLocal = errors.New("a party is on this host")
	// ErrMixed says that the two sides speak different versions of IP, or an address is missing or bound to a link.
	ErrMixed = errors.New("addresses do not fit together")
	// ErrFull says that there is no room for another flow.
	ErrFull = errors.New("no room for another flow")
	// ErrTaken says that there is such a flow already.
	ErrTaken = errors.New("flow is there already")
	// ErrPreparing says that Run has to prepare the devices first, or is about it: try again soon.
	ErrPreparing = errors.New("the devices are being prepared")
	// ErrClosed is the error of Enter after Close.
	ErrClosed = errors.New("kernel path is closed")
)

const (
	// life is for how long the program goes on without a process; Run says again that there is one.
	life = time.Hour
	// Rest is how long an entry can be read after it was left; by then no packet of the flow is on its way through the
	// program, and its counters may serve another.
	Rest = time.Second
)

// Path is the program with its tables.
type Path struct {
	log     *slog.Logger
	pins    string
	clsact  bool
	objects programObjects
	places  *places

	mu      sync.Mutex // guards what follows, and entering and leaving; never taken by packets
	flows   map[programKey]uint32
	orphans map[programKey]uint32 // of the process before, until they are adopted or swept
	slots   slots
	pinned  bool
	unable  error         // why nothing is pinned
	wanted  chan struct{} // the first flow waits for the devices
	closed  bool
}

// Open loads the program, or takes over the tables that the process before left. Nothing is attached to a device and
// nothing pinned before the first flow. The error says in words why this machine cannot.
func Open(o Options) (*Path, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Path{log: o.Log, pins: o.Pins, clsact: o.clsact, flows: map[programKey]uint32{}, orphans: map[programKey]uint32{}, wanted: make(chan struct{}, 1)}
	if err := p.load(o.Flows); err != nil {
		return nil, err
	}
	if err := p.renew(); err != nil {
		return nil, errors.Join(err, p.objects.Close())
	}
	if err := routeFromHere(); err != nil {
		return nil, errors.Join(err, p.objects.Close())
	}
	p.places = newPlaces(p)
	if err := p.inherit(); err != nil {
		return nil, errors.Join(err, p.objects.Close())
	}
	return p, nil
}

// Probe returns nil when this process could open a Path, otherwise the reason in words. It changes nothing.
func Probe() error {
	spec, err := loadProgram()
	if err != nil {
		return fmt.Errorf("program: %w", err)
	}
	var objects programObjects
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		return fmt.Errorf("load the program: %w", explain(err))
	}
	if err := objects.Close(); err != nil {
		return fmt.Errorf("unload the program: %w", err)
	}
	return routable()
}

// load makes the tables, or opens the pinned ones, and loads the program.
func (p *Path) load(flows int) error {
	spec, err := loadProgram()
	if err != nil {
		return fmt.Errorf("program: %w", err)
	}
	spec.Maps[programMapRules].MaxEntries = uint32(flows) //nolint:gosec // bounded by ports
	spec.Maps[programMapSlots].MaxEntries = uint32(flows) //nolint:gosec // bounded by ports
	replaced := map[string]*ebpf.Map{}
	defer func() {
		for _, m := range replaced {
			_ = m.Close() // the program has its own reference
		}
	}()
	if p.pins != "" {
		for name, m := range spec.Maps {
			old, err := ebpf.LoadPinnedMap(filepath.Join(p.pins, name), nil)
			if err != nil {
				if !errors.Is(err, os.ErrNotExist) {
					p.log.Debug("pinned table not taken over", slog.String("table", name), slog.Any(observe.Err, err))
				}
				continue
			}
			if err := m.Compatible(old); err != nil { // another version or size: its calls go on through the sockets
				_ = old.Close() // nobody else uses it
				p.log.Info("tables of the process before do not fit", slog.String("table", name), slog.Any(observe.Err, err))
				discard(p.pins)
				clear(replaced)
				break
			}
			replaced[name] = old
		}
		if len(replaced) != len(spec.Maps) {
			clear(replaced)
		}
	}
	p.pinned = len(replaced) > 0
	err = spec.LoadAndAssign(&p.objects, &ebpf.CollectionOptions{MapReplacements: replaced})
	if err != nil {
		return fmt.Errorf("load the program: %w", explain(err))
	}
	p.slots.count = p.objects.Slots.MaxEntries()
	return nil
}

// explain adds what an operator can do.
func explain(err error) error {
	switch {
	case errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("this kernel lacks what it needs: %w", err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("it takes CAP_BPF and CAP_NET_ADMIN: %w", err)
	default:
		return err
	}
}

// inherit lists the flows that the process before left.
func (p *Path) inherit() error {
	var key programKey
	var rule programRule
	it := p.objects.Rules.Iterate()
	for it.Next(&key, &rule) {
		p.orphans[key] = rule.Slot
		p.slots.claim(rule.Slot)
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("flows of the process before: %w", err)
	}
	return p.places.inherit()
}

// renew says that a process stands behind the flows.
func (p *Path) renew() error {
	now := monotonic()
	if err := p.objects.Controls.Put(uint32(0), programControl{Until: uint64(now + life)}); err != nil { //nolint:gosec // positive
		return fmt.Errorf("renew the flows: %w", err)
	}
	return nil
}

// Enter moves a flow into the kernel; the counting goes on from s, whose times are of the monotonic clock.
func (p *Path) Enter(f Flow, s rtcp.State) (Entry, error) {
	key, rule, err := encode(f)
	if err != nil {
		return Entry{}, err
	}
	if !p.mu.TryLock() {
		return Entry{}, ErrPreparing // never waits: its caller carries packets
	}
	defer p.mu.Unlock()
	if p.closed {
		return Entry{}, ErrClosed
	}
	if err := p.places.reach(f); err != nil {
		return Entry{}, err
	}
	if _, there := p.flows[key]; there {
		return Entry{}, ErrTaken
	}
	if slot, there := p.orphans[key]; there { // nobody asked for it: its ports serve another call now
		p.remove(key, slot)
		delete(p.orphans, key)
	}
	slot, ok := p.slots.take()
	if !ok {
		return Entry{}, ErrFull
	}
	rule.Slot = slot
	counted := encodeState(s)
	if err := errors.Join(p.objects.Slots.Update(slot, &counted, ebpf.UpdateLock), p.objects.Rules.Update(key, &rule, ebpf.UpdateNoExist)); err != nil {
		p.slots.put(slot)
		return Entry{}, fmt.Errorf("enter a flow: %w", err)
	}
	p.flows[key] = slot
	return Entry{key: key, slot: slot}, nil
}

// pin makes the tables outlive the process, at the first flow.
func (p *Path) pin() {
	if p.pins == "" || p.pinned || p.unable != nil {
		return
	}
	p.unable = func() error {
		if err := prepare(p.pins); err != nil {
			return err
		}
		for name, m := range map[string]*ebpf.Map{programMapRules: p.objects.Rules, programMapSlots: p.objects.Slots, programMapControls: p.objects.Controls} {
			if err := m.Pin(filepath.Join(p.pins, name)); err != nil {
				return err
			}
		}
		return nil
	}()
	if p.unable != nil {
		p.log.Warn("calls in the kernel will not outlive the process", observe.Err, p.unable)
		return
	}
	p.pinned = true
	p.places.pin()
}

// Read returns what the flow has counted so far.
func (p *Path) Read(e Entry) (Counted, error) {
	var s programSlot
	if err := p.objects.Slots.LookupWithFlags(e.slot, &s, ebpf.LookupLock); err != nil {
		return Counted{}, fmt.Errorf("read a flow: %w", err)
	}
	return decodeState(&s), nil
}

// Leave takes a flow out and returns its last counts.
func (p *Path) Leave(e Entry) (Counted, error) {
	p.mu.Lock()
	if slot, there := p.flows[e.key]; there && slot == e.slot {
		p.remove(e.key, e.slot)
		delete(p.flows, e.key)
	}
	p.mu.Unlock()
	return p.Read(e)
}

func (p *Path) remove(key programKey, slot uint32) {
	if err := p.objects.Rules.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		p.log.Error("flow not taken out of the kernel", observe.Err, err)
		return // the slot is lost, and with it nothing but room
	}
	p.slots.put(slot)
}

// Adopt takes over a flow of the process before that arrives at an address of ours.
func (p *Path) Adopt(at netip.AddrPort) (Flow, Entry, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, slot := range p.orphans {
		if key.at() != at {
			continue
		}
		var rule programRule
		if err := p.objects.Rules.Lookup(key, &rule); err != nil {
			return Flow{}, Entry{}, false
		}
		delete(p.orphans, key)
		p.flows[key] = slot
		return decode(key, &rule), Entry{key: key, slot: slot}, true
	}
	return Flow{}, Entry{}, false
}

// Sweep removes the flows of the process before that nobody adopted, and returns how many there were.
func (p *Path) Sweep() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.orphans)
	for key, slot := range p.orphans {
		p.remove(key, slot)
	}
	clear(p.orphans)
	return n
}

// Flows returns how many flows are in the kernel.
func (p *Path) Flows() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.flows)
}

// Status is how the path is, for people.
type Status struct {
	Flows    int
	Devices  []string // where the program is
	Hook     string   // tcx or clsact
	Pinned   bool
	Unpinned string // why not
}

// Status returns how the path is.
func (p *Path) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{Flows: len(p.flows), Pinned: p.pinned}
	s.Devices, s.Hook = p.places.list()
	if p.unable != nil {
		s.Unpinned = p.unable.Error()
	}
	return s
}

// Close gives everything back. Flows that are still entered stay, with what they need, for the next process; without
// any the devices are left as they were.
func (p *Path) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	keep := p.pinned && len(p.flows)+len(p.orphans) > 0
	err := p.places.close(keep)
	if p.pinned && !keep {
		discard(p.pins)
	}
	return errors.Join(err, p.objects.Close())
}
