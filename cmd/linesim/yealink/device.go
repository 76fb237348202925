package yealink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"linehall/cmd/linesim/discover"
)

// fileMax is far above any configuration; a phone's memory is small.
const fileMax = 1 << 20

// rounds bounds how often the files may send the phone to another address: bootstrap, enrolment, own token, once more.
const rounds = 4

// Device is a phone out of its box.
type Device struct {
	MAC   string // with or without separators
	Model string // T54W when empty
	URL   string // what DHCP option 66 or PnP says
	Bind  netip.Addr
	Roots *x509.CertPool // trusted from the factory; the files may add more
	TFTP  int            // port of tftp addresses without one; 0 = 69
}

// Fetch is one request of the phone.
type Fetch struct {
	URL    string `json:"url"`
	Status int    `json:"status"`
	Bytes  int    `json:"bytes"`
	Error  string `json:"error,omitempty"`
}

// Result is what provisioning gave.
type Result struct {
	Config  Config
	Roots   *x509.CertPool
	Fetches []Fetch
	Book    []byte // the phone book that the files name
	URL     string // where the phone will ask next time
}

var (
	errMAC      = errors.New("not a MAC address (12 hex digits)")
	errModel    = errors.New("unknown Yealink model")
	errNoConfig = errors.New("the server has no configuration for this phone")
	errRounds   = errors.New("the files send the phone from address to address")
)

// modelNumbers is the NN of y0000000000NN.cfg.
func modelNumbers() map[string]string {
	return map[string]string{
		"T19P_E2": "53", "T21P_E2": "52", "T23": "44", "T27G": "69", "T29G": "46", "T31G": "123", "T31P": "123", "T33G": "124",
		"T41S": "68", "T42S": "67", "T42U": "116", "T43U": "107", "T46G": "28", "T46S": "66", "T46U": "108", "T48S": "65", "T48U": "109",
		"T53": "95", "T53W": "95", "T54W": "96", "T57W": "97", "T58A": "58", "T58W": "150", "VP59": "91", "CP920": "78", "CP960": "73",
	}
}

// phone is a device while it provisions.
type phone struct {
	device Device
	mac    string
	number string
	agent  string
	result Result
	client *http.Client
}

// UserAgent is how such a phone introduces itself, in HTTP with the MAC.
func (d Device) UserAgent() string { return "Yealink SIP-" + d.model() + " 96.86.0.100" }

func (d Device) model() string {
	if d.Model == "" {
		return "T54W"
	}
	return d.Model
}

// Provision fetches the files until the address of the server no longer changes. The result is valid as far as it got.
func (d Device) Provision(ctx context.Context) (*Result, error) {
	mac := strings.ToLower(strings.NewReplacer(":", "", "-", "", ".", "").Replace(d.MAC))
	if len(mac) != 12 || strings.Trim(mac, "0123456789abcdef") != "" {
		return nil, fmt.Errorf("%q: %w", d.MAC, errMAC)
	}
	number, ok := modelNumbers()[d.model()]
	if !ok {
		return nil, fmt.Errorf("%q: %w", d.model(), errModel)
	}
	var pairs []string
	for i := 0; i < len(mac); i += 2 {
		pairs = append(pairs, mac[i:i+2])
	}
	p := &phone{
		device: d, mac: mac, number: number, agent: d.UserAgent() + " " + strings.Join(pairs, ":"),
		result: Result{Config: make(Config), Roots: d.Roots, URL: d.URL},
	}
	defer func() {
		if p.client != nil {
			p.client.CloseIdleConnections()
		}
	}()
	for range rounds {
		p.connect()
		if err := p.round(ctx, p.result.URL); err != nil {
			return &p.result, err
		}
		if err := p.trust(ctx); err != nil {
			return &p.result, err
		}
		next := p.result.Config.static("auto_provision.server.url")
		if next == "" || next == p.result.URL {
			return &p.result, p.readBook(ctx)
		}
		p.result.URL = next
	}
	return &p.result, errRounds
}

