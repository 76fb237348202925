// Package appliance learns from an appliance what a simulated device needs to know, the way an admin would: the
// account of every terminal (from its API over the unix socket, or from a JSON file) and the address inside its
// site's subnet that each simulated phone or room shall use.
//
//	terminals, err := appliance.FromSocket(ctx, "data/linehall.sock")
//	binder := appliance.NewBinder(map[string]netip.Prefix{"hq": netip.MustParsePrefix("127.0.0.0/24")})
//	address, err := binder.Next("hq")
package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"
)

// Terminal is one account, as `linehall terminal show EXT --secrets --json` prints it.
type Terminal struct {
	Extension   string `json:"extension"`
	DisplayName string `json:"display_name"`
	Site        string `json:"site"`
	MAC         string `json:"mac"`
	Model       string `json:"model"`
	State       string `json:"state"`
	AuthUser    string `json:"auth_user"`
	Password    string `json:"password"`
	Domain      string `json:"domain"`
	Realm       string `json:"realm"`
	Server      string `json:"server"`
	UDPPort     int    `json:"udp_port"`
	TCPPort     int    `json:"tcp_port"`
	TLSPort     int    `json:"tls_port"`
	Transport   string `json:"transport"`
	CAFile      string `json:"ca_file"`
}

var errNoKernel = errors.New("the appliance does not use the kernel")

var errNoPassword = errors.New("no password in it: it must come from `terminal show EXT --secrets --json` or the socket")

// FromFile reads a JSON list of terminals, or an object with such a list under "terminals".
func FromFile(path string) ([]Terminal, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("terminals: %w", err)
	}
	var list []Terminal
	if err := json.Unmarshal(data, &list); err != nil {
		var object struct{ Terminals []Terminal }
		if objectErr := json.Unmarshal(data, &object); objectErr != nil {
			return nil, fmt.Errorf("terminals in %s: %w", path, err)
		}
		list = object.Terminals
	}
	for _, t := range list {
		if t.Password == "" {
			return nil, fmt.Errorf("terminal %s in %s: %w", t.Extension, path, errNoPassword)
		}
	}
	return list, nil
}

// FromSocket asks a running appliance for all active terminals and their secrets over its unix socket.
func FromSocket(ctx context.Context, socket string) ([]Terminal, error) {
	client := socketClient(socket)
	defer client.CloseIdleConnections()
	var list struct{ Terminals []Terminal }
	if err := get(ctx, client, "/api/v1/terminals", &list); err != nil {
		return nil, err
	}
	terminals := make([]Terminal, 0, len(list.Terminals))
	for _, row := range list.Terminals {
		if row.State != "" && row.State != "active" {
			continue
		}
		full := row
		if err := get(ctx, client, "/api/v1/terminals/"+url.PathEscape(row.Extension)+"?secrets=true", &full); err != nil {
			return nil, err
		}
		terminals = append(terminals, full)
	}
	return terminals, nil
}

// KernelFlows asks a running appliance how many directions of media the kernel carries for it.
func KernelFlows(ctx context.Context, socket string) (int, error) {
	client := socketClient(socket)
	defer client.CloseIdleConnections()
	var status struct {
		Kernel struct {
			On     bool   `json:"on"`
			Reason string `json:"reason"`
			Flows  int    `json:"flows"`
		} `json:"kernel_path"`
	}
	if err := get(ctx, client, "/api/v1/status", &status); err != nil {
		return 0, err
	}
	if !status.Kernel.On {
		return 0, fmt.Errorf("%w: %s", errNoKernel, status.Kernel.Reason)
	}
	return status.Kernel.Flows, nil
}

func socketClient(socket string) *http.Client {
	dialer := &net.Dialer{}
	return &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}},
	}
}

func get(ctx context.Context, client *http.Client, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://unix"+path, nil)
	if err != nil {
		return fmt.Errorf("appliance: %w", err)
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("appliance: is it running? %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // read to the end below
	body, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("appliance: GET %s: %w", path, err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("appliance: GET %s: %s: %.300s", path, res.Status, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("appliance: GET %s: %w", path, err)
	}
	return nil
}

// Resolve returns the SIP address of the terminal's server for a transport ("udp", "tcp", "tls"). A non-empty host
// replaces the one of the account, for appliances whose name this machine cannot resolve.
func (t Terminal) Resolve(ctx context.Context, transport, host string) (netip.AddrPort, error) {
	port := t.UDPPort
	switch transport {
	case "tcp":
		port = t.TCPPort
	case "tls":
		port = t.TLSPort
	}
	if port <= 0 || port > 65535 {
		return netip.AddrPort{}, fmt.Errorf("terminal %s: the appliance offers no %s port", t.Extension, transport)
	}
	if host == "" {
		host = t.Server
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(addr, uint16(port)), nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil || len(addrs) == 0 {
		return netip.AddrPort{}, fmt.Errorf("terminal %s: server %q (name its address with --server): %w", t.Extension, host, err)
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), uint16(port)), nil
}
