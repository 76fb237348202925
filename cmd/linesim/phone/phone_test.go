package phone_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"linehall/cmd/linesim/phone"
	"linehall/cmd/linesim/phone/phonetest"
	"linehall/cmd/linesim/tone"
	"linehall/cmd/linesim/voice"
)

const password = "Kx7mPq2v"

// world is a proxy, a media engine and phones that live as long as the test.
type world struct {
	t     *testing.T
	proxy *phonetest.Proxy
	media *voice.Engine
	roots *x509.CertPool
}

// patience is how long something may take on a machine that is busy with other things.
const patience = 30 * time.Second

func newWorld(t *testing.T, opts phonetest.Options) *world {
	t.Helper()
	w := &world{t: t, media: voice.NewEngine(voice.DefaultTick)}
	opts.Password = password
	opts.TLS, w.roots = serverTLS(t)
	w.proxy = phonetest.Start(t, opts)
	w.run(w.media.Run)
	return w
}

func (w *world) run(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
}

func (w *world) phone(extension, bind string, transport phone.Transport, change func(*phone.Config)) *phone.Phone {
	w.t.Helper()
	cfg := phone.Config{
		Account:   phone.Account{Extension: extension, AuthUser: extension, Password: password, Domain: "linehall.test"},
		Server:    map[phone.Transport]netip.AddrPort{phone.UDP: w.proxy.UDP, phone.TCP: w.proxy.TCP, phone.TLS: w.proxy.TLS}[transport],
		Transport: transport, Bind: netip.MustParseAddr(bind), Media: w.media,
		TLS: &tls.Config{RootCAs: w.roots, ServerName: "linehall.test", MinVersion: tls.VersionTLS12},
	}
	if change != nil {
		change(&cfg)
	}
	p, err := phone.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.run(p.Run)
	return p
}

func (w *world) registered(phones ...*phone.Phone) {
	w.t.Helper()
	for _, p := range phones {
		select {
		case <-p.Registered():
		case <-time.After(patience):
			w.t.Fatalf("%s not registered: %v", p.Extension(), p.Status().Err)
		}
	}
}

func TestPhonesRegisterTalkAndHangUp(t *testing.T) {
	for _, transport := range []phone.Transport{phone.UDP, phone.TCP, phone.TLS} {
		for _, algorithm := range []string{"MD5", "SHA-256"} {
			t.Run(string(transport)+" "+algorithm, func(t *testing.T) {
				w := newWorld(t, phonetest.Options{Algorithm: algorithm})
				answered := make(chan *phone.Call, 1)
				a := w.phone("8001", "127.0.0.11", transport, nil)
				b := w.phone("2001", "127.0.1.11", transport, func(c *phone.Config) {
					c.Answer = func(r phone.Ring) phone.Reaction {
						return phone.Reaction{RingFor: 300 * time.Millisecond, Sound: phone.Sound{Send: tone.Frequency(2), Expect: tone.Frequency(1)}}
					}
					c.OnCall = func(call *phone.Call) { answered <- call }
				})
				w.registered(a, b)
				call, err := a.Call(t.Context(), "2001", phone.Sound{Send: tone.Frequency(1), Expect: tone.Frequency(2)})
				if err != nil {
					t.Fatal(err)
				}
				far := <-answered
				hearBoth(t, call, far)
				if call.Alerted.IsZero() || call.Requests != 2 {
					t.Errorf("alerted %v, INVITEs %d", call.Alerted, call.Requests)
				}
				if err := call.Hangup(t.Context()); err != nil {
					t.Fatal(err)
				}
				<-far.Done()
				if call.Ended() != phone.ByUs || far.Ended() != phone.ByPeer {
					t.Errorf("ended %q and %q", call.Ended(), far.Ended())
				}
			})
		}
	}
}

func hearBoth(t *testing.T, calls ...*phone.Call) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for _, c := range calls {
		for c.Stats().Windows < 4 {
			if time.Now().After(deadline) {
				t.Fatalf("call with %s: only %d packets", c.Peer(), c.Stats().Received)
			}
			time.Sleep(5 * time.Millisecond)
		}
		if s := c.Stats(); !s.Heard {
			t.Errorf("call with %s: tone in %d of %d windows", c.Peer(), s.HeardParts, s.Windows)
		}
	}
}