// connect builds the HTTP client of one round, with the certificates trusted by then.
func (p *phone) connect() {
	const patience = 10 * time.Second
	if p.client != nil {
		p.client.CloseIdleConnections()
	}
	dialer := &net.Dialer{Timeout: patience}
	if p.device.Bind.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.device.Bind, 0))
	}
	transport := &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: patience,
		TLSClientConfig: &tls.Config{RootCAs: p.result.Roots, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}, // what these phones speak
	}
	transport.RegisterProtocol("tftp", discover.TFTP{Bind: p.device.Bind, Port: p.device.TFTP})
	p.client = &http.Client{Timeout: patience, Transport: transport}
}

// round asks for the files of one server in the phone's order: a boot file wins, otherwise the common file of the
// model and then the phone's own.
func (p *phone) round(ctx context.Context, base string) error {
	for _, name := range []string{p.mac + ".boot", "y000000000000.boot"} {
		data, found, err := p.get(ctx, base, name)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		files, err := includes(data)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return p.read(ctx, base, files)
	}
	return p.read(ctx, base, []string{"y0000000000" + p.number + ".cfg", p.mac + ".cfg"})
}

func (p *phone) read(ctx context.Context, base string, files []string) error {
	any := false
	for _, name := range files {
		data, found, err := p.get(ctx, base, name)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		any = true
		if err := p.result.Config.Parse(data); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if !any {
		return fmt.Errorf("%s: %w", base, errNoConfig)
	}
	return nil
}

// get fetches one file; a refusal is not an error but an absent file.
func (p *phone) get(ctx context.Context, base, name string) (data []byte, found bool, err error) {
	target, err := url.Parse(base)
	if err != nil {
		return nil, false, fmt.Errorf("server address %q: %w", base, err)
	}
	if name != "" {
		if strings.Contains(name, "://") {
			target, err = url.Parse(name)
		} else {
			target = target.JoinPath(name)
		}
	}
	if err != nil {
		return nil, false, fmt.Errorf("server address %q: %w", name, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", target, err)
	}
	req.Header.Set("User-Agent", p.agent)
	fetch := Fetch{URL: target.String()}
	defer func() {
		if err != nil {
			fetch.Error = err.Error()
		}
		p.result.Fetches = append(p.result.Fetches, fetch)
	}()
	res, err := p.client.Do(req)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", name, err)
	}
	defer res.Body.Close() //nolint:errcheck // read below
	fetch.Status = res.StatusCode
	data, err = io.ReadAll(io.LimitReader(res.Body, fileMax))
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", name, err)
	}
	fetch.Bytes = len(data)
	return data, res.StatusCode == http.StatusOK, nil
}

// trust fetches the certificate that the files name.
func (p *phone) trust(ctx context.Context) error {
	target := p.result.Config.static("trusted_certificates.url")
	if target == "" {
		return nil
	}
	data, found, err := p.get(ctx, target, "")
	if err != nil || !found {
		return errors.Join(fmt.Errorf("certificate %s: not to be had", target), err)
	}
	roots := x509.NewCertPool()
	if p.result.Roots != nil {
		roots = p.result.Roots.Clone()
	}
	if !roots.AppendCertsFromPEM(data) {
		cert, err := x509.ParseCertificate(data) // the phone takes DER as well
		if err != nil {
			return fmt.Errorf("certificate %s: %w", target, err)
		}
		roots.AddCert(cert)
	}
	p.result.Roots = roots
	return nil
}

// ModelName is the phone's model, or a usual one.
func (d Device) ModelName() string { return d.model() }

// readBook fetches the phone book that the files name.
func (p *phone) readBook(ctx context.Context) error {
	address := p.result.Config["remote_phonebook.data.1.url"]
	if address == "" || p.result.Config["features.remote_phonebook.enable"] != "1" {
		return nil
	}
	p.connect() // with the certificates that are trusted by now
	book, found, err := p.get(ctx, address, "")
	if err == nil && found {
		p.result.Book = book
	}
	return err
}
