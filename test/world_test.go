package test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"linehall/internal/lab"
)

// world is the organisation as networks: the appliance's box at headquarters, one network per site, a leased line from the
// box to each branch. Each has its own addresses, so that a device's site is the one it would have in a real office.
type world struct {
	box   *lab.Host
	sites map[string]*lab.Host
	links map[string]*lab.Link
}

// siteNumber is the third byte of a site's subnet 10.98.N.0/24.
func siteNumber(id string) int {
	number := 0
	_, _ = fmt.Sscanf(id, "branch%d", &number) // headquarters stays 0
	return number
}

// newWorld builds headquarters and the named branches, or skips the test and says why.
func newWorld(t *testing.T, branches ...string) *world {
	t.Helper()
	n := lab.New(t)
	w := &world{box: n.Host("box"), sites: map[string]*lab.Host{}, links: map[string]*lab.Link{}}
	for _, id := range append([]string{"hq"}, branches...) {
		host := n.Host(id)
		number := siteNumber(id)
		w.sites[id] = host
		w.links[id] = n.Link(w.box, fmt.Sprintf("10.98.%d.1/24", number), host, fmt.Sprintf("10.98.%d.2/24", number))
		host.Route("default", fmt.Sprintf("10.98.%d.1", number))
	}
	w.box.Forward()
	return w
}

// shape gives the branch's line the rate of the contract, in both directions.
func (w *world) shape(id string, bitsPerSecond int64) {
	w.links[id].Shape(w.box, lab.Rate{BitsPerSecond: bitsPerSecond})
	w.links[id].Shape(w.sites[id], lab.Rate{BitsPerSecond: bitsPerSecond})
}

// address is a site's own address. Without a world everything is on loopback.
func (w *world) address(id string) string {
	if w == nil {
		return "127.0.0.1"
	}
	return w.links[id].Addr(w.sites[id]).String()
}

// site is the network of a site; nil is this machine's own.
func (w *world) site(id string) *lab.Host {
	if w == nil {
		return nil
	}
	return w.sites[id]
}

// configure makes the appliance live in the box, on the standard ports, with the sites' real subnets.
func (w *world) configure(s settings, a *appliance) {
	a.host = w.box
	a.ports = ports{sip: 5060, tls: 5061, https: 8443, provisioning: 8080, tftp: 6969, metrics: 9464, media: 30000, rtpFirst: 10000, rtpLast: 29999}
	a.http = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: inside(w.box)}}
	for key, port := range map[string]int{"sip_udp": 5060, "sip_tcp": 5060, "sip_tls": 5061, "https": 8443, "provisioning": 8080, "tftp": 6969} {
		s.set("listen."+key, fmt.Sprintf(":%d", port))
	}
	s.set("listen.pnp", map[string]any{"group": "224.0.1.75:5060", "interfaces": []any{"auto"}})
	s.set("listen.metrics", "127.0.0.1:9464")
	s.set("listen.media", map[string]any{"udp": ":30000", "tcp": ":30000"})
	s.set("listen.rtp", map[string]any{"ports": "10000-29999"})
	for _, site := range s["sites"].([]any) {
		fields := site.(map[string]any)
		fields["subnets"] = []string{fmt.Sprintf("10.98.%d.0/24", siteNumber(fields["id"].(string)))}
	}
}

// inside dials from within a host's network, or from here when host is nil.
func inside(host *lab.Host) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (connection net.Conn, err error) {
		if host == nil {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
		enterErr := host.Do(func() error {
			connection, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return err
		})
		if err == nil {
			err = enterErr
		}
		return connection, err
	}
}

// commandAt is a program in a host's network, or here when host is nil.
func commandAt(host *lab.Host, name string, args ...string) *exec.Cmd {
	if host == nil {
		return exec.Command(name, args...)
	}
	// The process outlives the call and ends with the test, by its process id.
	return host.Command(context.Background(), name, args...)
}
