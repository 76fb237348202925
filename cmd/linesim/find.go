package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"linehall/cmd/linesim/desk"
	"linehall/cmd/linesim/discover"
)

// finding is how the phone gets to know where its files are.
type finding struct {
	how       string
	given     []string
	iface     string
	group     string
	options   discover.Options
	groupAddr netip.AddrPort
	done      bool // found once: what the files say counts from then on
}

// ways are the values of --find.
func ways() []string { return []string{"url", "option", "dhcp", "pnp"} }

func (f *finding) flags(flags *pflag.FlagSet) {
	flags.StringVar(&f.how, "find", "url", "how the phone finds its files: "+strings.Join(ways(), ", "))
	flags.StringArrayVar(&f.given, "option", nil, "DHCP option that it was given, like 66=http://10.1.0.10/ or 150=0x0a01000a (with --find option)")
	flags.StringVar(&f.iface, "interface", "", "network interface of DHCP and of multicast")
	flags.StringVar(&f.group, "pnp-group", discover.Group.String(), "where PnP questions go")
}

func (f *finding) parse() error {
	if !slices.Contains(ways(), f.how) {
		return fmt.Errorf("--find %q; there are %s", f.how, strings.Join(ways(), ", "))
	}
	if f.how == "dhcp" && f.iface == "" {
		return fmt.Errorf("--find dhcp needs --interface")
	}
	var err error
	if f.groupAddr, err = netip.ParseAddrPort(f.group); err != nil {
		return fmt.Errorf("--pnp-group: %w", err)
	}
	f.options = discover.Options{}
	for _, text := range f.given {
		number, value, err := discover.ParseOption(text)
		if err != nil {
			return err
		}
		f.options[number] = value
	}
	return nil
}

// discover sets the address of the files, the first time only.
func (u *unpacked) discover(ctx context.Context) (err error) {
	if u.find.done || u.find.how == "url" {
		return nil
	}
	device := desk.Device{Brand: u.brand, MAC: u.device.MAC, Model: u.device.Model, Bind: u.device.Bind}
	model := device.ModelName()
	if u.brand == "yealink" {
		model = u.device.ModelName()
	}
	switch u.find.how {
	case "pnp":
		s := device.Searcher()
		s.Interface, s.Group = u.find.iface, u.find.groupAddr
		if u.brand == "yealink" {
			s.Model = model
		}
		u.device.URL, err = discover.PnP(ctx, s)
	case "dhcp":
		client := discover.Client{Interface: u.find.iface, MAC: device.Searcher().MAC, Class: discover.Class(u.brand, model)}
		if u.find.options, err = discover.DHCP(ctx, client); err != nil {
			return err
		}
		fallthrough
	default:
		u.device.URL, err = discover.FromOptions(u.brand, model, u.find.options)
	}
	u.find.done = err == nil
	return err
}
