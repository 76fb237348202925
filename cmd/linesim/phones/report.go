package phones

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"linehall/cmd/linesim/phone"
	"linehall/cmd/linesim/report"
)

// outcome is what became of one call.
type outcome struct {
	From, To         string
	FromSite, ToSite string
	kind             kind
	answered         bool
	line             bool // refused because a line is full, which is an answer and not a failure
	stopped          bool // cut short by the end of the run
	err              error
	alert            time.Duration // INVITE to 180
	answer           time.Duration // INVITE to 200, less the time the callee let it ring
	listened         bool
	ends             [2]end
}

type end struct {
	received, lost uint64
	jitter         time.Duration
	gap            time.Duration
	mos            float64
	delay          report.Histogram
}

func (o *outcome) setUp(call *phone.Call, ring time.Duration) {
	o.answered = true
	if !call.Alerted.IsZero() {
		o.alert = call.Alerted.Sub(call.Dialled)
	}
	o.answer = max(call.Answered.Sub(call.Dialled)-ring, 0)
}

// judge decides whether an unanswered call went as planned.
func (o *outcome) judge(ctx context.Context, err error) {
	var refused *phone.Refusal
	switch {
	case o.kind == noAnswer && errors.Is(err, phone.ErrCancelled):
	case ctx.Err() != nil && errors.Is(err, phone.ErrCancelled):
		o.stopped = true
	case errors.As(err, &refused) && refused.Code == 488 && strings.HasPrefix(refused.Warning, "370"):
		o.line = true // RFC 3261 §20.43: insufficient bandwidth
	case o.kind == busy && errors.As(err, &refused) && refused.Code == 486:
	default:
		o.err = err
	}
}

// measure takes the sound figures of both ends and fails the call if they are not those of a good one.
func (o *outcome) measure(call, far *phone.Call, strict bool, maxLoss float64) {
	for i, c := range []*phone.Call{call, far} {
		s := c.Stats()
		o.ends[i] = end{received: s.Received, lost: s.Lost, jitter: s.Jitter, gap: s.MaxGap, mos: s.MOS, delay: s.Delay}
		if !strict || o.err != nil {
			continue
		}
		o.listened = true
		side := []string{o.From, o.To}[i]
		switch loss := report.Percent(s.Lost, s.Lost+s.Received); {
		case !s.Heard:
			o.err = fmt.Errorf("%w at %s: in %d of %d windows, %d packets", errSilence, side, s.HeardParts, s.Windows, s.Received)
		case loss > maxLoss:
			o.err = fmt.Errorf("%w at %s: %.2f %%", errLoss, side, loss)
		}
	}
}

// Group sums up the calls of one kind.
type Group struct {
	Attempted   uint64         `json:"attempted"`
	OK          uint64         `json:"ok"`
	Failed      uint64         `json:"failed"`
	LineRefused uint64         `json:"line_refused"`
	Busy        uint64         `json:"busy"`
	NoAnswer    uint64         `json:"no_answer"`
	CutShort    uint64         `json:"cut_short"`
	Alert       report.Summary `json:"invite_to_ringing"`
	Answer      report.Summary `json:"invite_to_answer"`
	Delay       report.Summary `json:"one_way_delay"`
	Packets     uint64         `json:"packets"`
	Lost        uint64         `json:"lost"`
	LossPercent float64        `json:"loss_percent"`
	Jitter      float64        `json:"jitter_ms"`
	MaxGap      float64        `json:"max_gap_ms"`
	MOSMean     float64        `json:"mos_mean"`
	MOSMin      float64        `json:"mos_min"`
}

// Report is the result of a run.
type Report struct {
	Phones        int               `json:"phones"`
	Registered    int               `json:"registered"`
	AllBoundAfter float64           `json:"all_registered_after_ms"`
	RegisterTime  report.Summary    `json:"register_time"`
	Refreshes     int               `json:"registrations_ok"`
	RegisterFails int               `json:"registrations_failed"`
	Calls         map[string]*Group `json:"calls"` // inside, across, all
	Errors        map[string]int    `json:"errors"`
	Seconds       float64           `json:"seconds"`
	CallRate      float64           `json:"calls_per_second"`
	Lamps         *Lamps            `json:"lamps,omitempty"`
	OK            bool              `json:"ok"`
}

// tally collects outcomes; safe for concurrent use.
type tally struct {
	started time.Time
	maxLoss float64

	mu     sync.Mutex // guards everything below
	active int
	result Report
	sums   map[string]*sum
	lamps  Lamps
}

type sum struct {
	group                Group
	alert, answer, delay report.Histogram
	jitter, mos          float64
	ends                 int
}

func newTally(maxLoss float64) *tally {
	t := &tally{started: time.Now(), maxLoss: maxLoss, sums: make(map[string]*sum)}
	t.result.Errors = make(map[string]int)
	for _, name := range []string{"inside", "across", "all"} {
		t.sums[name] = &sum{}
	}
	return t
}

func (t *tally) start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active++
}

func (t *tally) now() (active int, done, failed uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.active, t.sums["all"].group.Attempted, t.sums["all"].group.Failed
}

