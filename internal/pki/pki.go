// Package pki is the appliance's certificates: its own authority, the leaves for browsers and phones, and the
// organisation's own certificate where there is one.
//
// Two roots, because two kinds of clients disagree (RFC 5280 §4.2.1.10):
//
//	browsers: ECDSA P-256 root with critical name constraints, so that installing it cannot be used to read other
//	          traffic; leaf ECDSA P-256
//	phones:   RSA-2048 root without constraints, since phones refuse critical extensions that they do not know; leaf RSA
//
// The browsers' root is cross-signed by the phones' one and sent along, so that a client that trusts either root accepts
// what the HTTPS port shows it. Leaves name the appliance and all its addresses, are renewed a month before they end or
// when an address appears, and are swapped under live listeners. All files lie in one folder, keys with mode 0600.
//
// An Authority may be used from many goroutines at once.
//
//	ca, err := pki.Open(dir, pki.Options{Domain: "linehall.test", Addresses: own})
//	server := &http.Server{TLSConfig: ca.ServerTLS()}
//	group.Go(func() error { return ca.Run(ctx) })
package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	rootLife   = 20 * 365 * 24 * time.Hour
	leafLife   = 397 * 24 * time.Hour // the CA/Browser Forum's limit for public leaves: no browser minds it
	renewEarly = 30 * 24 * time.Hour
	backdate   = 24 * time.Hour // clocks of phones and room computers that lag
	checkEvery = 10 * time.Minute
	maxNames   = 64 // addresses and names in one leaf
)

// Options say whom the certificates are for.
type Options struct {
	Name      string              // of the organisation, in the roots' subject; added to the leaves when it is a host name
	Domain    string              // the appliance's DNS name, such as linehall.test; required
	Names     []string            // further DNS names of the appliance
	Addresses func() []netip.Addr // own addresses now; nil = loopback only
	Ranges    []netip.Prefix      // address ranges that the browsers' root may sign for; fixed when the root is made
	CertFile  string              // the organisation's own certificate chain (PEM) for browsers; "" = our authority
	KeyFile   string              // its key
	Log       *slog.Logger        // nil = silent
}

// Authority holds roots and leaves.
type Authority struct {
	dir  string
	opts Options

	root, phoneRoot *authority
	cross           []byte // DER: the browsers' root, signed by the phones' root

	mu      sync.Mutex // one renewal at a time; held over file work
	current atomic.Pointer[leaves]
}

// leaves is what listeners show; never written after it was published.
type leaves struct {
	browser *tls.Certificate // ECDSA, or the organisation's own
	phone   *tls.Certificate // RSA
	own     bool             // browser is the organisation's own
	stamp   string           // of the organisation's files
	left    []netip.Addr     // own addresses outside the constraints of the browsers' root
}

// Open reads the authority in dir, or makes it, and sees that valid leaves are there. A damaged or half-copied folder
// is an error that names the file: a new root would have to be carried to every browser and phone again.
func Open(dir string, opts Options) (*Authority, error) {
	if opts.Domain == "" {
		return nil, errors.New("certificates: no domain")
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Addresses == nil {
		opts.Addresses = func() []netip.Addr { return nil }
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the roots in it are public, the keys have mode 0600
		return nil, fmt.Errorf("certificates: %w", err)
	}
	a := &Authority{dir: dir, opts: opts}
	var err error
	if a.root, err = a.openRoot(browserRoot); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	if a.phoneRoot, err = a.openRoot(phoneRoot); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	if a.cross, err = crossSign(a.root, a.phoneRoot); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	if err := a.renew(false); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	return a, nil
}

// Run renews until ctx ends. A renewal that fails is logged and tried again; listeners keep the leaf they have.
func (a *Authority) Run(ctx context.Context) error {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := a.Renew(ctx); err != nil {
				a.opts.Log.Error("certificates not renewed", slog.Any("err", err), slog.Time("not_after", a.NotAfter()))
			}
		}
	}
}

// Renew makes new leaves if they are due: near their end, an own address has appeared, or the organisation's files
// changed. Listeners show them from the next handshake on.
func (a *Authority) Renew(ctx context.Context) error { return a.renewLocked(ctx, false) }

// Reissue makes new leaves now.
func (a *Authority) Reissue(ctx context.Context) error { return a.renewLocked(ctx, true) }

func (a *Authority) renewLocked(ctx context.Context, force bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.renew(force)
}

func (a *Authority) renew(force bool) error {
	old := a.current.Load()
	if old == nil {
		old = &leaves{}
	}
	want, left := a.names()
	next := &leaves{left: left}

	var err error
	if a.opts.CertFile != "" || a.opts.KeyFile != "" {
		if next.browser, next.stamp, err = a.ownCertificate(old); err != nil {
			return err
		}
		next.own = true
	} else if next.browser, err = a.leaf(browserLeaf, a.root, want, [][]byte{a.cross}, force); err != nil {
		return err
	}
	want.addrs = append(want.addrs, left...) // the phones' root has no constraints
	if next.phone, err = a.leaf(phoneLeaf, a.phoneRoot, want, nil, force); err != nil {
		return err
	}
	a.current.Store(next)
	if len(left) > 0 && len(left) != len(old.left) && !next.own {
		a.opts.Log.Warn("own addresses are outside the ranges of the browsers' root certificate, use the name instead",
			slog.Any("addresses", left))
	}
	return nil
}

// ServerTLS is for browsers and everything else that speaks HTTPS. The certificate is chosen at each handshake.
func (a *Authority) ServerTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			l := a.current.Load()
			if l.own {
				return l.browser, nil
			}
			// Old phones fetch /prov/ from the same port and know neither ECDSA nor TLS 1.3; every browser knows both.
			modern := false
			for _, v := range hello.SupportedVersions {
				modern = modern || v == tls.VersionTLS13
			}
			if modern && hello.SupportsCertificate(l.browser) == nil {
				return l.browser, nil
			}
			return l.phone, nil
		},
	}
}

// PhoneTLS is for SIP over TLS: always the RSA leaf.
func (a *Authority) PhoneTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return a.current.Load().phone, nil
		},
	}
}

// RootPEM is the root that browsers and room computers install.
func (a *Authority) RootPEM() []byte { return certPEM(a.root.cert.Raw) }

// PhoneRootPEM is the root that phones are given.
func (a *Authority) PhoneRootPEM() []byte { return certPEM(a.phoneRoot.cert.Raw) }

// RootFile and PhoneRootFile are where the roots lie, for terminal show and the start-up text.
func (a *Authority) RootFile() string { return a.path(browserRoot.name + ".crt") }

// PhoneRootFile is where the phones' root lies.
func (a *Authority) PhoneRootFile() string { return a.path(phoneRoot.name + ".crt") }

// Fingerprint is the SHA-256 of the browsers' root as AB:CD:..., to compare before installing it.
func (a *Authority) Fingerprint() string { return fingerprint(a.root.cert.Raw) }

// NotAfter is when the first of the certificates in use ends.
func (a *Authority) NotAfter() time.Time {
	l := a.current.Load()
	if l.phone.Leaf.NotAfter.Before(l.browser.Leaf.NotAfter) {
		return l.phone.Leaf.NotAfter
	}
	return l.browser.Leaf.NotAfter
}

// Uncovered returns own addresses that the browsers' leaf cannot name, since the root's ranges were fixed earlier.
func (a *Authority) Uncovered() []netip.Addr { return a.current.Load().left }

// Certificate describes one certificate in use.
type Certificate struct {
	Use         string // browser_root, phone_root, browser, phone
	Own         bool   // the organisation's, not made here
	Subject     string
	Issuer      string
	Names       []string // DNS names and addresses
	NotBefore   time.Time
	NotAfter    time.Time
	Fingerprint string // SHA-256, AB:CD:...
}

// Certificates describes all certificates in use.
func (a *Authority) Certificates() []Certificate {
	l := a.current.Load()
	return []Certificate{
		describe("browser_root", false, a.root.cert), describe("phone_root", false, a.phoneRoot.cert),
		describe("browser", l.own, l.browser.Leaf), describe("phone", false, l.phone.Leaf),
	}
}

func describe(use string, own bool, c *x509.Certificate) Certificate {
	names := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return Certificate{
		Use: use, Own: own, Subject: c.Subject.String(), Issuer: c.Issuer.String(), Names: names,
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, Fingerprint: fingerprint(c.Raw),
	}
}
