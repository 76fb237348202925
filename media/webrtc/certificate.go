package webrtc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/pion/webrtc/v4"
)

const (
	certificateFile     = "dtls.pem"
	certificateLifetime = 365 * 24 * time.Hour
	certificateRenewal  = 30 * 24 * time.Hour
)

// certificate returns the certificate for a new connection. It is kept on disk, so that the fingerprint of the appliance
// stays the same over restarts, and replaced a month before it ends.
func (p *Plane) certificate(now time.Time) (webrtc.Certificate, error) {
	p.certMu.Lock()
	defer p.certMu.Unlock()
	if p.cert != nil && now.Add(certificateRenewal).Before(p.cert.Expires()) {
		return *p.cert, nil
	}
	if p.options.Directory != "" {
		cert, err := readCertificate(filepath.Join(p.options.Directory, certificateFile))
		if err == nil && now.Add(certificateRenewal).Before(cert.Expires()) {
			p.cert = cert
			return *cert, nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return webrtc.Certificate{}, err
		}
	}
	cert, err := makeCertificate(now)
	if err != nil {
		return webrtc.Certificate{}, err
	}
	if p.options.Directory != "" {
		if err := writeCertificate(p.options.Directory, cert); err != nil {
			return webrtc.Certificate{}, err
		}
	}
	p.cert = cert
	return *cert, nil
}

func readCertificate(path string) (*webrtc.Certificate, error) {
	pem, err := os.ReadFile(path) //nolint:gosec // the path is the operator's data directory
	if err != nil {
		return nil, fmt.Errorf("media certificate: %w", err)
	}
	cert, err := webrtc.CertificateFromPEM(string(pem))
	if err != nil {
		return nil, fmt.Errorf("media certificate %s: %w", path, err)
	}
	return cert, nil
}

func makeCertificate(now time.Time) (*webrtc.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("media certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("media certificate: %w", err)
	}
	cert, err := webrtc.NewCertificate(key, x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "linehall"},
		NotBefore:    now.Add(-24 * time.Hour), // clocks of venues may be behind
		NotAfter:     now.Add(certificateLifetime),
	})
	if err != nil {
		return nil, fmt.Errorf("media certificate: %w", err)
	}
	return cert, nil
}

func writeCertificate(dir string, cert *webrtc.Certificate) error {
	pem, err := cert.PEM()
	if err != nil {
		return fmt.Errorf("media certificate: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("media certificate: %w", err)
	}
	path := filepath.Join(dir, certificateFile)
	if err := os.WriteFile(path+".new", []byte(pem), 0o600); err != nil {
		return fmt.Errorf("media certificate: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("media certificate: %w", err)
	}
	return nil
}
