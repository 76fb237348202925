package serve

import (
	"context"
	"net/netip"
	"strings"

	"linehall/internal/observe"
	"linehall/provisioning/discovery"
	"linehall/provisioning/phone"
)

// Newcomer is a phone that looks for a server; everything in it can be forged.
type Newcomer struct {
	MAC     string
	Vendor  string
	Model   string
	Version string
	Remote  netip.Addr
	Local   netip.Addr // our address as the phone sees it
}

// Introduce says where a phone that looks for a server by SIP PnP finds its
// files: the address of its bootstrap. Only a phone that is in the list, active,
// and at its own site is told; false means that it gets no answer, because
// another server may have one for it.
func (s *Server) Introduce(ctx context.Context, n Newcomer) (url string, ok bool) {
	hint := phone.Detect("", n.MAC)
	if vendor := strings.ToLower(n.Vendor); hint.Brand == phone.Other && brandNamed(s.organisation.Load().Brands, vendor) != nil {
		hint.Brand = vendor
	}
	hint.Model, hint.Firmware = n.Model, n.Version
	a := ask{remote: n.Remote, local: n.Local, name: "pnp", agent: strings.TrimSpace(n.Vendor + " " + n.Model + " " + n.Version)}
	result := answer{brand: hint.Brand}
	url, result.result = s.introduce(ctx, a, hint, n.MAC)
	s.requests.WithLabelValues(result.brand, result.result).Inc()
	s.log(a, result)
	return url, result.result == resultPnP
}

func (s *Server) introduce(ctx context.Context, a ask, hint phone.Hint, mac string) (url, result string) {
	if !s.limiter.allow(a.remote) {
		s.Dropped.Count("pnp", resultRate)
		return "", resultRate
	}
	at, inside := s.Atlas.Locate(a.remote)
	if !inside {
		return "", resultOutside
	}
	if s.swept(a) {
		s.Dropped.Count("pnp", resultSwept)
		return "", resultSwept
	}
	terminal, known := s.Directory.ByMAC(mac)
	if !known || !terminal.MayRegister() {
		return "", s.strange(ctx, a, hint, mac, at, known)
	}
	if terminal.Site != at {
		return "", resultOutside
	}
	o := s.organisation.Load()
	brand := phone.BrandOf(o.Brands, terminal.Model, hint.Brand, "")
	if brand == nil {
		return "", resultUnsupported
	}
	own, err := o.own(a.local)
	if err != nil {
		s.Log.Error("a phone could not be told its address", observe.DeviceMAC, mac, observe.Err, err)
		return "", resultError
	}
	return discovery.PnP(brand.Name(), o.base(own, false), mac), resultPnP
}

func brandNamed(brands []phone.Brand, name string) phone.Brand {
	for _, b := range brands {
		if b.Name() == name {
			return b
		}
	}
	return nil
}

// Base is the folder where phones that know nothing yet begin.
func (o *Organisation) Base(own netip.Addr) string { return o.base(own.String(), false) }
