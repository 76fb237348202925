package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"linehall/configs"
	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/provisioning/discovery"
)

// tftpPort is the one that phones ask at.
const tftpPort = 69

var errServerAddress = errors.New("the address that the phones reach us at is not known: set listen.advertise, or give --address")

func newTerminalDHCP(f *flags) *cobra.Command {
	var id, format, address string
	var nul bool
	cmd := &cobra.Command{
		Use: "dhcp", Short: "what a site's DHCP server has to tell the phones, ready to paste", Args: cobra.NoArgs,
		Long: "Writes the options that lead phones of every brand to this appliance, with the site's time servers and VLAN.\n" +
			"Nothing secret is in them. Reads the files; the appliance need not run.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := f.load()
			if err != nil {
				return showProblems(cmd, err)
			}
			network, err := networkOf(config, site.ID(id), address)
			if err != nil {
				return err
			}
			network.NUL = nul
			content, err := discovery.Write(discovery.Format(format), network)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(content)
			return err
		},
	}
	cmd.Flags().StringVar(&id, "site", "", "site of the phones")
	cmd.Flags().StringVar(&format, "format", string(discovery.Dnsmasq), "DHCP server: "+strings.Join(discovery.Formats(), ", "))
	cmd.Flags().StringVar(&address, "address", "", "our address as the phones reach it (listen.advertise)")
	cmd.Flags().BoolVar(&nul, "nul", false, "texts inside of option 43 end with a NUL, for old phones that want it")
	_ = cmd.MarkFlagRequired("site") // the flag is there
	return cmd
}

// networkOf is what the DHCP server of a site has to know.
func networkOf(config configs.Config, id site.ID, address string) (discovery.Network, error) {
	i := slices.IndexFunc(config.Sites, func(s site.Config) bool { return s.ID == id })
	if i < 0 {
		return discovery.Network{}, fmt.Errorf("no site %q in %s", id, config.Path())
	}
	server := config.AdvertiseAddr()
	if address != "" {
		var err error
		if server, err = netip.ParseAddr(address); err != nil {
			return discovery.Network{}, fmt.Errorf("--address: %w", err)
		}
	}
	if !server.IsValid() {
		return discovery.Network{}, errServerAddress
	}
	organisation, err := organisationOf(config)
	if err != nil {
		return discovery.Network{}, err
	}
	profile := organisation.Profile(directory.Terminal{Site: id})
	n := discovery.Network{
		Site: string(id), Subnets: config.SiteList()[i].Subnets, Server: server, Base: organisation.Base(server),
		TFTP: config.Listen.TFTP.Port() == tftpPort, VLAN: profile.VLAN, VLANPriority: profile.VLANPriority,
	}
	for _, name := range profile.NTP {
		if addr, err := netip.ParseAddr(name); err == nil && addr.Is4() { // a name is in the phones' files only: option 42 has addresses
			n.NTP = append(n.NTP, addr)
		}
	}
	return n, nil
}
