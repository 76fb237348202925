package yealink_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linehall/cmd/linesim/yealink"
)

const head = "#!version:1.0.0.1\n"

func TestAPhoneGoesFromBootstrapToItsOwnAccount(t *testing.T) {
	var asked []string
	log := func(r *http.Request) { asked = append(asked, r.URL.Path) }
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log(r)
		switch r.URL.Path {
		case "/prov/805ec058c711.cfg":
			fmt.Fprintf(w, head+"static.auto_provision.server.url = https://%s/prov/t/abc/\naccount.1.enable = 1\naccount.1.user_name = 8001\n"+
				"account.1.password = secret#1\naccount.1.sip_server.1.address = linehall.test\n", r.Host)
		case "/prov/t/abc/805ec058c711.cfg":
			fmt.Fprint(w, head+"account.1.outbound_proxy_enable = 1\naccount.1.outbound_proxy.1.address = 10.0.0.10\naccount.1.outbound_proxy.1.port = 5061\n"+
				"account.1.sip_server.1.transport_type = 2\naccount.1.auth_name = %NULL%\n")
		default:
			http.NotFound(w, r)
		}
	}))
	defer secure.Close()
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log(r)
		switch r.URL.Path {
		case "/y000000000096.cfg":
			fmt.Fprint(w, head+"lang.gui = English\n# comment\n")
		case "/805ec058c711.cfg":
			if !strings.HasSuffix(r.UserAgent(), "80:5e:c0:58:c7:11") {
				t.Errorf("user agent %q", r.UserAgent())
			}
			fmt.Fprintf(w, head+"static.auto_provision.server.url = %s/prov/\nstatic.trusted_certificates.url = http://%s/ca.crt\n", secure.URL, r.Host)
		case "/ca.crt":
			_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
		default:
			http.NotFound(w, r)
		}
	}))
	defer plain.Close()
	result, err := yealink.Device{MAC: "80:5E:C0:58:C7:11", URL: plain.URL}.Provision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	account, err := result.Config.Account(1)
	want := yealink.Account{
		User: "8001", AuthUser: "8001", Password: "secret#1", Domain: "linehall.test", Server: "10.0.0.10", Port: 5061, Transport: "tls", Expires: 3600,
	}
	if diff := cmp.Diff(want, account); err != nil || diff != "" {
		t.Error(err, diff)
	}
	order := []string{"/805ec058c711.boot", "/y000000000000.boot", "/y000000000096.cfg", "/805ec058c711.cfg", "/ca.crt"}
	if diff := cmp.Diff(order, asked[:len(order)]); diff != "" {
		t.Error(diff)
	}
}

func TestABootFileReplacesTheUsualOrder(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/y000000000000.boot":
			fmt.Fprint(w, head+"include:config \"a.cfg\"\ninclude:config <b.cfg>\noverwrite_mode = 1\n")
		case "/a.cfg":
			fmt.Fprint(w, head+"x = 1\ny = 1\n")
		case "/b.cfg":
			fmt.Fprint(w, head+"y = 2\n")
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	result, err := yealink.Device{MAC: "805ec058c711", URL: server.URL}.Provision(t.Context())
	if err != nil || result.Config["x"] != "1" || result.Config["y"] != "2" {
		t.Errorf("%v, %v", result.Config, err)
	}
	if _, err := result.Config.Account(1); !errors.Is(err, yealink.ErrNoAccount) {
		t.Errorf("account: %v", err)
	}
}

func TestWhatAPhoneRejects(t *testing.T) {
	for name, text := range map[string]string{
		"no version": "account.1.enable = 1\n", "blank before version": "\n" + head, "no equals sign": head + "account\n", "space in key": head + "a b = 1\n",
	} {
		if err := (yealink.Config{}).Parse([]byte(text)); !errors.Is(err, yealink.ErrGrammar) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnknownPhonesAreToldApart(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for name, device := range map[string]yealink.Device{
		"mac": {MAC: "12", URL: server.URL}, "model": {MAC: "805ec058c711", Model: "T1000", URL: server.URL}, "nothing": {MAC: "805ec058c711", URL: server.URL},
	} {
		if _, err := device.Provision(t.Context()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(head + "a = b\n#c\nd = %NULL%\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := yealink.Config{}
		if c.Parse([]byte(text)) != nil {
			return
		}
		for key := range c {
			if key == "" || strings.ContainsAny(key, " \t\n=") {
				t.Errorf("key %q", key)
			}
		}
	})
}
