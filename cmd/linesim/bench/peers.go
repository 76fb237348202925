package bench

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"linehall/cmd/linesim/appliance"
)

//go:embed peers
var peers embed.FS

const (
	benchDomain   = "linehall.test"
	benchPassword = "Kx7mPq2vRt4w"
)

var errPorts = errors.New("no free ports")

// Peers starts servers, each with a folder and ports of its own.
type Peers struct {
	Linehall string // the appliance's binary
	Accounts int    // users per site
	// Venues is how many venues the appliance's room has, all at headquarters; 0: six, each behind a line that never binds.
	Venues int
	// Pinned keeps servers on the first core, for the relay benches: the generator has the other one.
	Pinned bool
	// Tick is the relay's setting in the appliance's configuration.
	Tick string
	// Kernel lets the appliance move calls into the kernel.
	Kernel bool

	network *network // of the servers; nil: the machine's own
}

// running is a started server.
type running struct {
	process *process
	dir     string
}

func (r *running) stop() {
	r.process.stop()
	_ = os.RemoveAll(r.dir) // scratch
}

// discard removes the folder of a server that did not start.
func discard(dir string, err error) {
	if err != nil {
		_ = os.RemoveAll(dir) // scratch
	}
}

// write fills a template of this package into a folder.
func write(dir, name string, values map[string]string) error {
	data, err := peers.ReadFile("peers/" + name)
	if err != nil {
		return fmt.Errorf("peers: %w", err)
	}
	text := string(data)
	for key, value := range values {
		text = strings.ReplaceAll(text, "@"+key+"@", value)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		return fmt.Errorf("peers: %w", err)
	}
	return nil
}

// freePort finds a port that is free now on both transports.
func freePort() (int, error) {
	const attempts = 20
	for range attempts {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errPorts, err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, udpErr := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		_ = l.Close() // only asked for its number
		if udpErr == nil {
			_ = u.Close() // as above
			return port, nil
		}
	}
	return 0, errPorts
}

// mediaPorts is the range the relays under test use; only one server runs at a time.
const (
	mediaMin = 14000
	mediaMax = 15999
)

// kamailio starts the proxy.
func (p Peers) kamailio(ctx context.Context) (r *running, target SIPTarget, err error) {
	dir, port, err := p.scratch("kamailio")
	if err != nil {
		return nil, SIPTarget{}, err
	}
	defer func() { discard(dir, err) }()
	values := map[string]string{"PORT": strconv.Itoa(port), "PASSWORD": benchPassword}
	if err := write(dir, "kamailio.cfg", values); err != nil {
		return nil, SIPTarget{}, err
	}
	proc, err := p.start(dir, "", nil, "kamailio", "-f", filepath.Join(dir, "kamailio.cfg"), "-DD", "-E", "-m", "256", "-Y", dir, "-P", filepath.Join(dir, "pid"))
	if err != nil {
		return nil, SIPTarget{}, err
	}
	r = &running{process: proc, dir: dir}
	target = SIPTarget{
		Name: "kamailio", Address: loopback(port), Bind: netip.MustParseAddr("127.0.0.1"), process: proc, Accounts: numbers("8", p.Accounts),
	}
	for i := range target.Accounts {
		target.Accounts[i].Password = benchPassword
	}
	if err := proc.await(ctx, 15*time.Second, answersSIP(target)); err != nil {
		r.stop()
		return nil, SIPTarget{}, err
	}
	return r, target, nil
}

func (p Peers) scratch(name string) (dir string, port int, err error) {
	if dir, err = os.MkdirTemp("", "linesim-"+name+"-"); err != nil {
		return "", 0, fmt.Errorf("peers: %w", err)
	}
	port, err = freePort()
	return dir, port, err
}

func loopback(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))
}

func numbers(prefix string, n int) []Account {
	list := make([]Account, n)
	for i := range list {
		user := fmt.Sprintf("%s%03d", prefix, i+1)
		list[i] = Account{User: user, AuthUser: user, Domain: benchDomain}
	}
	return list
}

// answersSIP is ready when one user can register.
func answersSIP(t SIPTarget) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		a, err := newAgent(ctx, t.Bind, t.Address)
		if err != nil {
			return err
		}
		return a.register(ctx, t.Accounts[0])
	}
}

// rtpengine starts the relay in userspace, one thread: the load is that of one core.
func (p Peers) rtpengine(ctx context.Context) (r *running, target RelayTarget, err error) {
	dir, port, err := p.scratch("rtpengine")
	if err != nil {
		return nil, RelayTarget{}, err
	}
	defer func() { discard(dir, err) }()
	control := netip.AddrPortFrom(p.network.server(), uint16(port)) //nolint:gosec // a port
	proc, err := p.start(dir, "", nil, "rtpengine", "--foreground", "--log-stderr", "--log-level=4", "--table=-1", "--interface="+control.Addr().String(),
		"--listen-ng="+control.String(), "--port-min="+strconv.Itoa(mediaMin), "--port-max="+strconv.Itoa(mediaMax), "--num-threads=1",
		"--pidfile="+filepath.Join(dir, "pid"))
	if err != nil {
		return nil, RelayTarget{}, err
	}
	r = &running{process: proc, dir: dir}
	err = proc.await(ctx, 10*time.Second, func(context.Context) error {
		n, err := p.network.dialNG(control)
		if err != nil {
			return err
		}
		_, err = n.ask("command", "ping")
		return errors.Join(err, n.conn.Close())
	})
	if err != nil {
		r.stop()
		return nil, RelayTarget{}, err
	}
	return r, p.rtpengineTarget(proc, control), nil
}

