package test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"linehall/cmd/linesim/phone"
	"linehall/cmd/linesim/phone/phonetest"
)

// outsider is the number of a phone that is no extension of ours.
const outsider = "13800000000"

// providerTLS makes the certificate of a provider called localhost, and at further addresses, and writes its authority to
// a file.
func providerTLS(t *testing.T, file string, addresses ...net.IP) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}, IPAddresses: addresses,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
}

// A provider over TLS, with independent phones at both ends: we register over the connection and calls use it, both ways;
// a party outside is transferred to an extension, after the consultation and while the extension still rings; and where
// the trunk requires encrypted media, a call in clear never leaves.
func TestTrunkOverTLS(t *testing.T) {
	t.Parallel()
	const secret = "Kx7mPq2v"
	var tree settings
	var provider *phonetest.Proxy
	a := startAppliance(t, func(s settings, a *appliance) {
		tree = s
		authority := filepath.Join(a.dir, "provider.pem")
		provider = phonetest.Start(t, phonetest.Options{Password: secret, TLS: providerTLS(t, authority)})
		outsidePlan(s)
		s.set("dialplan.rules", []any{map[string]any{"name": "out", "match": "0.", "strip": 1, "trunks": []any{"provider"}}})
		s.set("trunks", []any{map[string]any{
			"name": "provider", "register": true, "auth": map[string]any{"user": "04715550000", "password": secret}, "ca_file": authority,
			"gateways": []any{map[string]any{"domain": fmt.Sprintf("localhost:%d", provider.TLS.Port()), "transport": "tls"}},
			"format":   "national", "dids": []any{map[string]any{"number": "04715550000", "to": "8002"}},
		}})
	})
	a.eventually(15*time.Second, "the trunk is registered over TLS", func() error {
		if g := a.trunks()["provider"]; g.State != "up" || !g.Gateways[0].Registered || !provider.Bound("04715550000") {
			return fmt.Errorf("%+v", g)
		}
		return nil
	})
	d := newDesks(t, a)
	first, second, third := d.at("8001", 31), d.at("8002", 32), d.at("8003", 33)
	far := d.registered(phone.Account{Extension: outsider, AuthUser: outsider, Password: secret, Domain: "localhost"}, provider.UDP, netip.MustParseAddr("127.0.9.9"))
	for _, p := range []*desk{first, second, third, far} {
		p.answers(phone.Reaction{})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	quiet := func() {
		t.Helper()
		a.eventually(10*time.Second, "no call is left", func() error {
			if calls, held := len(a.talking()), a.trunks()["provider"].Calls; calls != 0 || held != 0 {
				return fmt.Errorf("%d calls, %d over the trunk", calls, held)
			}
			return nil
		})
	}

	in, answered := far.talksTo("04715550000", second)
	talk(t, "from outside", in, answered)
	hangUp(t, answered, in)
	quiet()

	one, out := first.talksTo("0"+outsider, far)
	talk(t, "to outside", one, out)
	two, colleague := first.talksTo("8002", second)
	r, err := one.TransferTo(ctx, two.Call)
	told(t, r, err, 200)
	over(t, "transferred", one, two)
	talk(t, "transferred to 8002", out, colleague)
	if calls := a.trunks()["provider"].Calls; calls != 1 {
		t.Errorf("%d calls over the trunk after the transfer", calls)
	}
	hangUp(t, colleague, out)
	quiet()

	third.answers(phone.Reaction{RingFor: 1500 * time.Millisecond})
	one, out = first.talksTo("0"+outsider, far)
	for len(first.alerts) > 0 {
		<-first.alerts
	}
	before := len(third.taken())
	given := make(chan error, 1)
	go func() {
		_, err := first.Call(ctx, "8003", phone.Sound{Send: ownTone("8001")})
		given <- err
	}()
	ringing := <-first.alerts
	r, err = one.TransferTo(ctx, ringing)
	told(t, r, err, 200)
	var refused *phone.Refusal
	if err := <-given; !errors.As(err, &refused) || refused.Code != 487 {
		t.Errorf("the call that rang ended with %v, want 487", err)
	}
	over(t, "transferred while it rang", one)
	late := third.takes(before)
	talk(t, "transferred to 8003", out, late)
	hangUp(t, late, out)
	quiet()

	trunks, _ := tree["trunks"].([]any)
	trunks[0].(map[string]any)["srtp"] = "required"
	a.writeConfig(tree)
	if err := a.command.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	taken := len(far.taken())
	a.eventually(10*time.Second, "a call in clear is refused", func() error {
		c, err := first.Call(ctx, "0"+outsider, phone.Sound{})
		if err == nil { // the reload is still under way
			return errors.Join(errors.New("it was made"), c.Hangup(ctx))
		}
		taken = len(far.taken())
		if !errors.As(err, &refused) || refused.Code != 488 || !strings.Contains(err.Error(), "encrypted media is required") {
			return err
		}
		return nil
	})
	if _, err := first.Call(ctx, "0"+outsider, phone.Sound{}); err == nil || len(far.taken()) != taken {
		t.Errorf("in clear over a trunk that requires encryption: %v, %d calls outside", err, len(far.taken())-taken)
	}
}

// A trunk that requires encryption, with a gateway over TLS that is baresip: SRTP from phone to gateway, with keys that
// only TLS carried; the tone spoken at one end is heard at the other, both ways.
func TestEncryptedTrunk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "branch1")
	w.shape("branch1", 2_000_000)
	dir := t.TempDir()
	address, authority, pair := w.address("hq"), filepath.Join(dir, "gateway.pem"), filepath.Join(dir, "pair.pem")
	cert := providerTLS(t, authority, net.ParseIP(address)).Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})...)
	if err := os.WriteFile(pair, both, 0o600); err != nil {
		t.Fatal(err)
	}
	gateway := startBaresip(t, w, "hq", account{Extension: outsider, CAFile: authority}, highTone, "sip_certificate "+pair+"\n",
		fmt.Sprintf("<sip:%s@%s;transport=tls>;regint=0;answermode=auto;audio_codecs=pcma;mediaenc=srtp-mand", outsider, address))
	a := startAppliance(t, w.configure, func(s settings, _ *appliance) {
		s.set("dialplan.rules", []any{map[string]any{"name": "out", "match": "0.", "strip": 1, "trunks": []any{"gateway"}}})
		s.set("trunks", []any{map[string]any{
			"name": "gateway", "probe": "0s", "format": "national", "srtp": "required", "ca_file": authority,
			"gateways": []any{map[string]any{"address": fmt.Sprintf("%s:%d", address, gateway.port+1), "transport": "tls"}},
		}})
	})
	acc := a.account("2001")
	caller := startBaresip(t, w, "branch1", acc, lowTone, "", fmt.Sprintf(
		"<sip:%s@%s;transport=tls>;auth_user=%s;auth_pass=%s;outbound=\"sip:%s:%d;transport=tls\";answermode=auto;audio_codecs=pcma;regint=120;mediaenc=srtp-mand",
		acc.Extension, acc.Domain, acc.AuthUser, acc.Password, acc.Server, acc.TLSPort))
	caller.registeredAt(a, "tls")
	caller.do("dial", "sip:0"+outsider+"@"+acc.Domain)
	caller.hears(highTone)
	gateway.hears(lowTone)
	var list struct {
		Calls []struct {
			SRTP bool   `json:"srtp"`
			Path string `json:"path"`
		} `json:"calls"`
	}
	a.decode(&list, "call", "list")
	if len(list.Calls) != 1 || !list.Calls[0].SRTP || list.Calls[0].Path != "relay" && list.Calls[0].Path != "kernel" {
		t.Errorf("calls: %+v", list.Calls)
	}
	caller.do("hangup", "")
	a.eventually(5*time.Second, "the call is over", func() error {
		if n := len(a.talking()); n != 0 {
			return fmt.Errorf("%d calls", n)
		}
		return nil
	})
}
