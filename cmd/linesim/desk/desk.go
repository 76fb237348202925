// Package desk is the provisioning side of simulated desk phones of six brands: Grandstream, Fanvil, Snom, Cisco (SPA and
// multiplatform), Poly VVX and Htek (Yealink has a package of its own). A phone asks for the files that such a phone asks
// for, with its User-Agent and in its order, reads them in its brand's units, follows the address that the files set, and
// ends up with an account to register.
//
// It is written from descriptions of the phones and knows nothing of the server's templates: a registration lives for
// minutes at Grandstream and Htek, TLS is 3 at Fanvil, a path has no scheme at Grandstream, Poly ignores device.* without
// its .set, Cisco wants $MA filled in. What a brand does not check (certificates, unless a setting turns that on) is not
// checked here. Keys beyond those are read and ignored.
//
//	device := desk.Device{Brand: "snom", MAC: mac, Model: "D785", URL: "http://127.0.0.1:8080/"}
//	result, err := device.Provision(ctx)
//	fmt.Println(result.Account.User)
package desk

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

// Device is a phone out of its box.
type Device struct {
	Brand string
	MAC   string // with or without separators
	Model string // "" = a usual one
	URL   string // what DHCP or PnP says: a folder, or for some brands a file with the brand's macros
	Bind  netip.Addr
	Roots *x509.CertPool // trusted from the factory
	TFTP  int            // port of tftp addresses without one; 0 = 69
}

// Fetch is one request of the phone.
type Fetch struct {
	URL    string `json:"url"`
	Status int    `json:"status"`
	Bytes  int    `json:"bytes"`
	Error  string `json:"error,omitempty"`
}

// Account is the phone's first line.
type Account struct {
	DisplayName string
	User        string
	AuthUser    string
	Password    string
	Domain      string
	Server      string
	Port        int
	Transport   string // udp, tcp, tls
	Expires     int    // seconds
}

// Result is what provisioning gave.
type Result struct {
	Account Account
	Roots   *x509.CertPool
	Fetches []Fetch
	Book    int    // numbers in the phone book that the files name
	URL     string // where the phone asks next time
}

var (
	// ErrNoAccount says that the files enable no account, as before enrolment.
	ErrNoAccount = errors.New("no account in the configuration")
	// ErrForm says that the phone could not read a file.
	ErrForm     = errors.New("the phone cannot read the file")
	errMAC      = errors.New("not a MAC address (12 hex digits)")
	errBrand    = errors.New("unknown brand")
	errNoConfig = errors.New("the server has no configuration for this phone")
	errRounds   = errors.New("the files send the phone from address to address")
)

// rounds bounds how often the files may send the phone to another address.
const rounds = 5

// Brands lists those of this package.
func Brands() []string { return []string{"grandstream", "fanvil", "snom", "cisco", "poly", "htek"} }

// model is the phone's, or a usual one of the brand.
func (d Device) model() string {
	usual := map[string]string{"grandstream": "GRP2614", "fanvil": "X4U", "snom": "D785", "cisco": "8841", "poly": "VVX_450", "htek": "UC924"}
	if d.Model == "" {
		return usual[d.Brand]
	}
	return strings.ReplaceAll(d.Model, " ", "_")
}

// agent is the User-Agent of the phone's HTTP client.
func (d Device) agent(mac string) string {
	var pairs []string
	for i := 0; i < len(mac); i += 2 {
		pairs = append(pairs, mac[i:i+2])
	}
	switch m := d.model(); d.Brand {
	case "grandstream":
		return "Grandstream Model HW " + m + " SW 1.0.5.48 DevId " + mac
	case "fanvil":
		return "Fanvil " + m + " 2.4.10 " + mac
	case "snom":
		return "Mozilla/4.0 (compatible; snom" + m + "-SIP 10.1.33.33 2010.12-00004-g9ba52f5 " + strings.ToUpper(mac) + " SXM:0 UXM:0)"
	case "cisco":
		if strings.HasPrefix(m, "SPA") {
			return "Cisco/" + m + "-7.4.8a (" + strings.ToUpper(mac) + ")(CBT141400UK)"
		}
		return "Cisco-CP-" + m + "-3PCC/12.0.7 (" + mac + ")"
	case "poly":
		return "FileTransport PolycomVVX-" + m + "-UA/6.4.3.5059 Type/Application"
	}
	return "Htek " + d.model() + " 2.0.4.2 " + strings.Join(pairs, ":")
}

