package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/transport/v5/packetio"

	"linehall/internal/observe"
	"linehall/media/srtp"
	"linehall/media/webrtc"
)

// certify gives the leg a certificate of its own: whoever gets another leg of ours sees another fingerprint, and so knows
// that it is another association (RFC 8842 §4).
func (l *Leg) certify() error {
	cert, err := selfsign.GenerateSelfSigned()
	if err != nil {
		return fmt.Errorf("certificate of a browser leg: %w", err)
	}
	l.certificate = cert
	sum := sha256.Sum256(cert.Certificate[0])
	l.fingerprint = "sha-256 " + colons(sum[:])
	return nil
}

// colons writes octets as RFC 8122 §5 has them.
func colons(b []byte) string {
	text := strings.ToUpper(hex.EncodeToString(b))
	var out strings.Builder
	for i := 0; i < len(text); i += 2 {
		if i > 0 {
			out.WriteByte(':')
		}
		out.WriteString(text[i : i+2])
	}
	return out.String()
}

var errFingerprint = errors.New("the certificate is not the one that the description names")

// verify compares a certificate with what the browser's description says (RFC 8122 §6.2): one fingerprint of a hash that is
// good enough must fit.
func verify(fingerprints []string, raw [][]byte) error {
	if len(raw) == 0 {
		return errFingerprint
	}
	for _, f := range fingerprints {
		name, value, _ := strings.Cut(f, " ")
		var sum []byte
		switch strings.ToLower(name) {
		case "sha-256":
			s := sha256.Sum256(raw[0])
			sum = s[:]
		case "sha-384":
			s := sha512.Sum384(raw[0])
			sum = s[:]
		case "sha-512":
			s := sha512.Sum512(raw[0])
			sum = s[:]
		default:
			continue
		}
		if strings.EqualFold(strings.TrimSpace(value), colons(sum)) {
			return nil
		}
	}
	return errFingerprint
}

// association is a DTLS connection with a browser: the net.PacketConn under it.
type association struct {
	leg    *Leg
	buffer *packetio.Buffer
}

// flightSize bounds what waits to be read: a browser's longest flight takes a few KiB.
const flightSize = 32 << 10

// secure begins DTLS once the browser has been heard of and can be reached. l.mu is held.
func (l *Leg) secure() {
	if l.closed || len(l.remote.Fingerprints) == 0 || l.selected.Load() == nil || l.session.Load() != nil || l.current.Load() != nil || l.failure != "" {
		return
	}
	a := &association{leg: l, buffer: packetio.NewBuffer()}
	a.buffer.SetLimitSize(flightSize)
	l.current.Store(a)
	remote, client, cert := l.remote, l.client, l.certificate
	l.g.work.Go(func() { l.handshake(a, remote, client, cert) })
}

// handshake runs DTLS. The connection stays open as long as the leg: the browser may repeat its last flight.
func (l *Leg) handshake(a *association, remote Remote, client bool, cert tls.Certificate) {
	defer l.g.recovered(l)
	defer a.end()
	ctx, cancel := context.WithTimeout(l.ctx, handshakeTime)
	defer cancel()
	conn, err := a.begin(remote, client, cert)
	if err == nil {
		err = conn.HandshakeContext(ctx)
	}
	var session *srtp.Session
	if err == nil {
		session, err = keys(conn, client)
	}
	if err != nil {
		if l.ctx.Err() == nil && l.current.Load() == a {
			l.g.o.Log.Info("browser media not secured", observe.Err, err)
			l.fail("the browser's media could not be secured")
		}
		return
	}
	l.mu.Lock()
	if l.current.Load() == a {
		l.session.Store(session)
		l.secured.Add(1)
	}
	l.mu.Unlock()
	for buf := make([]byte, 256); ; { // nothing but alerts is due
		if _, err := conn.Read(buf); err != nil {
			break
		}
	}
	_ = conn.Close() // its end, or ours
}