// appliance under test.
type linehall struct {
	*running
	base     string // https://127.0.0.1:PORT
	ca       string
	config   string
	data     string
	binary   string
	sip      netip.AddrPort
	accounts map[string][]Account // by site
}

// linehall starts the appliance with a configuration of its own.
func (p Peers) linehall(ctx context.Context) (l *linehall, err error) {
	if p.Linehall == "" {
		return nil, fmt.Errorf("the appliance's binary: name it with --linehall: %w", os.ErrNotExist)
	}
	binary, err := filepath.Abs(p.Linehall)
	if err != nil {
		return nil, fmt.Errorf("appliance: %w", err)
	}
	dir, _, err := p.scratch("linehall")
	if err != nil {
		return nil, err
	}
	defer func() { discard(dir, err) }()
	l = &linehall{binary: binary, config: filepath.Join(dir, "linehall.yaml"), data: filepath.Join(dir, "data")}
	values := map[string]string{"DIR": dir, "DOMAIN": benchDomain, "MINPORT": strconv.Itoa(mediaMin), "MAXPORT": strconv.Itoa(mediaMax), "TICK": cmp.Or(p.Tick, "auto"), "KERNEL": "off", "HQ": "127.0.0.0/24", "BRANCH1": "127.0.1.0/24"}
	for _, name := range []string{"SIP", "HTTPS", "METRICS", "MEDIA"} {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		values[name] = "127.0.0.1:" + strconv.Itoa(port)
	}
	if p.Kernel {
		values["KERNEL"] = "auto"
	}
	if p.network != nil {
		_, port, _ := strings.Cut(values["SIP"], ":")
		values["SIP"] = nearBox.String() + ":" + port
		values["HQ"], values["BRANCH1"] = netip.PrefixFrom(nearPhones, 24).Masked().String(), netip.PrefixFrom(farPhones, 24).Masked().String()
	}
	l.base, l.sip = "https://"+values["HTTPS"], netip.MustParseAddrPort(values["SIP"])
	template := "linehall.yaml"
	if p.Venues > 0 {
		template = "linehall-rooms.yaml"
		values["VENUES"], values["VENUE_LIST"] = venueLists(p.Venues)
	}
	if err := write(dir, template, values); err != nil {
		return nil, err
	}
	l.config = filepath.Join(dir, template)
	if err := writeTerminals(filepath.Join(dir, "terminals.csv"), p.Accounts, p.Venues > 0); err != nil {
		return nil, err
	}
	proc, err := p.start(dir, "", nil, binary, "serve", "--config", l.config, "--data", l.data)
	if err != nil {
		return nil, err
	}
	l.running = &running{process: proc, dir: dir}
	err = proc.await(ctx, 60*time.Second, func(ctx context.Context) error {
		terminals, err := appliance.FromSocket(ctx, filepath.Join(l.data, "linehall.sock"))
		if err != nil {
			return err // shown by await
		}
		l.accounts = make(map[string][]Account)
		for _, t := range terminals {
			l.accounts[t.Site] = append(l.accounts[t.Site], Account{User: t.Extension, AuthUser: t.AuthUser, Password: t.Password, Domain: t.Domain})
			l.ca = t.CAFile
		}
		return nil
	})
	if err != nil {
		l.stop()
		return nil, err
	}
	return l, nil
}

// venueLists names so many venues at headquarters: once for the room, once for the list of venues.
func venueLists(n int) (ids, entries string) {
	var a, b strings.Builder
	for i := range n {
		fmt.Fprintf(&a, "%s, ", venueName(i))
		fmt.Fprintf(&b, "    - {id: %[1]s, site: hq, name: {zh: %[1]s, en: %[1]s}}\n", venueName(i))
	}
	return strings.TrimSuffix(a.String(), ", "), b.String()
}

func venueName(i int) string { return fmt.Sprintf("venue%d", i) }

// writeTerminals lists phones of headquarters and of a branch, or of headquarters alone.
func writeTerminals(path string, perSite int, oneSite bool) error {
	var b strings.Builder
	b.WriteString("mac,model,site,extension,display_name,template,state,notes\n")
	for s, site := range []struct{ id, prefix string }{{"hq", "8"}, {"branch1", "2"}} {
		if oneSite && s > 0 {
			break
		}
		for i := range perSite {
			fmt.Fprintf(&b, "00:15:65:%02x:%02x:%02x,T54W,%s,%s%03d,%s%03d,,active,\n", s, i>>8, i&0xff, site.id, site.prefix, i+1, site.prefix, i+1)
		}
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("terminals: %w", err)
	}
	return nil
}

func (l *linehall) signalling() SIPTarget {
	return SIPTarget{Name: "linehall", Address: l.sip, Bind: netip.MustParseAddr("127.0.0.1"), process: l.process, Accounts: l.accounts["hq"]}
}

func (l *linehall) relay() RelayTarget {
	return RelayTarget{
		Name: "linehall", process: l.process,
		near: netip.MustParseAddr("127.0.0.1"), far: netip.MustParseAddr("127.0.1.1"),
		path: callsThrough(l.sip, l.accounts["hq"], l.accounts["branch1"]),
	}
}
