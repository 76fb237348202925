package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"linehall/cmd/linesim/report"
)

// Suite runs benches against servers that it starts itself, interleaved: every repetition goes through all servers
// before the next begins, so that what the machine does meanwhile meets all of them alike.
type Suite struct {
	Peers       Peers
	Repetitions int
	Servers     []string // nil: every server a bench knows
	Register    SIPLoad
	Call        SIPLoad
	Relay       RelayLoad
	SFU         SFULoad
	Urgent      bool // raise the priority of the load and of the servers, which inherit it; needs root
	Progress    func(string)
}

// urgency is the nice value of a measurement: above whatever else happens on the machine.
const urgency = -15

// bench is one kind of measurement: which servers do this work, and how a run goes.
type bench struct {
	name    string
	servers []string
	unit    string // what one operation is
	floor   string // the server whose costs are taken off all others'; "": nothing is
	ours    string // what the ratios are of; "": linehall
	run     func(ctx context.Context, server string) (Result, error)
}

// Names lists the benches in the order they run.
func Names() []string {
	return []string{"register", "call", "relay", "relay-peak", "kernel", "srtp", "sfu", "sfu-broadcast"}
}

// ErrUnknown says that there is no such bench or server.
var ErrUnknown = errors.New("unknown")

// relays are what the relay benches compare: the appliance waking for each packet and with its tick, and others.
var relays = []string{"linehall", "linehall-tick", "rtpengine", "c", "direct"}

func (s Suite) benches() []bench {
	return []bench{
		{name: "register", unit: "registration", servers: []string{"linehall", "kamailio", "sipgo"}, run: func(ctx context.Context, server string) (Result, error) {
			return s.signalling(ctx, server, Register, s.Register)
		}},
		{name: "call", unit: "call", servers: []string{"linehall", "kamailio"}, run: func(ctx context.Context, server string) (Result, error) {
			return s.signalling(ctx, server, Call, s.Call)
		}},
		{name: "relay", unit: "packet", servers: relays, run: func(ctx context.Context, server string) (Result, error) {
			return s.runRelay(ctx, server, Relay)
		}},
		{name: "relay-peak", unit: "packet", servers: relays, run: func(ctx context.Context, server string) (Result, error) {
			return s.runRelay(ctx, server, RelayPeak)
		}},
		{name: "kernel", unit: "packet", servers: vethServers(), run: s.runKernel, floor: "direct", ours: "linehall-kernel"},
		{name: "srtp", unit: "packet", servers: []string{"linehall", "linehall-tick", "rtpengine"}, run: s.runSRTP},
		{name: "sfu", unit: "packet", servers: []string{"linehall", "janus", "direct"}, run: func(ctx context.Context, server string) (Result, error) {
			return s.runSFU(ctx, server, s.SFU)
		}},
		{name: "sfu-broadcast", unit: "packet", servers: []string{"linehall", "janus", "direct"}, run: func(ctx context.Context, server string) (Result, error) {
			load := s.SFU
			load.Members, load.Publishers = load.Viewers+1, 1
			return s.runSFU(ctx, server, load)
		}},
	}
}

func (s Suite) signalling(ctx context.Context, server string, measure func(context.Context, SIPTarget, SIPLoad) (Result, error), load SIPLoad) (Result, error) {
	switch server {
	case "linehall":
		l, err := s.Peers.linehall(ctx)
		if err != nil {
			return Result{}, err
		}
		defer l.stop()
		return measure(ctx, l.signalling(), load)
	case "kamailio":
		r, target, err := s.Peers.kamailio(ctx)
		if err != nil {
			return Result{}, err
		}
		defer r.stop()
		return measure(ctx, target, load)
	case "sipgo":
		r, target, err := s.Peers.bare(ctx)
		if err != nil {
			return Result{}, err
		}
		defer r.stop()
		return measure(ctx, target, load)
	}
	return Result{}, fmt.Errorf("server %s: %w", server, ErrUnknown)
}

// runRelay gives the server a core and the generator another one.
func (s Suite) runRelay(ctx context.Context, server string, measure func(context.Context, RelayTarget, RelayLoad) (Result, error)) (Result, error) {
	peers, load := s.relayPeers(server)
	switch server {
	case "linehall", "linehall-tick":
		l, err := peers.linehall(ctx)
		if err != nil {
			return Result{}, err
		}
		defer l.stop()
		target := l.relay()
		target.Name = server
		return measure(ctx, target, load)
	case "rtpengine":
		r, target, err := peers.rtpengine(ctx)
		if err != nil {
			return Result{}, err
		}
		defer r.stop()
		return measure(ctx, target, load)
	case "c":
		target, stop, err := peers.forward(ctx)
		if err != nil {
			return Result{}, err
		}
		defer stop()
		return measure(ctx, target, load)
	case "direct":
		return measure(ctx, Direct(), load)
	}
	return Result{}, fmt.Errorf("server %s: %w", server, ErrUnknown)
}