// Searcher is the phone that looks for its files by PnP.
func (d Device) Searcher() discover.Searcher {
	vendor := map[string]string{"grandstream": "Grandstream", "poly": "Polycom", "cisco": "Cisco"}[d.Brand]
	if vendor == "" {
		vendor = d.Brand
	}
	model := d.model()
	if d.Brand == "snom" {
		model = "snom" + model
	}
	return discover.Searcher{MAC: bare(d.MAC), Vendor: vendor, Model: model, Version: "1.0", Bind: d.Bind}
}

// ModelName is the phone's model, or a usual one of the brand.
func (d Device) ModelName() string { return d.model() }

// bare is a MAC address as 12 hex digits.
func bare(mac string) string {
	return strings.ToLower(strings.NewReplacer(":", "", "-", "", ".", "").Replace(mac))
}

// UserAgent is how the phone introduces itself in SIP.
func (d Device) UserAgent() string { return d.Brand + " " + d.model() }

// set is one phone while it provisions.
type set struct {
	device Device
	mac    string
	values map[string]string // by the brand's keys
	result Result
	client *http.Client
	brand  brand
}

// brand is what differs.
type brand struct {
	// names are asked for in this order; first says that the phone stops at the first that it gets.
	names func(s *set) []string
	first bool
	read  func(s *set, content []byte) error
	next  func(s *set) string // folder of the next round, or the whole address of one file; "" = stay
	line  func(s *set) (Account, error)
	book  func(s *set) string // address of the phone book; "" = none
	check bool                // verifies the server's certificate
	// macros are what the phone fills in, in pairs, in an address that names a file; nil: the address is always a folder.
	macros func(s *set) []string
}

func (d Device) kind() (brand, bool) {
	b, ok := map[string]brand{
		"grandstream": grandstream(), "fanvil": fanvil(), "snom": snom(), "cisco": cisco(), "poly": poly(), "htek": htek(),
	}[d.Brand]
	return b, ok
}

// Provision fetches files until their address no longer changes. The result is valid as far as it got.
func (d Device) Provision(ctx context.Context) (*Result, error) {
	mac := bare(d.MAC)
	if len(mac) != 12 || strings.Trim(mac, "0123456789abcdef") != "" {
		return nil, fmt.Errorf("%q: %w", d.MAC, errMAC)
	}
	b, ok := d.kind()
	if !ok {
		return nil, fmt.Errorf("%q: %w", d.Brand, errBrand)
	}
	s := &set{device: d, mac: mac, values: map[string]string{}, brand: b, result: Result{URL: d.URL, Roots: d.Roots}}
	for range rounds {
		s.connect()
		err := s.round(ctx)
		s.client.CloseIdleConnections()
		if err != nil {
			return &s.result, err
		}
		next := b.next(s)
		if next == "" || next == s.result.URL {
			if s.result.Account, err = b.line(s); err == nil {
				err = s.readBook(ctx)
			}
			return &s.result, err
		}
		s.result.URL = next
	}
	return &s.result, errRounds
}

// connect builds the HTTP client of one round.
func (s *set) connect() {
	const patience = 10 * time.Second
	dialer := &net.Dialer{Timeout: patience}
	if s.device.Bind.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.device.Bind, 0))
	}
	transport := &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: patience,
		TLSClientConfig: &tls.Config{
			RootCAs: s.result.Roots, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12,
			InsecureSkipVerify: !s.brand.check, //nolint:gosec // what such a phone does; that it does is what the test shows
		},
	}
	transport.RegisterProtocol("tftp", discover.TFTP{Bind: s.device.Bind, Port: s.device.TFTP})
	s.client = &http.Client{Timeout: patience, Transport: transport}
}

