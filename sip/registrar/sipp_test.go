package registrar_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"linehall/sip/location"
	"linehall/sip/registrar"
	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

// TestSIPp lets an independent SIP implementation register 240 phones.
func TestSIPp(t *testing.T) {
	path, err := exec.LookPath("sipp")
	if err != nil {
		t.Skip("sipp is not installed (package sip-tester)")
	}
	for name, mode := range map[string]string{stack.UDP: "u1", stack.TCP: "t1"} {
		t.Run(name, func(t *testing.T) {
			a := run(t, nil)
			dir := t.TempDir()
			var users strings.Builder
			users.WriteString("SEQUENTIAL\n")
			const many = 240
			for i := range many {
				ext := 8000 + i
				if i == 100 || i == 101 { // another algorithm, disabled
					ext += 150
				}
				fmt.Fprintf(&users, "%d;[authentication username=%d password=secret%d];\n", ext, ext, ext)
			}
			csv := filepath.Join(dir, "users.csv")
			if err := os.WriteFile(csv, []byte(users.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			scenario, err := filepath.Abs("testdata/register.xml")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, path, a.addr(name).String(), "-sf", scenario, "-inf", csv, "-t", mode, //nolint:gosec // our own arguments
				"-i", "127.0.0.1", "-m", fmt.Sprint(many), "-r", "240", "-l", fmt.Sprint(many), "-nostdin", "-timeout", "50s", "-timeout_error")
			cmd.Dir = dir
			began := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("sipp: %v\n%s", err, out)
			}
			t.Logf("%d registered in %s", a.loc.Len(), time.Since(began))
			if n := a.loc.Len(); n != many {
				t.Errorf("%d of %d are registered", n, many)
			}
		})
	}
}

func TestRegisterOverTLS(t *testing.T) {
	server, client := certificates(t)
	a := run(t, func(so *stack.Options, _ *registrar.Options, _ *location.Options) {
		so.TLS = server
		so.Listen = append(so.Listen, stack.Listen{Transport: stack.TLS, Address: "127.0.0.1:0"})
	})
	ph := newPhone(t, stacktest.DialTLS(t, a.addr(stack.TLS), client), "8060")
	if m := ph.register("Contact: " + strings.Replace(ph.contact(), ">", ";transport=tls>", 1)); m.Code != 200 {
		t.Fatal(m.Raw)
	}
	b := a.loc.Lookup("8060@" + domain)
	if len(b) != 1 || b[0].Flow.Transport != stack.TLS || b[0].Flow.Remote != ph.Local || !a.Alive(b[0].Flow) {
		t.Errorf("bound as %+v", b)
	}
	wrong := newPhone(t, stacktest.DialTLS(t, a.addr(stack.TLS), client), "8061")
	wrong.password = "x"
	if m := wrong.register("Contact: " + wrong.contact()); m.Code != 401 {
		t.Errorf("wrong password: %s", m.Start)
	}
}

func certificates(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	return server, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// TestRFC4475Registers sends the REGISTERs of RFC 4475 to a registrar of their
// domain; those that may be served are challenged, for we know none of their users.
func TestRFC4475Registers(t *testing.T) {
	a := run(t, func(_ *stack.Options, ro *registrar.Options, _ *location.Options) {
		ro.Aliases = []string{"example.com"}
	})
	source := byte(0)
	for name, want := range map[string]int{
		"escnull": 401, "dblreq": 401, "regaut01": 401, "cparam01": 401, "cparam02": 401, "regescrt": 401,
		"regbadct": 400, // § 3.1.2.13: a Contact that needs brackets
		"unksm2":   400, // § 3.3.4: To must be a SIP URI here
	} {
		raw, err := os.ReadFile(filepath.Join("..", "stack", "testdata", "rfc4475", name+".dat"))
		if err != nil {
			t.Fatal(err)
		}
		source++ // they share a branch: each comes from an address of its own
		p := stacktest.DialUDPFrom(t, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 44, 75, source}), 0), a.addr(stack.UDP))
		p.Write(string(raw))
		if m := p.Final(); m.Code != want {
			t.Errorf("%s: %s, want %d", name, m.Start, want)
		}
	}
}