func TestTheCalleeMayHangUp(t *testing.T) {
	w := newWorld(t, phonetest.Options{})
	answered := make(chan *phone.Call, 1)
	a := w.phone("8001", "127.0.0.11", phone.UDP, nil)
	b := w.phone("2001", "127.0.1.11", phone.UDP, func(c *phone.Config) { c.OnCall = func(call *phone.Call) { answered <- call } })
	w.registered(a, b)
	call, err := a.Call(t.Context(), "2001", phone.Sound{})
	if err != nil {
		t.Fatal(err)
	}
	if err := (<-answered).Hangup(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-call.Done()
	if call.Ended() != phone.ByPeer {
		t.Errorf("ended %q", call.Ended())
	}
}

func TestRefusalsKeepTheirCode(t *testing.T) {
	w := newWorld(t, phonetest.Options{})
	a := w.phone("8001", "127.0.0.11", phone.UDP, nil)
	b := w.phone("2001", "127.0.1.11", phone.UDP, func(c *phone.Config) {
		c.Answer = func(phone.Ring) phone.Reaction { return phone.Reaction{Code: 486} }
	})
	w.registered(a, b)
	for number, want := range map[string]int{"2001": 486, "2999": 404} {
		_, err := a.Call(t.Context(), number, phone.Sound{})
		var refused *phone.Refusal
		if !errors.As(err, &refused) || refused.Code != want {
			t.Errorf("%s: %v, want %d", number, err, want)
		}
	}
}

func TestACallerGivesUp(t *testing.T) {
	w := newWorld(t, phonetest.Options{})
	ringing := make(chan struct{})
	a := w.phone("8001", "127.0.0.11", phone.UDP, nil)
	b := w.phone("2001", "127.0.1.11", phone.UDP, func(c *phone.Config) {
		c.Answer = func(phone.Ring) phone.Reaction {
			close(ringing)
			return phone.Reaction{RingFor: -1}
		}
	})
	w.registered(a, b)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-ringing
		cancel()
	}()
	if _, err := a.Call(ctx, "2001", phone.Sound{}); !errors.Is(err, phone.ErrCancelled) {
		t.Errorf("got %v, want cancelled", err)
	}
}

func TestHoldStopsTheSoundAndResumeBringsItBack(t *testing.T) {
	w := newWorld(t, phonetest.Options{})
	answered := make(chan *phone.Call, 1)
	a := w.phone("8001", "127.0.0.11", phone.UDP, nil)
	b := w.phone("2001", "127.0.1.11", phone.UDP, func(c *phone.Config) { c.OnCall = func(call *phone.Call) { answered <- call } })
	w.registered(a, b)
	call, err := a.Call(t.Context(), "2001", phone.Sound{})
	if err != nil {
		t.Fatal(err)
	}
	far := <-answered
	if err := call.Hold(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if !far.Held() {
		t.Error("the callee was not told")
	}
	before := call.Stats().Received
	if err := call.Hold(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if far.Held() {
		t.Error("still held after resuming")
	}
	deadline := time.Now().Add(patience)
	for call.Stats().Received < before+10 {
		if time.Now().After(deadline) {
			t.Fatal("no sound after resuming")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestAWrongPasswordIsToldAndNotRepeatedWithin(t *testing.T) {
	w := newWorld(t, phonetest.Options{})
	p := w.phone("8001", "127.0.0.11", phone.UDP, func(c *phone.Config) { c.Password = "wrong" })
	deadline := time.Now().Add(patience)
	for p.Status().Failures == 0 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	var refused *phone.Refusal
	if err := p.Status().Err; !errors.As(err, &refused) || refused.Code != 401 {
		t.Errorf("status %+v", p.Status())
	}
	if n := w.proxy.Challenges(); n != 2 {
		t.Errorf("challenged %d times, want the first and the refusal", n)
	}
}

func TestRegistrationsAreRefreshedAndEnded(t *testing.T) {
	w := newWorld(t, phonetest.Options{Expires: 2})
	ctx, cancel := context.WithCancel(t.Context())
	p, err := phone.New(phone.Config{
		Account: phone.Account{Extension: "8001", AuthUser: "8001", Password: password, Domain: "linehall.test"},
		Server:  w.proxy.UDP, Transport: phone.UDP, Bind: netip.MustParseAddr("127.0.0.11"), Media: w.media,
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	deadline := time.Now().Add(patience)
	for w.proxy.Registrations("8001") < 3 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if n := w.proxy.Challenges(); n != 1 {
		t.Errorf("%d challenges: refreshes must reuse the nonce with a rising count", n)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if w.proxy.Bound("8001") {
		t.Error("still bound after the phone was switched off")
	}
}

// serverTLS makes a certificate for linehall.test.
func serverTLS(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"linehall.test"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}, roots
}

// After a transfer somebody else talks: what is sent and expected changes while the call goes on.
func TestTonesChangeDuringACall(t *testing.T) {
	w := newWorld(t, phonetest.Options{})
	answered := make(chan *phone.Call, 1)
	a := w.phone("8001", "127.0.0.11", phone.UDP, nil)
	b := w.phone("2001", "127.0.1.11", phone.UDP, func(c *phone.Config) { c.OnCall = func(call *phone.Call) { answered <- call } })
	w.registered(a, b)
	call, err := a.Call(t.Context(), "2001", phone.Sound{Send: 500})
	if err != nil {
		t.Fatal(err)
	}
	far := <-answered
	for _, sound := range []phone.Sound{{Send: 700, Expect: 900}, {Send: 1100, Expect: 600}} {
		far.Expect(phone.Sound{Send: sound.Expect, Expect: sound.Send})
		call.Expect(sound)
		deadline := time.Now().Add(patience)
		for s := call.Stats(); !s.Heard || s.Windows < 4; s = call.Stats() {
			if time.Now().After(deadline) {
				t.Fatalf("tone in %d of %d windows", s.HeardParts, s.Windows)
			}
			if s.Windows >= 4 { // the tone before was still under way
				call.Expect(sound)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	call.Expect(phone.Sound{Send: 1100, Expect: 2000})
	for call.Stats().Windows < 4 {
		time.Sleep(5 * time.Millisecond)
	}
	if call.Stats().Heard {
		t.Error("a tone is heard that nobody sends")
	}
	if err := call.Hangup(t.Context()); err != nil {
		t.Fatal(err)
	}
	call.Expect(phone.Sound{}) // of no effect
}
