package bench

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// janus starts the server with a video room. It does not gather on the loopback interface, so the load meets it on
// an address of the machine; the packets stay inside the machine all the same.
func (p Peers) janus(ctx context.Context) (r *running, where *janusRoom, err error) {
	dir, port, err := p.scratch("janus")
	if err != nil {
		return nil, nil, err
	}
	defer func() { discard(dir, err) }()
	lib, err := janusLibrary()
	if err != nil {
		return nil, nil, err
	}
	own, err := ownAddress()
	if err != nil {
		return nil, nil, err
	}
	values := map[string]string{
		"DIR": dir, "LIB": lib, "PORT": strconv.Itoa(port), "ADDRESS": own.String(), "MINPORT": strconv.Itoa(mediaMin), "MAXPORT": strconv.Itoa(mediaMax),
	}
	for _, name := range []string{"janus.jcfg", "janus.transport.websockets.jcfg", "janus.plugin.videoroom.jcfg"} {
		if err := write(dir, name, values); err != nil {
			return nil, nil, err
		}
	}
	proc, err := start(dir, "", nil, "janus", "-C", filepath.Join(dir, "janus.jcfg"), "-F", dir)
	if err != nil {
		return nil, nil, err
	}
	r = &running{process: proc, dir: dir}
	err = proc.await(ctx, 15*time.Second, func(ctx context.Context) error {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return err // shown by await
		}
		return conn.Close() // as above
	})
	if err != nil {
		r.stop()
		return nil, nil, err
	}
	api, err := clientAPI(false)
	if err != nil {
		r.stop()
		return nil, nil, err
	}
	return r, &janusRoom{api: api, address: "ws://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}, nil
}

// janusLibrary finds the folder of the package's plugins.
func janusLibrary() (string, error) {
	found, err := filepath.Glob("/usr/lib/*/janus")
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("%w is not installed: no /usr/lib/*/janus: %w", errJanus, os.ErrNotExist)
	}
	return found[0], nil
}

// ownAddress is the first IPv4 address of the machine that is not loopback.
func ownAddress() (netip.Addr, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("own address: %w", err)
	}
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() && !prefix.Addr().IsLoopback() {
			return prefix.Addr(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%w needs an address other than loopback", errJanus)
}
