package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"linehall/cmd/linesim/appliance"
	"linehall/cmd/linesim/report"
	"linehall/cmd/linesim/rooms"
	"linehall/cmd/linesim/venue"
)

func newRooms(logger func() *slog.Logger) *cobra.Command {
	var (
		plan          rooms.Plan
		links, binds  []string
		file, ca      string
		insecure      bool
		asJSON        bool
		allowFailures bool
	)
	cmd := &cobra.Command{
		Use:   "rooms",
		Short: "Let native venues meet in a room and measure what they see and hear",
		Long: "Joins one native venue per room link (as `linehall room link` prints them): each publishes film in three simulcast\n" +
			"layers and a voice, answers keyframe requests and retransmissions, obeys layer commands, subscribes to all others\n" +
			"and measures frames, freezes, loss and identity. Without --duration it goes on until interrupted.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if plan.Links, err = readLinks(links, file); err != nil {
				return usageError{err}
			}
			if plan.Binds, err = appliance.ParseBinds(binds); err != nil {
				return usageError{err}
			}
			if plan.TLS, err = trust(ca, insecure); err != nil {
				return err
			}
			if plan.Server, err = addressOf(cmd.Context(), plan.Links[0]); err != nil {
				return err
			}
			plan.Log = logger()
			if !asJSON {
				plan.Progress = func(line string) { report.Line(os.Stderr, "%s", line) }
			}
			result, err := rooms.Run(cmd.Context(), plan)
			if result == nil {
				return err // a plan that could not start
			}
			if asJSON {
				if jsonErr := report.JSON(cmd.OutOrStdout(), result); jsonErr != nil {
					return jsonErr
				}
			} else {
				result.Print(cmd.OutOrStdout())
			}
			if err != nil {
				report.Line(cmd.ErrOrStderr(), "linesim: %v", err)
			}
			if (err != nil || !result.OK) && !allowFailures {
				return errFailed
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&links, "link", nil, "room link of a venue; repeat for each")
	f.StringVar(&file, "links", "", "file with one room link per line")
	f.StringVar(&ca, "ca", "", "CA certificate of the appliance")
	f.BoolVar(&insecure, "insecure", false, "do not verify the appliance's certificate")
	f.StringArrayVar(&binds, "bind", nil, "VENUE=SUBNET whose addresses the venue uses (default: the demo's loopback subnets if the server is on this machine)")
	f.IntVar(&plan.Height, "height", 360, "how tall the others' pictures are shown")
	f.IntVar(&plan.Strip, "strip", 0, "how tall all pictures but the first are shown (0: like the first)")
	f.BoolVar(&plan.Full, "full-rates", false, "encode at the rates that the appliance commands and pace, as browsers do, instead of the film's own rates")
	f.DurationVar(&plan.Duration, "duration", 0, "how long to measure (0: until interrupted)")
	f.Float64Var(&plan.MinRate, "min-rate", 8, "frames/s that everybody must see of everybody")
	f.IntVar(&plan.Voices, "voices", 1, "how many others each venue must hear")
	f.DurationVar(&plan.Settle, "settle", 3*time.Second, "time between the last join and the measurement")
	f.IntVar(&plan.Churn, "join-leave", 0, "let venues leave and rejoin this many times instead of measuring")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	f.BoolVar(&allowFailures, "allow-failures", false, "exit 0 even if something failed")
	return cmd
}

func readLinks(texts []string, file string) ([]venue.Link, error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("links: %w", err)
		}
		defer f.Close() //nolint:errcheck // read only
		for scanner := bufio.NewScanner(f); scanner.Scan(); {
			if line := strings.TrimSpace(scanner.Text()); line != "" && !strings.HasPrefix(line, "#") {
				texts = append(texts, line)
			}
		}
	}
	if len(texts) == 0 {
		return nil, fmt.Errorf("which venues? give --link URL for each, or --links FILE")
	}
	parsed := make([]venue.Link, 0, len(texts))
	for i, text := range texts {
		link, err := venue.ParseLink(text)
		if err != nil {
			return nil, fmt.Errorf("link %d: %w", i+1, err)
		}
		parsed = append(parsed, link)
	}
	return parsed, nil
}

// trust builds the TLS configuration of a client of the appliance.
func trust(ca string, insecure bool) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure}
	if ca == "" {
		return config, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("CA: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA: no certificate in %s", ca)
	}
	return config, nil
}

// addressOf resolves the appliance's host, to know whether it is this machine.
func addressOf(ctx context.Context, link venue.Link) (netip.Addr, error) {
	host := link.Base.Hostname()
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap(), nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil || len(addrs) == 0 {
		return netip.Addr{}, fmt.Errorf("appliance %q: %w", host, err)
	}
	return addrs[0].Unmap(), nil
}
