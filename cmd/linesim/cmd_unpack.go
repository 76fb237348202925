package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"linehall/cmd/linesim/report"
	"linehall/cmd/linesim/yealink"
)

// unpackHeader is the first line of the list of `linesim unpack`.
const unpackHeader = "brand,model,mac,bind,find"

// unpackReport is what became of all of them.
type unpackReport struct {
	Phones   int          `json:"phones"`
	Unpacked unpackRound  `json:"unpacked"`  // first contact: bootstrap, enrolment, registration
	PowerCut *unpackRound `json:"power_cut"` // all again at the same moment, with what they were told before
}

// unpackRound is one time that all begin at once.
type unpackRound struct {
	Registered int            `json:"registered"`
	Seconds    float64        `json:"seconds"` // until the last one was
	Times      report.Summary `json:"times"`
	Fetches    int            `json:"fetches"`
	Errors     []string       `json:"errors,omitempty"`
}

func newUnpack(logger func() *slog.Logger) *cobra.Command {
	var asJSON, cut bool
	var within time.Duration
	cmd := &cobra.Command{
		Use:   "unpack LIST",
		Short: "Unpack many phones at once, and take their power away and give it back",
		Long: "Plays every phone of a CSV list (" + unpackHeader + ") at the same moment: each finds its files (find: an address, pnp, or a\n" +
			"DHCP option like 66=http://10.1.0.10/), fetches, enrols and registers. With --power-cut all lose their power when they are\n" +
			"registered and come back together, asking where they were told to.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			fleet, err := readFleet(args[0], logger())
			if err != nil {
				return usageError{err}
			}
			result := unpackReport{Phones: len(fleet), Unpacked: fleet.begin(cmd.Context(), within)}
			if cut {
				again := fleet.begin(cmd.Context(), within)
				result.PowerCut = &again
			}
			if asJSON {
				err = report.JSON(cmd.OutOrStdout(), result)
			} else {
				result.print(cmd.OutOrStdout())
			}
			if result.Unpacked.Registered != len(fleet) || result.PowerCut != nil && result.PowerCut.Registered != len(fleet) {
				err = errors.Join(err, errFailed)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&cut, "power-cut", false, "all again, as after a power cut")
	cmd.Flags().DurationVar(&within, "within", time.Minute, "all must be registered by then")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

// fleet are phones that begin at once.
type fleet []*unpacked

func readFleet(file string, log *slog.Logger) (list fleet, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(rows) < 2 || strings.Join(rows[0], ",") != unpackHeader {
		return nil, fmt.Errorf("%s: the first line must be %s, phones follow", file, unpackHeader)
	}
	for i, row := range rows[1:] {
		bind, err := netip.ParseAddr(row[3])
		if err != nil {
			return nil, fmt.Errorf("%s: row %d: %w", file, i+1, err)
		}
		u := &unpacked{brand: row[0], device: yealink.Device{Model: row[1], MAC: row[2], Bind: bind}, once: true, asJSON: true, log: log}
		switch find := row[4]; {
		case strings.Contains(find, "="):
			u.find.how, u.find.given = "option", []string{find}
		case strings.HasPrefix(find, "pnp"): // pnp:GROUP:PORT@INTERFACE
			u.find.how = "pnp"
			u.find.group, u.find.iface, _ = strings.Cut(strings.TrimPrefix(find, "pnp:"), "@")
		default:
			u.find.how, u.device.URL = "url", find
		}
		if u.find.group == "" {
			u.find.group = "224.0.1.75:5060"
		}
		if err := u.find.parse(); err != nil {
			return nil, fmt.Errorf("%s: row %d: %w", file, i+1, err)
		}
		list = append(list, u)
	}
	return list, nil
}

// begin gives all of them power at once and takes it away when the last one is registered.
func (list fleet) begin(ctx context.Context, within time.Duration) unpackRound {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var (
		mu        sync.Mutex // guards what follows
		round     unpackRound
		times     report.Histogram
		waiting   = len(list)
		registers = make(chan struct{}) // closed when nobody is waited for any more
		phones    sync.WaitGroup
	)
	began := time.Now()
	settle := func(err error, registered bool) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case registered:
			round.Registered++
			round.Seconds = time.Since(began).Seconds()
			times.Record(time.Since(began))
		case err != nil:
			round.Errors = append(round.Errors, err.Error())
		}
		if waiting--; waiting == 0 {
			close(registers)
		}
	}
	for _, u := range list {
		var settled sync.Once
		counter := &fetchCounter{}
		u.out = counter
		u.hold = func(ctx context.Context) {
			settled.Do(func() { settle(nil, true) })
			select {
			case <-registers:
			case <-ctx.Done():
			}
		}
		phones.Go(func() {
			err := u.run(ctx)
			if err == nil {
				err = ctx.Err()
			}
			settled.Do(func() { settle(fmt.Errorf("%s %s: %w: %s", u.brand, u.device.MAC, err, counter.last()), false) })
			mu.Lock()
			defer mu.Unlock()
			round.Fetches += counter.fetches()
		})
	}
	phones.Wait()
	round.Times = times.Summary()
	return round
}

// fetchCounter keeps a phone's report.
type fetchCounter struct{ text strings.Builder }

func (c *fetchCounter) Write(b []byte) (int, error) { return c.text.Write(b) } //nolint:wrapcheck // io.Writer

func (c *fetchCounter) fetches() int { return strings.Count(c.text.String(), `"status"`) }

// last is the error of the report, on one line.
func (c *fetchCounter) last() string {
	_, text, _ := strings.Cut(c.text.String(), `"error": `)
	return strings.Join(strings.Fields(text), " ")
}

func (r unpackReport) print(w io.Writer) {
	rows := [][]any{{"unpacked", r.Unpacked.Registered, r.Unpacked.Seconds, r.Unpacked.Fetches, len(r.Unpacked.Errors)}}
	if r.PowerCut != nil {
		rows = append(rows, []any{"after a power cut", r.PowerCut.Registered, r.PowerCut.Seconds, r.PowerCut.Fetches, len(r.PowerCut.Errors)})
	}
	report.Table(w, fmt.Sprintf("%d phones at once", r.Phones), []string{"", "registered", "seconds", "fetches", "errors"}, rows)
	for _, err := range r.Unpacked.Errors {
		report.Line(w, "%s", err)
	}
	if r.PowerCut != nil {
		for _, err := range r.PowerCut.Errors {
			report.Line(w, "%s", err)
		}
	}
}
