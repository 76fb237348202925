package serve_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"linehall/internal/pki"
)

// TestAPhoneTrustsWhatTheBootstrapGaveIt walks the chain of trust: the root
// comes by plain HTTP, and with nothing but that root the phone accepts the
// listener that has its secrets.
func TestAPhoneTrustsWhatTheBootstrapGaveIt(t *testing.T) {
	authority, err := pki.Open(t.TempDir(), pki.Options{
		Domain: "linehall.test", Addresses: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} },
	})
	must(t, err)
	x := newExchange(t)
	x.ca = authority.PhoneRootPEM
	settings := x.settings(x.get(branch, x.plain+"/"+oursFile))
	root := x.get(branch, strings.Replace(settings["static.trusted_certificates.url"], "http://127.0.0.1:8080", x.plain, 1))
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(root.body)) {
		t.Fatalf("no certificate: %q", root.body)
	}
	for name, config := range map[string]*tls.Config{"console": authority.ServerTLS(), "phones": authority.PhoneTLS()} {
		listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
		must(t, err)
		// httptest's own TLS would add its certificate for clients without SNI, as phones are.
		server := httptest.NewUnstartedServer(x.server.Secure())
		must(t, server.Listener.Close())
		server.Listener = listener
		server.Start()
		client := &http.Client{
			Timeout: 10 * time.Second,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{
				RootCAs: pool, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, // what phones have
			}},
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+listener.Addr().String()+"/prov/ca.crt", nil)
		must(t, err)
		response, err := client.Do(request)
		if err != nil {
			t.Errorf("%s: the phone does not trust the listener: %v", name, err)
		} else {
			must(t, response.Body.Close())
		}
		client.CloseIdleConnections()
		server.Close()
	}
}
