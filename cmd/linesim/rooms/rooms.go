// Package rooms runs several native venues in one process: all in one room (or in several), for a time or without
// end, or joining and leaving over and over, and judges whether everybody saw and heard everybody.
//
//	report, err := rooms.Run(ctx, rooms.Plan{Links: links, Duration: 20 * time.Second, MinRate: 8})
package rooms

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"linehall/cmd/linesim/appliance"
	"linehall/cmd/linesim/report"
	"linehall/cmd/linesim/venue"
)

// Plan says who meets and what is expected.
type Plan struct {
	Links    []venue.Link
	TLS      *tls.Config
	Binds    map[string]netip.Prefix
	Server   netip.Addr // to decide on the demo's subnets
	Height   int
	Strip    int           // how tall all pictures but the first are; 0: like the first
	Full     bool          // venues encode at the commanded rates and pace
	Duration time.Duration // 0: until ctx ends
	MinRate  float64       // frames/s that everybody must see of everybody, over the worst ten seconds
	Voices   int           // how many others must be heard; people take turns, so fewer than all is right
	Settle   time.Duration // from the last join to the beginning of the measurement
	Within   time.Duration // how long a venue may take to join and to see somebody; 0 means 15 s
	Churn    int           // joins and leaves in all, one venue at a time; 0 for none
	Progress func(string)
	Log      *slog.Logger
}

// Report is the result.
type Report struct {
	Venues   []venue.Report `json:"venues"`
	Failures []string       `json:"failures"`
	Seconds  float64        `json:"seconds"`
	Churned  int            `json:"joins_and_leaves,omitempty"`
	Join     report.Summary `json:"join"`            // link to welcome
	Picture  report.Summary `json:"join_to_picture"` // link to the first picture
	OK       bool           `json:"ok"`
}

var errNoLinks = errors.New("no room links")

// guest is one venue that can be switched on and off.
type guest struct {
	venue  *venue.Venue
	cancel context.CancelFunc
	done   chan error
}

// Run carries the plan out. The report is valid even with an error.
func Run(ctx context.Context, plan Plan) (*Report, error) {
	if len(plan.Links) == 0 {
		return nil, errNoLinks
	}
	if plan.Settle == 0 {
		plan.Settle = 3 * time.Second
	}
	if plan.Within == 0 {
		plan.Within = 15 * time.Second
	}
	binder := appliance.For(plan.Server, plan.Binds)
	addresses := make([]netip.Addr, len(plan.Links))
	for i, link := range plan.Links {
		var err error
		if addresses[i], err = binder.Next(link.Venue, plan.Server); err != nil {
			return nil, fmt.Errorf("venue %s: %w", link.Venue, err)
		}
	}
	guests := make([]*guest, len(plan.Links))
	for i := range guests {
		g, err := plan.enter(ctx, i, addresses[i])
		if err != nil {
			return nil, err
		}
		guests[i] = g
	}
	r := &Report{}
	var err error
	if plan.Churn > 0 {
		err = plan.churn(ctx, guests, addresses, r)
	} else {
		plan.observe(ctx, guests, r)
	}
	for _, g := range guests {
		r.Venues = append(r.Venues, g.venue.Report())
	}
	err = errors.Join(err, leave(guests))
	for i, g := range guests { // the sending side's final figures
		r.Venues[i].Sent = g.venue.Report().Sent
	}
	plan.judge(r)
	return r, err
}

func (p Plan) enter(ctx context.Context, i int, address netip.Addr) (*guest, error) {
	v, err := venue.New(venue.Config{Link: p.Links[i], TLS: p.TLS, Bind: address, Height: p.Height, Strip: p.Strip, Full: p.Full, Log: p.Log})
	if err != nil {
		return nil, fmt.Errorf("venue %s: %w", p.Links[i].Venue, err)
	}
	// A venue leaves in an orderly way when it is told to, not when the whole run is interrupted.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	g := &guest{venue: v, cancel: cancel, done: make(chan error, 1)}
	go func() { g.done <- v.Run(ctx) }()
	return g, nil
}

