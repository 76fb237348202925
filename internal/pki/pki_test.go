package pki_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"linehall/internal/pki"
)

var addresses = []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("fe80::1%eth0")}

func options() pki.Options {
	return pki.Options{
		Name: "局机关", Domain: "linehall.test", Names: []string{"pbx.linehall.test"},
		Addresses: func() []netip.Addr { return addresses },
		Ranges:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}
}

func open(t *testing.T, dir string, opts pki.Options) *pki.Authority {
	t.Helper()
	a, err := pki.Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// made returns a folder with an authority in it. RSA keys are slow to make, so all tests get copies of one.
func made(t *testing.T) string {
	t.Helper()
	original, err := template()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(original)); err != nil {
		t.Fatal(err)
	}
	return dir
}

var template = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pki-test-*")
	if err == nil {
		_, err = pki.Open(dir, options())
	}
	return dir, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := template(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

func pool(pemText ...[]byte) *x509.CertPool {
	p := x509.NewCertPool()
	for _, text := range pemText {
		p.AppendCertsFromPEM(text)
	}
	return p
}

// handshake runs TLS over a pipe and returns what the client saw.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c := tls.Server(far, server)
		_ = c.HandshakeContext(t.Context()) // the client tells
		_ = far.Close()
	}()
	c := tls.Client(near, client)
	err := c.HandshakeContext(t.Context())
	state := c.ConnectionState()
	_ = near.Close()
	<-done
	return state, err
}

func TestClientsThatTrustEitherRootAreServed(t *testing.T) {
	a := open(t, made(t), options())
	old := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	tests := map[string]struct {
		server  *tls.Config
		roots   []byte
		version uint16
		suites  []uint16
		want    x509.PublicKeyAlgorithm
	}{
		"browser":                             {a.ServerTLS(), a.RootPEM(), 0, nil, x509.ECDSA},
		"modern phone at HTTPS":               {a.ServerTLS(), a.PhoneRootPEM(), 0, nil, x509.ECDSA},
		"phone with TLS 1.2 at HTTPS":         {a.ServerTLS(), a.PhoneRootPEM(), tls.VersionTLS12, nil, x509.RSA},
		"phone without ECDSA at HTTPS":        {a.ServerTLS(), a.PhoneRootPEM(), tls.VersionTLS12, old, x509.RSA},
		"modern phone at SIP TLS":             {a.PhoneTLS(), a.PhoneRootPEM(), 0, nil, x509.RSA},
		"phone without ECDSA at SIP over TLS": {a.PhoneTLS(), a.PhoneRootPEM(), tls.VersionTLS12, old, x509.RSA},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			for _, host := range []string{"linehall.test", "pbx.linehall.test", "localhost", "127.0.0.1", "::1", "192.0.2.10", "10.1.2.3"} {
				state, err := handshake(t, tc.server, &tls.Config{
					RootCAs: pool(tc.roots), ServerName: host, MaxVersion: tc.version, CipherSuites: tc.suites, //nolint:gosec // old clients are the point
				})
				if err != nil {
					t.Errorf("%s: %v", host, err)
					continue
				}
				if got := state.PeerCertificates[0].PublicKeyAlgorithm; got != tc.want {
					t.Errorf("%s: %v leaf, want %v", host, got, tc.want)
				}
			}
			if _, err := handshake(t, tc.server, &tls.Config{RootCAs: pool(tc.roots), ServerName: "elsewhere.test", MaxVersion: tc.version}); err == nil { //nolint:gosec // as above
				t.Error("accepted under a foreign name")
			}
		})
	}
}