// begin opens the connection in our part of it.
func (a *association) begin(remote Remote, client bool, cert tls.Certificate) (*dtls.Conn, error) {
	type option interface {
		dtls.ClientOption
		dtls.ServerOption
	}
	common := []option{
		dtls.WithCertificates(cert),
		dtls.WithSRTPProtectionProfiles(profiles()...),
		dtls.WithInsecureSkipVerify(true), // the fingerprint is what is trusted (RFC 5763 §5)
		dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error { return verify(remote.Fingerprints, raw) }),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		dtls.WithFlightInterval(100 * time.Millisecond),
		dtls.WithLoggerFactory(a.leg.g.log),
	}
	if client {
		var options []dtls.ClientOption
		for _, o := range common {
			options = append(options, o)
		}
		return dtls.ClientWithOptions(a, a.remote(), options...) //nolint:wrapcheck // the handshake's caller logs it
	}
	options := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
	for _, o := range common {
		options = append(options, o)
	}
	return dtls.ServerWithOptions(a, a.remote(), options...) //nolint:wrapcheck // as above
}

// profiles are those of media/srtp that browsers have, the cheapest one first.
func profiles() []dtls.SRTPProtectionProfile {
	return []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80}
}

var errNoProfile = errors.New("no protection profile in common")

// keys takes the keys of SRTP out of a handshake (RFC 5764 §4.2): both keys, then both salts, the client's first.
func keys(conn *dtls.Conn, client bool) (*srtp.Session, error) {
	profile, ok := conn.SelectedSRTPProtectionProfile()
	suite := map[dtls.SRTPProtectionProfile]srtp.Suite{
		dtls.SRTP_AEAD_AES_128_GCM: srtp.AEADAES128GCM, dtls.SRTP_AEAD_AES_256_GCM: srtp.AEADAES256GCM,
		dtls.SRTP_AES128_CM_HMAC_SHA1_80: srtp.AESCM128HMACSHA180,
	}[profile]
	if !ok || suite == 0 {
		return nil, errNoProfile
	}
	state, ok := conn.ConnectionState()
	if !ok {
		return nil, errNoProfile
	}
	key, salt := suite.Sizes()
	b, err := state.ExportKeyingMaterial("EXTRACTOR-dtls_srtp", nil, 2*(key+salt))
	if err != nil {
		return nil, fmt.Errorf("keys of a browser: %w", err)
	}
	ours, theirs := srtp.KeyFrom(suite, b[key:2*key], b[2*key+salt:]), srtp.KeyFrom(suite, b[:key], b[2*key:2*key+salt])
	if client {
		ours, theirs = theirs, ours
	}
	return srtp.NewSession(ours, theirs), nil
}

// take brings a datagram; when nobody reads, it is lost and will be repeated.
func (a *association) take(b []byte) { _, _ = a.buffer.Write(b, nil) }

func (a *association) end() { _ = a.buffer.Close() } // always nil

func (a *association) remote() net.Addr { return net.UDPAddrFromAddrPort(a.leg.Remote()) }

// ReadFrom waits for a datagram.
func (a *association) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := a.buffer.Read(b, nil)
	return n, a.remote(), err //nolint:wrapcheck // dtls looks for its time-outs
}

// WriteTo sends to where the browser is now.
func (a *association) WriteTo(b []byte, _ net.Addr) (int, error) {
	if p := a.leg.selected.Load(); p != nil && !a.leg.shut.Load() {
		p.via.Send(b, p.remote, webrtc.Signal)
	}
	return len(b), nil
}

// Close ends reading.
func (a *association) Close() error { return a.buffer.Close() } //nolint:wrapcheck // always nil

// LocalAddr is asked for by dtls in its logs.
func (a *association) LocalAddr() net.Addr {
	if p := a.leg.selected.Load(); p != nil {
		return net.UDPAddrFromAddrPort(p.via.Local())
	}
	return &net.UDPAddr{}
}

// SetDeadline is SetReadDeadline: writing does not wait.
func (a *association) SetDeadline(t time.Time) error { return a.buffer.SetReadDeadline(t) } //nolint:wrapcheck // as Close

// SetReadDeadline ends a read.
func (a *association) SetReadDeadline(t time.Time) error { return a.buffer.SetReadDeadline(t) } //nolint:wrapcheck // as Close

// SetWriteDeadline does nothing: writing does not wait.
func (a *association) SetWriteDeadline(time.Time) error { return nil }