// relayPeers is where the servers of a relay bench and its generator run, and whether the appliance may use its tick.
func (s Suite) relayPeers(server string) (Peers, RelayLoad) {
	peers, load := s.Peers, s.Relay
	load.Core = -1
	if peers.Pinned = runtime.NumCPU() > generatorCore; peers.Pinned {
		load.Core = generatorCore
	}
	peers.Tick = "off"
	if server == "linehall-tick" {
		peers.Tick = "auto"
	}
	return peers, load
}

// runSRTP is the relay bench with SRTP on one leg.
func (s Suite) runSRTP(ctx context.Context, server string) (r Result, err error) {
	peers, load := s.relayPeers(server)
	switch server {
	case "linehall", "linehall-tick":
		l, err := peers.linehall(ctx)
		if err != nil {
			return r, err
		}
		defer l.stop()
		target := l.securedRelay()
		target.Name = server
		r, err = Relay(ctx, target, load)
		r.Bench = "srtp"
		return r, err
	case "rtpengine":
		p, target, err := peers.rtpengine(ctx)
		if err != nil {
			return r, err
		}
		defer p.stop()
		r, err = Relay(ctx, securedRTPEngine(target), load)
		r.Bench = "srtp"
		return r, err
	}
	return r, fmt.Errorf("server %s: %w", server, ErrUnknown)
}

// runSFU fills a room.
func (s Suite) runSFU(ctx context.Context, server string, load SFULoad) (Result, error) {
	switch server {
	case "linehall":
		at := s.Peers
		at.Venues = load.Members + 1
		l, err := at.linehall(ctx)
		if err != nil {
			return Result{}, err
		}
		defer l.stop()
		api, err := clientAPI(true)
		if err != nil {
			return Result{}, err
		}
		return runRoom(ctx, server, &linehallRoom{api: api, server: l}, l.process, load)
	case "janus":
		r, where, err := s.Peers.janus(ctx)
		if err != nil {
			return Result{}, err
		}
		defer r.stop()
		return runRoom(ctx, server, where, r.process, load)
	case "direct":
		api, err := clientAPI(true)
		if err != nil {
			return Result{}, err
		}
		return runRoom(ctx, server, &directRoom{api: api}, nil, load)
	}
	return Result{}, fmt.Errorf("server %s: %w", server, ErrUnknown)
}

// Report is what a suite publishes.
type Report struct {
	Taken   time.Time `json:"taken_at"`
	Machine Machine   `json:"machine"`
	Runs    []Result  `json:"runs"`
	Medians []Median  `json:"medians"`
}