// split divides the address into the folder and, where it names one, the file, with the brand's macros filled in.
func (s *set) split() (folder, file string) {
	i := strings.LastIndex(s.result.URL, "/") + 1
	folder, file = s.result.URL[:i], s.result.URL[i:]
	if s.brand.macros == nil || !strings.Contains(file, ".") || strings.HasSuffix(folder, "://") {
		return s.result.URL, ""
	}
	return folder, strings.NewReplacer(s.brand.macros(s)...).Replace(file)
}

func (s *set) round(ctx context.Context) error {
	got := false
	names := s.brand.names(s)
	for i := 0; i < len(names); i++ {
		content, found, err := s.get(ctx, names[i])
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		got = true
		if err := s.brand.read(s, content); err != nil {
			return fmt.Errorf("%s: %w", names[i], err)
		}
		if more := s.values["\x00more"]; more != "" { // a master file names others
			delete(s.values, "\x00more")
			names = append(names[:i+1:i+1], strings.Split(more, ",")...)
			continue
		}
		if s.brand.first {
			break
		}
	}
	if !got {
		return fmt.Errorf("%s: %w", s.result.URL, errNoConfig)
	}
	return s.trust(ctx)
}

// get fetches one file; a refusal is not an error but an absent file.
func (s *set) get(ctx context.Context, name string) (content []byte, found bool, err error) {
	folder, _ := s.split()
	target, err := url.Parse(folder)
	if err != nil {
		return nil, false, fmt.Errorf("server address: %w", err)
	}
	switch {
	case strings.Contains(name, "://"):
		target, err = url.Parse(name)
		if err != nil {
			return nil, false, fmt.Errorf("address %q: %w", name, err)
		}
	case name != "":
		target = target.JoinPath(name)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", target, err)
	}
	req.Header.Set("User-Agent", s.device.agent(s.mac))
	fetch := Fetch{URL: target.String()}
	defer func() {
		if err != nil {
			fetch.Error = err.Error()
		}
		s.result.Fetches = append(s.result.Fetches, fetch)
	}()
	res, err := s.client.Do(req)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", name, err)
	}
	defer res.Body.Close() //nolint:errcheck // read below
	fetch.Status = res.StatusCode
	const most = 1 << 20
	if content, err = io.ReadAll(io.LimitReader(res.Body, most)); err != nil {
		return nil, false, fmt.Errorf("%s: %w", name, err)
	}
	fetch.Bytes = len(content)
	return content, res.StatusCode == http.StatusOK, nil
}

// readBook fetches the phone book that the files name.
func (s *set) readBook(ctx context.Context) error {
	address := s.brand.book(s)
	if address == "" {
		return nil
	}
	s.connect() // with the certificates that are trusted by now
	defer s.client.CloseIdleConnections()
	content, found, err := s.get(ctx, address)
	if err != nil || !found {
		return err
	}
	s.result.Book, err = Numbers(content)
	return err
}

// Numbers counts the entries of a phone book of any brand.
func Numbers(content []byte) (int, error) {
	list, err := leaves(content)
	if err != nil {
		return 0, err
	}
	count := 0
	for _, l := range list {
		switch l.path[len(l.path)-1] {
		case "Telephone", "phonenumber", "Url", "ct":
			count++
		}
	}
	return count, nil
}

// trust takes the certificate that the files hold, or name.
func (s *set) trust(ctx context.Context) error {
	if !s.brand.check {
		return nil
	}
	pem := []byte(s.values["device.sec.TLS.customCaCert1"])
	if rule := s.values["Custom_CA_Rule"]; rule != "" {
		content, found, err := s.get(ctx, rule)
		if err != nil || !found {
			return errors.Join(fmt.Errorf("certificate %s: not to be had", rule), err)
		}
		pem = content
	}
	if len(pem) == 0 {
		return nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(unfold(pem)) {
		return fmt.Errorf("%w: no certificate", ErrForm)
	}
	s.result.Roots = roots
	return nil
}

// unfold gives a PEM block its lines back.
func unfold(pem []byte) []byte {
	text := strings.TrimSpace(string(pem))
	begin, end := "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
	body := strings.TrimSuffix(strings.TrimPrefix(text, begin), end)
	return []byte(begin + "\n" + strings.Join(strings.Fields(body), "\n") + "\n" + end + "\n")
}