// What installing the browsers' root allows, and what not.
func TestTheBrowsersRootCannotSignForOthers(t *testing.T) {
	dir := made(t)
	a := open(t, dir, options())
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "root.crt"), filepath.Join(dir, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	root := pair.Leaf
	if root.PublicKeyAlgorithm != x509.ECDSA || !root.PermittedDNSDomainsCritical {
		t.Errorf("root: %v, critical constraints %v", root.PublicKeyAlgorithm, root.PermittedDNSDomainsCritical)
	}
	sign := func(host string) error {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = []net.IP{ip}
		} else {
			template.DNSNames = []string{host}
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificate(rand.Reader, template, root, key.Public(), pair.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		_, err = leaf.Verify(x509.VerifyOptions{Roots: pool(a.RootPEM()), DNSName: host})
		return err
	}
	for host, want := range map[string]bool{
		"linehall.test": true, "room.linehall.test": true, "localhost": true, "127.0.9.9": true, "10.200.0.1": true, "192.0.2.10": true,
		"bank.example": false, "notlinehall.test": false, "test": false, "192.0.2.11": false, "8.8.8.8": false, "2001:db8::1": false,
	} {
		if err := sign(host); (err == nil) != want {
			t.Errorf("%s: %v", host, err)
		}
	}
	block, _ := pem.Decode(a.PhoneRootPEM())
	phone, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if phone.PublicKeyAlgorithm != x509.RSA || len(phone.PermittedDNSDomains) != 0 || len(phone.PermittedIPRanges) != 0 {
		t.Errorf("phone root: %v with constraints %v", phone.PublicKeyAlgorithm, phone.PermittedDNSDomains)
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, options())
	second := open(t, dir, options())
	for i, c := range first.Certificates() {
		if got := second.Certificates()[i]; got.Fingerprint != c.Fingerprint {
			t.Errorf("%s is another one after a restart", c.Use)
		}
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".key") {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if !regexp.MustCompile(`^([0-9A-F]{2}:){31}[0-9A-F]{2}$`).MatchString(first.Fingerprint()) {
		t.Errorf("fingerprint %s", first.Fingerprint())
	}
	if left := time.Until(first.NotAfter()); left < 390*24*time.Hour || left > 398*24*time.Hour {
		t.Errorf("leaves end in %v", left)
	}
}

func TestANewAddressRenewsLiveListeners(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("10.1.2.3")}
	opts := options()
	opts.Addresses = func() []netip.Addr { return own }
	a := open(t, t.TempDir(), opts)
	server := a.ServerTLS() // what a listener holds for its whole life
	client := &tls.Config{RootCAs: pool(a.RootPEM()), ServerName: "10.7.7.7"}
	if _, err := handshake(t, server, client); err == nil {
		t.Fatal("the address was known before")
	}
	before := a.Certificates()
	if err := a.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.Certificates()[2].Fingerprint != before[2].Fingerprint {
		t.Error("renewed without a reason")
	}
	own = append(own, netip.MustParseAddr("10.7.7.7"), netip.MustParseAddr("203.0.113.9"))
	if err := a.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := handshake(t, server, client); err != nil {
		t.Errorf("new address: %v", err)
	}
	client.ServerName = "linehall.test"
	if _, err := handshake(t, server, client); err != nil {
		t.Errorf("the name, next to an address outside the constraints: %v", err)
	}
	if left := a.Uncovered(); len(left) != 1 || left[0].String() != "203.0.113.9" {
		t.Errorf("uncovered %v", left)
	}
	if _, err := handshake(t, a.PhoneTLS(), &tls.Config{RootCAs: pool(a.PhoneRootPEM()), ServerName: "203.0.113.9"}); err != nil {
		t.Errorf("phones reach every address: %v", err)
	}
	mid := a.Certificates()
	if err := a.Reissue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := a.Certificates(); now[2].Fingerprint == mid[2].Fingerprint || now[0].Fingerprint != mid[0].Fingerprint {
		t.Error("reissue must make a new leaf under the same root")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedRootsAreReportedNotReplaced(t *testing.T) {
	for name, tc := range map[string]struct {
		damage func(t *testing.T, dir string)
		want   string
	}{
		"key gone":       {func(t *testing.T, dir string) { t.Helper(); _ = os.Remove(filepath.Join(dir, "root.key")) }, "restore it from a backup"},
		"cert gone":      {func(t *testing.T, dir string) { t.Helper(); _ = os.Remove(filepath.Join(dir, "root.crt")) }, "restore it from a backup"},
		"garbage":        {func(t *testing.T, dir string) { t.Helper(); write(t, filepath.Join(dir, "root.crt"), "hello") }, "no PEM text"},
		"leaf as root":   {func(t *testing.T, dir string) { t.Helper(); copyPair(t, dir, "server", "root") }, "not a certificate of an authority"},
		"foreign key":    {func(t *testing.T, dir string) { t.Helper(); copyFile(t, dir, "phone.key", "root.key") }, "private key type does not match"},
		"cert as key":    {func(t *testing.T, dir string) { t.Helper(); copyFile(t, dir, "root.crt", "root.key") }, "no private key in it"},
		"phone key gone": {func(t *testing.T, dir string) { t.Helper(); _ = os.Remove(filepath.Join(dir, "phone-root.key")) }, "phone-root.key"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := made(t)
			tc.damage(t, dir)
			if _, err := pki.Open(dir, options()); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
	t.Run("a damaged leaf is made again", func(t *testing.T) {
		dir := made(t)
		write(t, filepath.Join(dir, "server.key"), "hello")
		a := open(t, dir, options())
		if _, err := handshake(t, a.ServerTLS(), &tls.Config{RootCAs: pool(a.RootPEM()), ServerName: "linehall.test"}); err != nil {
			t.Error(err)
		}
	})
}

func copyFile(t *testing.T, dir, from, to string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, from))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, to), string(text))
}

func copyPair(t *testing.T, dir, from, to string) {
	t.Helper()
	copyFile(t, dir, from+".crt", to+".crt")
	copyFile(t, dir, from+".key", to+".key")
}

// organisation makes a certificate as the organisation's own authority would give us.
func organisation(t *testing.T, dir string, end time.Time, names ...string) (certFile, keyFile string, certPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "ours"}, DNSNames: names,
		NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: end, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "own.pem"), filepath.Join(dir, "own.key")
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	write(t, certFile, string(certPEM))
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	return certFile, keyFile, certPEM
}

