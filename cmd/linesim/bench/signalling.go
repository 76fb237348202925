package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"linehall/cmd/linesim/report"
)

// SIPTarget is a SIP server under test.
type SIPTarget struct {
	Name     string
	Address  netip.AddrPort
	Accounts []Account
	Bind     netip.Addr // the load's own address; it decides on the site
	process  *process
}

// SIPLoad is what a server is asked to do.
type SIPLoad struct {
	Rate    float64       // operations per second, offered evenly whether or not earlier ones have finished
	Warm    time.Duration // not measured
	Measure time.Duration
	Hold    time.Duration // of calls
}

// Result is one run of one bench against one server.
type Result struct {
	Bench      string            `json:"bench"`
	Server     string            `json:"server"`
	Rate       float64           `json:"rate_per_second"`
	Operations uint64            `json:"operations"`
	Failed     uint64            `json:"failed"`
	CPUPerOp   float64           `json:"cpu_us_per_operation"`
	CPUPercent float64           `json:"cpu_percent"`
	RSSMiB     float64           `json:"rss_mib"`
	Delay      report.Summary    `json:"delay"`
	Lost       uint64            `json:"lost"`
	JoinMs     float64           `json:"join_ms,omitempty"` // from joining a room to the first packet
	Seconds    float64           `json:"seconds"`
	Errors     map[string]uint64 `json:"errors,omitempty"`
	Note       string            `json:"note,omitempty"`
}

// errAllFailed says that there is nothing to publish: every operation failed.
var errAllFailed = errors.New("every operation failed")

// agents opens some sockets for the load: enough that a server sees many sources, few enough to be cheap.
func (t SIPTarget) agents(ctx context.Context) ([]*agent, error) {
	const sockets = 16
	list := make([]*agent, sockets)
	for i := range list {
		var err error
		if list[i], err = newAgent(ctx, t.Bind, t.Address); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Register measures authenticated registrations: REGISTER, 401, REGISTER, 200.
func Register(ctx context.Context, t SIPTarget, load SIPLoad) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	agents, err := t.agents(ctx)
	if err != nil {
		return Result{}, err
	}
	return operate(ctx, "register", t, load, func(ctx context.Context, n int) (time.Duration, error) {
		started := time.Now()
		i := n % len(t.Accounts)
		err := agents[i%len(agents)].register(ctx, t.Accounts[i])
		return time.Since(started), err
	})
}

// Call measures whole calls between registered users: INVITE (authenticated where the server asks), ringing, answer,
// ACK, BYE. The delay is that to the first ringing.
func Call(ctx context.Context, t SIPTarget, load SIPLoad) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	agents, err := t.agents(ctx)
	if err != nil {
		return Result{}, err
	}
	for i, account := range t.Accounts {
		if err := agents[i%len(agents)].register(ctx, account); err != nil {
			return Result{}, fmt.Errorf("%s: %s: %w", t.Name, account.User, err)
		}
	}
	// Callers and callees take turns through the two halves, so that no user is in many calls at once.
	half := len(t.Accounts) / 2
	return operate(ctx, "call", t, load, func(ctx context.Context, n int) (time.Duration, error) {
		caller := n % half
		return agents[caller%len(agents)].call(ctx, t.Accounts[caller], t.Accounts[half+caller].User, load.Hold)
	})
}

// operate offers operations at the rate and measures those that begin inside the window.
func operate(ctx context.Context, name string, t SIPTarget, load SIPLoad, do func(context.Context, int) (time.Duration, error)) (Result, error) {
	r := Result{Bench: name, Server: t.Name, Rate: load.Rate, Errors: make(map[string]uint64)}
	var (
		mu    sync.Mutex
		delay report.Histogram
		group sync.WaitGroup
	)
	begin := time.Now()
	from, until := begin.Add(load.Warm), begin.Add(load.Warm+load.Measure)
	var before usage
	measuring := false
	interval := time.Duration(float64(time.Second) / load.Rate)
	for n := 0; ctx.Err() == nil; n++ {
		due := begin.Add(time.Duration(n) * interval)
		if due.After(until) {
			break
		}
		time.Sleep(time.Until(due))
		if !measuring && !due.Before(from) {
			measuring = true
			var err error
			if before, err = t.process.usage(); err != nil {
				return r, err
			}
		}
		counted := measuring
		group.Go(func() {
			took, err := do(ctx, n)
			if !counted {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			r.Operations++
			if err != nil {
				r.Failed++
				r.Errors[err.Error()]++
				return
			}
			delay.Record(took)
		})
	}
	group.Wait()
	after, err := t.process.usage()
	if err != nil {
		return r, err
	}
	r.Seconds = time.Since(from).Seconds()
	r.Delay = delay.Summary()
	r.spend(before, after)
	if r.Operations == r.Failed {
		return r, fmt.Errorf("%s %s: %w: %v", t.Name, name, errAllFailed, r.Errors)
	}
	return r, nil
}

// spend fills in the CPU columns.
func (r *Result) spend(before, after usage) {
	cpu := after.cpu - before.cpu
	if done := r.Operations - r.Failed; done > 0 {
		r.CPUPerOp = float64(cpu.Microseconds()) / float64(done)
	}
	if r.Seconds > 0 {
		r.CPUPercent = 100 * cpu.Seconds() / r.Seconds
	}
	r.RSSMiB = float64(after.rssKiB) / 1024
}