// Machine says where the numbers come from.
type Machine struct {
	CPUs   int    `json:"cpus"`
	CPU    string `json:"cpu"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Commit string `json:"commit"`
}

// Median is the middle of the runs of one bench against one server.
type Median struct {
	Bench    string  `json:"bench"`
	Server   string  `json:"server"`
	Unit     string  `json:"unit"`
	Runs     int     `json:"runs"`
	Rate     float64 `json:"rate_per_second"`
	CPUPerOp float64 `json:"cpu_us_per_operation"`
	Ratio    float64 `json:"linehall_to_this"` // CPU of the appliance divided by this server's; 0 without one
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	P999     float64 `json:"p999_ms"`
	RSSMiB   float64 `json:"rss_mib"`
	Failed   uint64  `json:"failed"` // worst run
	Lost     uint64  `json:"lost"`   // worst run

	// Beside the run without a server, where a bench has one; CPU is then that of the generator's system calls too, and the ratio is one of differences.
	AddedCPU float64 `json:"added_cpu_us_per_operation,omitempty"`
	AddedP50 float64 `json:"added_p50_ms,omitempty"`
}

// Run runs the named benches (all when none is named). The report holds what was measured, even with an error.
func (s Suite) Run(ctx context.Context, names ...string) (*Report, error) {
	r := &Report{Taken: time.Now(), Machine: machine(ctx)}
	if s.Urgent {
		if err := raise(); err != nil {
			s.say("running at ordinary priority: %v", err)
		}
	}
	var errs error
	for _, b := range s.benches() {
		if len(names) > 0 && !slices.Contains(names, b.name) {
			continue
		}
		servers := b.servers
		if len(s.Servers) > 0 {
			servers = nil
			for _, wanted := range s.Servers {
				if !slices.Contains(b.servers, wanted) {
					return r, fmt.Errorf("server %q for bench %s: %w; there are %s", wanted, b.name, ErrUnknown, strings.Join(b.servers, ", "))
				}
				servers = append(servers, wanted)
			}
		}
		runs, err := s.interleave(ctx, b, servers)
		r.Runs = append(r.Runs, runs...)
		r.Medians = append(r.Medians, medians(b, servers, runs)...)
		errs = errors.Join(errs, err)
	}
	return r, errs
}

func (s Suite) interleave(ctx context.Context, b bench, servers []string) (runs []Result, errs error) {
	for n := range max(s.Repetitions, 1) {
		for _, server := range servers {
			if ctx.Err() != nil {
				return runs, errors.Join(errs, context.Cause(ctx))
			}
			result, err := b.run(ctx, server)
			if err != nil {
				errs = errors.Join(errs, fmt.Errorf("%s %s: %w", b.name, server, err))
				s.say("%s %s, run %d: %v", b.name, server, n+1, err)
				continue
			}
			runs = append(runs, result)
			s.say("%s %s, run %d: %.1f us CPU per %s, p50 %.3f ms, p99 %.3f ms, %d of %d failed, %d lost",
				b.name, server, n+1, result.CPUPerOp, b.unit, result.Delay.P50, result.Delay.P99, result.Failed, result.Operations, result.Lost)
		}
	}
	return runs, errs
}

// raise gives every thread of this process the priority of a measurement; later threads and children inherit it.
func raise() error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("priority: %w", err)
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			continue
		}
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, urgency); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("priority: %w", err)
		}
	}
	return nil
}

func (s Suite) say(format string, args ...any) {
	if s.Progress != nil {
		s.Progress(fmt.Sprintf(format, args...))
	}
}

func medians(b bench, servers []string, runs []Result) []Median {
	var list []Median
	for _, server := range servers {
		var own []Result
		for _, r := range runs {
			if r.Server == server {
				own = append(own, r)
			}
		}
		if len(own) == 0 {
			continue
		}
		m := Median{Bench: b.name, Server: server, Unit: b.unit, Runs: len(own), Rate: middle(own, rate)}
		m.CPUPerOp = middle(own, func(r Result) float64 { return r.CPUPerOp })
		m.P50 = middle(own, func(r Result) float64 { return r.Delay.P50 })
		m.P99 = middle(own, func(r Result) float64 { return r.Delay.P99 })
		m.P999 = middle(own, func(r Result) float64 { return r.Delay.P999 })
		m.RSSMiB = middle(own, func(r Result) float64 { return r.RSSMiB })
		for _, r := range own {
			m.Failed, m.Lost = max(m.Failed, r.Failed), max(m.Lost, r.Lost)
		}
		list = append(list, m)
	}
	addFloor(list, b.floor)
	for i := range list {
		for _, ours := range list {
			if ours.Server == cmp.Or(b.ours, "linehall") && list[i].Server != ours.Server && list[i].cost(b.floor) > 0 {
				list[i].Ratio = ours.cost(b.floor) / list[i].cost(b.floor)
			}
		}
	}
	return list
}

// addFloor takes the costs of a server, or of none, off the others'.
func addFloor(list []Median, floor string) {
	at := slices.IndexFunc(list, func(m Median) bool { return m.Server == floor })
	if at < 0 {
		return
	}
	for i := range list {
		list[i].AddedCPU, list[i].AddedP50 = list[i].CPUPerOp-list[at].CPUPerOp, list[i].P50-list[at].P50
	}
}

// cost is what is compared.
func (m Median) cost(floor string) float64 {
	if floor != "" {
		return m.AddedCPU
	}
	return m.CPUPerOp
}

func rate(r Result) float64 {
	if r.Seconds == 0 {
		return 0
	}
	return float64(r.Operations) / r.Seconds
}

func middle(runs []Result, of func(Result) float64) float64 {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func machine(ctx context.Context) Machine {
	m := Machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), Commit: "unknown"}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.SplitSeq(string(data), "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if data, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(data))
	}
	if out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	return m
}

// Print writes the medians as one table.
func (r *Report) Print(w io.Writer) {
	rows := make([][]any, 0, len(r.Medians))
	for _, m := range r.Medians {
		ratio, added := "", ""
		if m.AddedCPU != 0 || m.AddedP50 != 0 {
			added = fixed(m.AddedCPU, 1) + " us, p50 " + fixed(m.AddedP50, 3)
		}
		if m.Ratio > 0 {
			ratio = fixed(m.Ratio, 2) + "x"
		}
		rows = append(rows, []any{
			m.Bench, m.Server, fixed(m.Rate, 0), fixed(m.CPUPerOp, 1) + " us / " + m.Unit, added, ratio,
			fixed(m.P50, 3), fixed(m.P99, 3), fixed(m.P999, 3), fixed(m.RSSMiB, 0), m.Failed, m.Lost, m.Runs,
		})
	}
	report.Table(w, fmt.Sprintf("Medians; %d CPUs (%s), kernel %s, %s, commit %s", r.Machine.CPUs, r.Machine.CPU, r.Machine.Kernel, r.Machine.Go, r.Machine.Commit),
		[]string{"bench", "server", "per second", "server CPU", "above the floor", "linehall / this", "p50 ms", "p99 ms", "p99.9 ms", "RSS MiB", "failed", "lost", "runs"}, rows)
}

func fixed(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }
