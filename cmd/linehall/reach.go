package main

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"linehall/configs"
	"linehall/internal/site"
)

// lookupTime bounds asking the name service for our own name: offices without one must not wait for it.
const lookupTime = 2 * time.Second

// publicHost is how people and phones reach us: the advertised address, else our domain if its name service leads to one
// of our addresses, else a concrete listening address, else our address in headquarters' subnets, else loopback.
func publicHost(ctx context.Context, config configs.Config, table *site.Table, listen string) string {
	if own := config.AdvertiseAddr(); own.IsValid() {
		return own.String()
	}
	own := ownAddresses(netip.Addr{})
	if leadsHere(ctx, config.Appliance.Domain, own) {
		return config.Appliance.Domain
	}
	return addressHost(table, listen, own)
}

// addressHost is publicHost for those who cannot resolve names.
func addressHost(table *site.Table, listen string, own []netip.Addr) string {
	if host, _, err := net.SplitHostPort(listen); err == nil {
		if addr, err := netip.ParseAddr(host); err == nil && !addr.IsUnspecified() {
			return addr.String()
		}
	}
	for _, addr := range own {
		if id, known := table.Locate(addr); known && id == table.Main() {
			return addr.String()
		}
	}
	for _, addr := range own {
		if !addr.IsLoopback() {
			return addr.String()
		}
	}
	return "127.0.0.1"
}

func leadsHere(ctx context.Context, domain string, own []netip.Addr) bool {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", domain)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(found, func(addr netip.Addr) bool { return slices.Contains(own, addr.Unmap()) })
}