func TestTheOrganisationsCertificateIsShownToBrowsers(t *testing.T) {
	dir := t.TempDir()
	opts := options()
	var root []byte
	opts.CertFile, opts.KeyFile, root = organisation(t, dir, time.Now().AddDate(0, 6, 0), "linehall.test")
	a := open(t, made(t), opts)
	server := a.ServerTLS()
	if _, err := handshake(t, server, &tls.Config{RootCAs: pool(root), ServerName: "linehall.test"}); err != nil {
		t.Error(err)
	}
	if _, err := handshake(t, a.PhoneTLS(), &tls.Config{RootCAs: pool(a.PhoneRootPEM()), ServerName: "linehall.test"}); err != nil {
		t.Errorf("phones: %v", err)
	}
	// Another certificate in the same files is taken over by a renewal; a bad one changes nothing.
	_, _, root = organisation(t, dir, time.Now().AddDate(1, 0, 0), "linehall.test")
	if err := a.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, opts.CertFile, "garbage that is longer")
	if err := a.Renew(t.Context()); err == nil {
		t.Error("no error for a bad file")
	}
	if _, err := handshake(t, server, &tls.Config{RootCAs: pool(root), ServerName: "linehall.test"}); err != nil {
		t.Errorf("after a bad file: %v", err)
	}
}

func TestBadOwnCertificates(t *testing.T) {
	for name, tc := range map[string]struct {
		make func(t *testing.T, dir string) (string, string)
		want string
	}{
		"expired": {func(t *testing.T, dir string) (string, string) {
			t.Helper()
			c, k, _ := organisation(t, dir, time.Now().AddDate(-1, 0, 0), "linehall.test")
			return c, k
		}, "ended on"},
		"other name": {func(t *testing.T, dir string) (string, string) {
			t.Helper()
			c, k, _ := organisation(t, dir, time.Now().AddDate(1, 0, 0), "other.test")
			return c, k
		}, "is not for linehall.test"},
		"no key file": {func(t *testing.T, dir string) (string, string) {
			t.Helper()
			c, _, _ := organisation(t, dir, time.Now().AddDate(1, 0, 0), "linehall.test")
			return c, ""
		}, "both a certificate file and a key file"},
		"missing": {func(t *testing.T, dir string) (string, string) {
			t.Helper()
			return filepath.Join(dir, "none.pem"), filepath.Join(dir, "none.key")
		}, "the file is not there"},
		"swapped": {func(t *testing.T, dir string) (string, string) {
			t.Helper()
			c, k, _ := organisation(t, dir, time.Now().AddDate(1, 0, 0), "linehall.test")
			return k, c
		}, "no certificate in it, only PRIVATE KEY"},
		"DER": {func(t *testing.T, dir string) (string, string) {
			t.Helper()
			c, k, text := organisation(t, dir, time.Now().AddDate(1, 0, 0), "linehall.test")
			block, _ := pem.Decode(text)
			write(t, c, string(block.Bytes))
			return c, k
		}, "convert DER"},
		"key with password": {func(t *testing.T, dir string) (string, string) {
			t.Helper()
			c, k, _ := organisation(t, dir, time.Now().AddDate(1, 0, 0), "linehall.test")
			write(t, k, string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}})))
			return c, k
		}, "has a password"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			opts := options()
			opts.CertFile, opts.KeyFile = tc.make(t, dir)
			_, err := pki.Open(made(t), opts)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
	if _, err := pki.Open(t.TempDir(), pki.Options{}); err == nil {
		t.Error("no error without a domain")
	}
	var pathErr *fs.PathError
	if _, err := pki.Open("/dev/null/x", options()); !errors.As(err, &pathErr) {
		t.Errorf("a folder that cannot be: %v", err)
	}
}