func (g *guest) leave() error {
	g.cancel()
	return <-g.done
}

func leave(guests []*guest) error {
	var (
		group errgroup.Group
		mu    sync.Mutex
		all   error
	)
	for _, g := range guests {
		group.Go(func() error {
			err := g.leave()
			mu.Lock()
			defer mu.Unlock()
			all = errors.Join(all, err)
			return nil
		})
	}
	return errors.Join(group.Wait(), all)
}

// observe waits until everybody is there, then measures for the planned time.
func (p Plan) observe(ctx context.Context, guests []*guest, r *Report) {
	p.awaitAll(ctx, guests)
	var join, picture report.Histogram
	for _, g := range guests {
		v := g.venue.Report()
		join.Record(time.Duration(v.JoinMS * float64(time.Millisecond)))
		if v.FirstMS > 0 {
			picture.Record(time.Duration(v.FirstMS * float64(time.Millisecond)))
		}
	}
	r.Join, r.Picture = join.Summary(), picture.Summary()
	for _, g := range guests {
		g.venue.Forget()
	}
	started := time.Now()
	p.measure(ctx, guests)
	r.Seconds = time.Since(started).Seconds()
}

// awaitAll gives everybody time to join and see somebody, and the layers to settle.
func (p Plan) awaitAll(ctx context.Context, guests []*guest) {
	limit := time.Now().Add(p.Within)
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for waiting := true; waiting && time.Now().Before(limit); {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		waiting = false
		for _, g := range guests {
			r := g.venue.Report()
			waiting = waiting || r.State != "in" || (len(guests) > 1 && r.FirstMS == 0)
		}
	}
	pause(ctx, p.Settle)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (p Plan) measure(ctx context.Context, guests []*guest) {
	var end <-chan time.Time
	if p.Duration > 0 {
		timer := time.NewTimer(p.Duration)
		defer timer.Stop()
		end = timer.C
	}
	ticker := time.NewTicker(10 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-end:
			return
		case <-ticker.C:
			if p.Progress != nil {
				p.Progress(progress(guests))
			}
		}
	}
}

func progress(guests []*guest) string {
	var b strings.Builder
	for i, g := range guests {
		r := g.venue.Report()
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s %s", r.Venue, r.State)
		for _, s := range r.Seen {
			fmt.Fprintf(&b, " %s:%.0f/s %dp", s.Venue, s.FrameRate, s.Height)
		}
	}
	return b.String()
}

// churn lets venues leave and come back, one at a time, until the number is reached.
func (p Plan) churn(ctx context.Context, guests []*guest, addresses []netip.Addr, r *Report) error {
	started := time.Now()
	p.awaitAll(ctx, guests)
	var join, picture report.Histogram
	for n := 0; n < p.Churn && ctx.Err() == nil; n++ {
		i := rand.IntN(len(guests))
		if err := guests[i].leave(); err != nil {
			r.Failures = append(r.Failures, fmt.Sprintf("leaving %d: %s: %v", n, p.Links[i].Venue, err))
		}
		g, err := p.enter(ctx, i, addresses[i])
		if err != nil {
			return err
		}
		guests[i] = g
		v, ok := p.awaitPicture(ctx, g)
		if !ok && ctx.Err() == nil {
			r.Failures = append(r.Failures, fmt.Sprintf("join %d: %s saw nobody within %v: %v", n, p.Links[i].Venue, p.Within, v.Complaints))
			continue
		}
		r.Churned++
		join.Record(time.Duration(v.JoinMS * float64(time.Millisecond)))
		picture.Record(time.Duration(v.FirstMS * float64(time.Millisecond)))
		if p.Progress != nil && n%20 == 19 {
			p.Progress(fmt.Sprintf("%d of %d joins and leaves", n+1, p.Churn))
		}
	}
	r.Join, r.Picture = join.Summary(), picture.Summary()
	r.Seconds = time.Since(started).Seconds()
	return nil
}