func (t *tally) allRegistered(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.result.AllBoundAfter = report.Milliseconds(took)
	t.started = time.Now()
}

func (t *tally) registrations(actors []*actor) {
	var times report.Histogram
	t.mu.Lock()
	defer t.mu.Unlock()
	t.result.Phones = len(actors)
	for _, a := range actors {
		s := a.phone.Status()
		if s.Registered {
			t.result.Registered++
		}
		t.result.Refreshes += s.Refreshes
		t.result.RegisterFails += s.Failures
		times.Record(s.Took)
	}
	t.result.RegisterTime = times.Summary()
}

func (t *tally) file(o outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active--
	name := "inside"
	if o.FromSite != o.ToSite {
		name = "across"
	}
	for _, s := range []*sum{t.sums[name], t.sums["all"]} {
		s.add(&o)
	}
	if o.err != nil {
		const keep = 200 // distinct texts; a flood of different errors must not eat the memory of a long demo
		text := fmt.Sprintf("%s→%s: %v", o.From, o.To, o.err)
		if len(t.result.Errors) < keep || t.result.Errors[text] > 0 {
			t.result.Errors[text]++
		}
	}
}

func (s *sum) add(o *outcome) {
	g := &s.group
	g.Attempted++
	switch {
	case o.err != nil:
		g.Failed++
	case o.stopped:
		g.CutShort++
	case o.line:
		g.LineRefused++
	case o.kind == busy:
		g.Busy++
	case o.kind == noAnswer:
		g.NoAnswer++
	default:
		g.OK++
	}
	if !o.answered {
		return
	}
	if o.alert > 0 {
		s.alert.Record(o.alert)
	}
	s.answer.Record(o.answer)
	for i := range o.ends {
		e := &o.ends[i]
		g.Packets += e.received
		g.Lost += e.lost
		g.MaxGap = max(g.MaxGap, report.Milliseconds(e.gap))
		s.delay.Merge(&e.delay)
		if e.received == 0 {
			continue
		}
		s.ends++
		s.jitter += report.Milliseconds(e.jitter)
		s.mos += e.mos
		if g.MOSMin == 0 || e.mos < g.MOSMin {
			g.MOSMin = e.mos
		}
	}
}

func (t *tally) report() *Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.result
	r.Calls = make(map[string]*Group, len(t.sums))
	for name, s := range t.sums {
		g := s.group
		g.Alert, g.Answer, g.Delay = s.alert.Summary(), s.answer.Summary(), s.delay.Summary()
		g.LossPercent = report.Percent(g.Lost, g.Lost+g.Packets)
		if s.ends > 0 {
			g.Jitter, g.MOSMean = s.jitter/float64(s.ends), s.mos/float64(s.ends)
		}
		r.Calls[name] = &g
	}
	r.Seconds = time.Since(t.started).Seconds()
	if r.Seconds > 0 {
		r.CallRate = float64(r.Calls["all"].Attempted) / r.Seconds
	}
	r.OK = r.Registered == r.Phones && r.Calls["all"].Failed == 0 && (r.Lamps == nil || r.Lamps.ok())
	return &r
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) {
	report.Line(w, "%d of %d phones registered, all after %.0f ms (p50 %.1f ms, p99 %.1f ms each); %d registrations, %d failed",
		r.Registered, r.Phones, r.AllBoundAfter, r.RegisterTime.P50, r.RegisterTime.P99, r.Refreshes, r.RegisterFails)
	rows := make([][]any, 0, len(r.Calls))
	for _, name := range []string{"inside", "across", "all"} {
		g := r.Calls[name]
		if g == nil || g.Attempted == 0 {
			continue
		}
		rows = append(rows, []any{
			name, g.Attempted, g.OK, g.Failed, g.LineRefused, g.Busy, g.NoAnswer,
			pair(g.Alert), pair(g.Answer), pair(g.Delay), fixed(g.Jitter, 2), fixed(g.LossPercent, 3), fixed(g.MaxGap, 0),
			fixed(g.MOSMean, 2) + " / " + fixed(g.MOSMin, 2),
		})
	}
	if len(rows) > 0 {
		report.Table(w, fmt.Sprintf("Calls (%.1f per second for %.0f s; times in ms, p50 / p99)", r.CallRate, r.Seconds), []string{
			"kind", "calls", "ok", "failed", "line full", "busy", "no answer", "to ringing", "to answer", "delay", "jitter", "loss %", "max gap", "MOS mean / min",
		}, rows)
	}
	if l := r.Lamps; l != nil {
		report.Line(w, "%d busy lamps, %d NOTIFYs, %d renewals; %d of %d looked at were wrong, %d stuck, all dark after %.0f ms",
			l.Subscriptions, l.Notifies, l.Renewals, l.Wrong, l.Checked, l.Stuck, l.DarkAfter)
		for _, fault := range l.Faults {
			report.Line(w, "%s", fault)
		}
	}
	for _, text := range slices.Sorted(maps.Keys(r.Errors)) {
		report.Line(w, "%d × %s", r.Errors[text], text)
	}
}

func pair(s report.Summary) string { return fixed(s.P50, 2) + " / " + fixed(s.P99, 2) }

func fixed(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }
