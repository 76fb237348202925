package pki

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

type leafKind struct {
	name string // of the files
	rsa  bool
}

var (
	browserLeaf = leafKind{name: "server"}
	phoneLeaf   = leafKind{name: "phone", rsa: true}
)

// wanted is what a leaf must name.
type wanted struct {
	hosts []string
	addrs []netip.Addr
}

// names returns what the leaves must name, and the own addresses that the browsers' root must not sign for: one such
// address would make the whole leaf invalid (RFC 5280 §6.1.4).
func (a *Authority) names() (wanted, []netip.Addr) {
	w := wanted{}
	for _, h := range a.hostNames() {
		if permitsHost(a.root.cert, h) {
			w.hosts = append(w.hosts, h)
		}
	}
	var left []netip.Addr
	own := append([]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}, a.opts.Addresses()...)
	seen := map[netip.Addr]bool{}
	for _, addr := range own {
		addr = addr.Unmap().WithZone("")
		if !addr.IsValid() || addr.IsUnspecified() || seen[addr] || len(seen) >= maxNames {
			continue
		}
		seen[addr] = true
		if permitsAddr(a.root.cert, addr) {
			w.addrs = append(w.addrs, addr)
		} else {
			left = append(left, addr)
		}
	}
	slices.SortFunc(w.addrs, netip.Addr.Compare)
	slices.SortFunc(left, netip.Addr.Compare)
	return w, left
}

func permitsHost(root *x509.Certificate, host string) bool {
	for _, d := range root.PermittedDNSDomains {
		if host == d || len(host) > len(d) && host[len(host)-len(d)-1:] == "."+d {
			return true
		}
	}
	return len(root.PermittedDNSDomains) == 0
}

func permitsAddr(root *x509.Certificate, addr netip.Addr) bool {
	for _, r := range root.PermittedIPRanges {
		if r.Contains(addr.AsSlice()) {
			return true
		}
	}
	return len(root.PermittedIPRanges) == 0
}

// leaf returns the leaf on disk, or a new one when that one is missing, damaged, near its end, from another root or
// without a name that is wanted. Unlike a root, a leaf can be made again at any time.
func (a *Authority) leaf(kind leafKind, by *authority, want wanted, chain [][]byte, force bool) (*tls.Certificate, error) {
	certPath, keyPath := a.path(kind.name+".crt"), a.path(kind.name+".key")
	if !force {
		if pair, err := loadPair(certPath, keyPath); err == nil && current(pair.Leaf, by, want) {
			pair.Certificate = append(pair.Certificate[:1:1], chain...)
			return pair, nil
		}
	}
	key, err := newKey(kind.rsa)
	if err != nil {
		return nil, err
	}
	ips := make([]net.IP, 0, len(want.addrs))
	for _, addr := range want.addrs {
		ips = append(ips, addr.AsSlice())
	}
	usage := x509.KeyUsageDigitalSignature
	if kind.rsa {
		usage |= x509.KeyUsageKeyEncipherment // old phones: RSA key exchange
	}
	end := time.Now().Add(leafLife)
	if end.After(by.cert.NotAfter) {
		end = by.cert.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: a.opts.Domain},
		NotBefore: time.Now().Add(-backdate), NotAfter: end,
		KeyUsage: usage, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true, DNSNames: want.hosts, IPAddresses: ips,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certPath, err)
	}
	if err := savePair(certPath, keyPath, append([][]byte{der}, chain...), key); err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certPath, err)
	}
	return &tls.Certificate{Certificate: append([][]byte{der}, chain...), PrivateKey: key, Leaf: parsed}, nil
}

// current reports whether a leaf can stay in use. Names that are no longer wanted do no harm until the next renewal.
func current(leaf *x509.Certificate, by *authority, want wanted) bool {
	if time.Until(leaf.NotAfter) < renewEarly && leaf.NotAfter.Before(by.cert.NotAfter) || time.Now().After(leaf.NotAfter) {
		return false
	}
	if leaf.CheckSignatureFrom(by.cert) != nil {
		return false
	}
	for _, h := range want.hosts {
		if leaf.VerifyHostname(h) != nil {
			return false
		}
	}
	for _, addr := range want.addrs {
		if leaf.VerifyHostname(addr.String()) != nil {
			return false
		}
	}
	return true
}

// ownCertificate reads the organisation's certificate again when its files have changed.
func (a *Authority) ownCertificate(old *leaves) (*tls.Certificate, string, error) {
	certPath, keyPath := a.opts.CertFile, a.opts.KeyFile
	if certPath == "" || keyPath == "" {
		return nil, "", errors.New("an own certificate needs both a certificate file and a key file")
	}
	var files strings.Builder
	for _, path := range []string{certPath, keyPath} {
		info, err := os.Stat(path)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil, "", fmt.Errorf("%s: the file is not there", path)
			}
			return nil, "", err
		}
		fmt.Fprintf(&files, "%d %d;", info.Size(), info.ModTime().UnixNano())
	}
	stamp := files.String()
	if old.own && old.stamp == stamp {
		return old.browser, stamp, nil
	}
	pair, err := loadPair(certPath, keyPath)
	if err != nil {
		return nil, "", err
	}
	switch now := time.Now(); {
	case now.After(pair.Leaf.NotAfter):
		return nil, "", fmt.Errorf("%s: the certificate ended on %s", certPath, pair.Leaf.NotAfter.Format(time.DateOnly))
	case now.Before(pair.Leaf.NotBefore):
		return nil, "", fmt.Errorf("%s: the certificate is valid from %s on only", certPath, pair.Leaf.NotBefore.Format(time.DateOnly))
	case pair.Leaf.IsCA:
		return nil, "", fmt.Errorf("%s: the first certificate is that of an authority; the server's comes first", certPath)
	case pair.Leaf.VerifyHostname(a.opts.Domain) != nil:
		return nil, "", fmt.Errorf("%s: the certificate is not for %s (it names %v)", certPath, a.opts.Domain, pair.Leaf.DNSNames)
	}
	return pair, stamp, nil
}
