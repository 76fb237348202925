package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"time"
)

// authority is a root with its key.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

type rootKind struct {
	name        string // of the files
	title       string
	rsa         bool
	constrained bool
}

var (
	browserRoot = rootKind{name: "root", title: "Linehall root", constrained: true}
	phoneRoot   = rootKind{name: "phone-root", title: "Linehall phone root", rsa: true}
)

// openRoot reads a root, or makes it when neither of its files is there.
func (a *Authority) openRoot(kind rootKind) (*authority, error) {
	certPath, keyPath := a.path(kind.name+".crt"), a.path(kind.name+".key")
	_, certErr := os.Stat(certPath)
	_, keyErr := os.Stat(keyPath)
	switch {
	case errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist):
		return a.makeRoot(kind, certPath, keyPath)
	case errors.Is(certErr, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is there but %s is not; restore it from a backup", keyPath, certPath)
	case errors.Is(keyErr, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is there but its key %s is not; restore it from a backup", certPath, keyPath)
	}
	pair, err := loadPair(certPath, keyPath)
	if err != nil {
		return nil, err
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: the key cannot sign", keyPath)
	case !pair.Leaf.IsCA:
		return nil, fmt.Errorf("%s: is not a certificate of an authority", certPath)
	case time.Now().After(pair.Leaf.NotAfter):
		return nil, fmt.Errorf("%s: ended on %s", certPath, pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	return &authority{pair.Leaf, signer}, nil
}

func (a *Authority) makeRoot(kind rootKind, certPath, keyPath string) (*authority, error) {
	key, err := newKey(kind.rsa)
	if err != nil {
		return nil, err
	}
	subject := pkix.Name{CommonName: kind.title + " " + a.opts.Domain}
	if a.opts.Name != "" {
		subject.Organization = []string{a.opts.Name}
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: subject,
		NotBefore: time.Now().Add(-backdate), NotAfter: time.Now().Add(rootLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
	}
	if kind.constrained {
		template.PermittedDNSDomainsCritical = true
		template.PermittedDNSDomains = a.hostNames()
		template.PermittedIPRanges = a.permittedRanges()
		// No permitted mail address or URI: an empty permitted subtree of the kind would be needed to forbid them, and
		// servers are checked by DNS name and address only.
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certPath, err)
	}
	if err := savePair(certPath, keyPath, [][]byte{der}, key); err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certPath, err)
	}
	return &authority{cert, key}, nil
}

// crossSign puts the browsers' root under the phones' one. It carries no constraints: whoever trusts the phones' root
// trusts it without constraints anyway, and its clients may not know the extension.
func crossSign(root, by *authority) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: root.cert.Subject, RawSubject: root.cert.RawSubject, SubjectKeyId: root.cert.SubjectKeyId,
		NotBefore: root.cert.NotBefore, NotAfter: root.cert.NotAfter,
		KeyUsage: root.cert.KeyUsage, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, root.key.Public(), by.key)
	if err != nil {
		return nil, fmt.Errorf("cross-signed root: %w", err)
	}
	return der, nil
}

// permittedRanges is loopback, the configured ranges, and the addresses that the machine has when the root is made.
func (a *Authority) permittedRanges() []*net.IPNet {
	prefixes := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	prefixes = append(prefixes, a.opts.Ranges...)
	for _, addr := range a.opts.Addresses() {
		addr = addr.Unmap().WithZone("")
		prefixes = append(prefixes, netip.PrefixFrom(addr, addr.BitLen()))
	}
	var out []*net.IPNet
	var taken []netip.Prefix
next:
	for _, p := range prefixes {
		p = p.Masked()
		for _, t := range taken {
			if t.Contains(p.Addr()) && t.Bits() <= p.Bits() {
				continue next
			}
		}
		taken = append(taken, p)
		out = append(out, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	return out
}

var hostPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// hostNames returns the DNS names of the appliance, its domain first.
func (a *Authority) hostNames() []string {
	names := []string{}
	seen := map[string]bool{}
	for _, n := range append(append([]string{a.opts.Domain}, a.opts.Names...), a.opts.Name, "localhost") {
		n = strings.ToLower(strings.TrimSuffix(n, "."))
		if _, err := netip.ParseAddr(n); err == nil || seen[n] || len(n) > 253 || !hostPattern.MatchString(n) {
			continue
		}
		seen[n] = true
		names = append(names, n)
	}
	return names
}

func newKey(useRSA bool) (crypto.Signer, error) {
	if useRSA {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, fmt.Errorf("RSA key: %w", err)
		}
		return key, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("ECDSA key: %w", err)
	}
	return key, nil
}

// serial returns a random number of 127 bits (RFC 5280 §4.1.2.2: positive, at most 20 bytes).
func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}