func (p Plan) awaitPicture(ctx context.Context, g *guest) (venue.Report, bool) {
	limit := time.Now().Add(p.Within)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		r := g.venue.Report()
		if r.State == "in" && (r.FirstMS > 0 || len(p.Links) == 1) {
			return r, true
		}
		if time.Now().After(limit) {
			return r, false
		}
		select {
		case <-ctx.Done():
			return r, false
		case <-ticker.C:
		}
	}
}

// judge compares what was seen with what was expected.
func (p Plan) judge(r *Report) {
	rooms := make(map[string][]string)
	for _, link := range p.Links {
		rooms[link.Room] = append(rooms[link.Room], link.Venue)
	}
	for i, v := range r.Venues {
		if v.State != "in" {
			r.Failures = append(r.Failures, fmt.Sprintf("%s is %s: %s", v.Venue, v.State, strings.Join(v.Complaints, "; ")))
			continue
		}
		if p.Churn > 0 {
			continue
		}
		r.Failures = append(r.Failures, p.judgeView(v, rooms[p.Links[i].Room])...)
	}
	r.OK = len(r.Failures) == 0
}

func (p Plan) judgeView(v venue.Report, others []string) (failures []string) {
	seen := make(map[string]venue.Seen, len(v.Seen))
	heard := 0
	for _, s := range v.Seen {
		seen[s.Venue] = s
		if s.Voice > 0 {
			heard++
		}
	}
	for _, other := range others {
		if other == v.Venue {
			continue
		}
		switch s, ok := seen[other]; {
		case ok && s.Stills > 0 && s.Reason == "line":
			// the floor: the line carries no moving picture, and says so
		case !ok || s.Frames == 0:
			failures = append(failures, fmt.Sprintf("%s does not see %s %s", v.Venue, other, s.Reason))
		case s.WorstRate < p.MinRate:
			failures = append(failures, fmt.Sprintf("%s sees %s at %.1f frames/s in its worst ten seconds", v.Venue, other, s.WorstRate))
		case s.ColourWrong > 0:
			failures = append(failures, fmt.Sprintf("%s sees somebody else's picture as %s", v.Venue, other))
		}
	}
	if want := min(p.Voices, len(others)-1); heard < want {
		failures = append(failures, fmt.Sprintf("%s hears %d of the others, %d expected", v.Venue, heard, want))
	}
	return failures
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) {
	if r.Churned > 0 {
		report.Line(w, "%d joins and leaves in %.0f s", r.Churned, r.Seconds)
	}
	report.Line(w, "join p50 %.0f ms, max %.0f ms; first picture after p50 %.0f ms, max %.0f ms", r.Join.P50, r.Join.Max, r.Picture.P50, r.Picture.Max)
	var rows [][]any
	for _, v := range r.Venues {
		for _, s := range v.Seen {
			rows = append(rows, []any{
				v.Venue, s.Venue, fmt.Sprintf("%.1f", s.FrameRate), fmt.Sprintf("%.1f", s.WorstRate), s.Height, s.Switches,
				s.Bitrate / 1000, fmt.Sprintf("%.2f", s.LossPercent), s.Freezes, fmt.Sprintf("%.0f", s.Still),
				fmt.Sprintf("%d/%d", s.ColourRight, s.ColourRight+s.ColourWrong), s.Voice, s.Stills, s.Reason,
			})
		}
	}
	if len(rows) > 0 {
		report.Table(w, fmt.Sprintf("What each venue saw and heard (%.0f s)", r.Seconds), []string{
			"venue", "sees", "frames/s", "worst 10 s", "lines", "switches", "kbit/s", "loss %", "freezes", "longest ms", "colour", "voice packets", "stills", "reason",
		}, rows)
	}
	for _, text := range r.Failures {
		report.Line(w, "%s", text)
	}
}
