package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"linehall/configs"
)

// listeners tells for each port whether it is free or taken; a running appliance holds its own.
func listeners(ctx context.Context, config configs.Config) Finding {
	const check = "ports"
	l := config.Listen
	var taken []string
	var lc net.ListenConfig
	for key, address := range map[string]string{
		"sip_tcp": string(l.SIPTCP), "sip_tls": string(l.SIPTLS), "https": string(l.HTTPS), "provisioning": string(l.Provisioning),
		"metrics": string(l.Metrics), "media.tcp": string(l.Media.TCP),
	} {
		if address == "" {
			continue
		}
		socket, err := lc.Listen(ctx, "tcp", address)
		if err == nil {
			_ = socket.Close() // nobody used it
			continue
		}
		if errors.Is(err, syscall.EACCES) {
			return bad(check, fmt.Sprintf("listen.%s: %s needs a privilege", key, address), "use a port above 1023, or start through the systemd unit")
		}
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			return bad(check, fmt.Sprintf("listen.%s: %s is no address of this machine", key, address), "correct listen."+key)
		}
		taken = append(taken, key)
	}
	if len(taken) == 0 {
		return good(check, "all free")
	}
	if conn, err := (&net.Dialer{}).DialContext(ctx, "unix", config.Appliance.Data+"/linehall.sock"); err == nil {
		_ = conn.Close() // only asked whether somebody answers
		return good(check, "held by the running appliance")
	}
	return bad(check, "another program holds "+strings.Join(taken, ", "), "find it with `ss -lntp`, stop it or change listen.*")
}

// wantedFiles covers four sockets per relayed call for 500 calls, and the rest.
const wantedFiles = 4096

func openFiles(context.Context, configs.Config) Finding {
	const check = "open files"
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return note(check, err.Error(), "")
	}
	says := fmt.Sprintf("%d allowed", limit.Max)
	if limit.Max < wantedFiles {
		return bad(check, says, fmt.Sprintf("allow %d (LimitNOFILE in the unit): each relayed call takes four", wantedFiles))
	}
	return good(check, says)
}

// wantedBuffer holds a keyframe burst of six venues.
const wantedBuffer = 2 << 20

func socketBuffers(context.Context, configs.Config) Finding {
	const check = "socket buffers"
	text, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if err != nil {
		return note(check, "cannot be read: "+err.Error(), "")
	}
	size, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return note(check, "cannot be read: "+err.Error(), "")
	}
	says := fmt.Sprintf("up to %d KiB", size>>10)
	if size < wantedBuffer {
		return note(check, says, "sysctl -w net.core.rmem_max=8388608 net.core.wmem_max=8388608 keeps bursts of video from being dropped")
	}
	return good(check, says)
}

func ownAddresses(_ context.Context, config configs.Config) Finding {
	const check = "own addresses"
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return note(check, err.Error(), "")
	}
	var own []string
	for _, a := range addresses {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || prefix.Addr().IsLinkLocalUnicast() {
			continue
		}
		if prefix.Addr() == config.AdvertiseAddr() {
			return good(check, "listen.advertise "+config.Listen.Advertise+" is one of ours")
		}
		own = append(own, prefix.Addr().String())
	}
	if config.Listen.Advertise != "" {
		return note(check, "listen.advertise "+config.Listen.Advertise+" is not an address of this machine", "fine behind address translation, wrong otherwise; ours are "+strings.Join(own, ", "))
	}
	return good(check, strings.Join(own, ", "))
}

func siteSubnets(_ context.Context, config configs.Config) Finding {
	const check = "sites"
	var bare []string
	for _, s := range config.SiteList() {
		if len(s.Subnets) == 0 {
			bare = append(bare, string(s.ID))
		}
	}
	if len(bare) > 0 {
		return note(check, "without a subnet: "+strings.Join(bare, ", "), "a device there counts as where terminals.csv puts it, and its line cannot be told from its address")
	}
	return good(check, fmt.Sprintf("%d, each with its subnets", len(config.SiteList())))
}
