package appliance_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linehall/cmd/linesim/appliance"
)

func TestTheSocketGivesActiveTerminalsWithSecrets(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/terminals", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"terminals": []map[string]any{
			{"extension": "8001", "site": "hq", "state": "active"}, {"extension": "8002", "site": "hq", "state": "spare"},
		}})
	})
	mux.HandleFunc("GET /api/v1/terminals/8001", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("secrets") != "true" {
			t.Error("secrets not asked for")
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"extension": "8001", "auth_user": "8001", "password": "p", "server": "127.0.0.1", "udp_port": 5060})
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 0}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })

	got, err := appliance.FromSocket(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	want := []appliance.Terminal{{Extension: "8001", Site: "hq", State: "active", AuthUser: "8001", Password: "p", Server: "127.0.0.1", UDPPort: 5060}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	addr, err := got[0].Resolve(t.Context(), "udp", "")
	if err != nil || addr != netip.MustParseAddrPort("127.0.0.1:5060") {
		t.Errorf("resolved %v, %v", addr, err)
	}
	if _, err := got[0].Resolve(t.Context(), "tls", ""); err == nil {
		t.Error("a missing TLS port went unnoticed")
	}
}

func TestAFileWithoutPasswordsIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.json")
	if err := os.WriteFile(path, []byte(`{"terminals": [{"extension": "8001"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := appliance.FromFile(path); err == nil || !strings.Contains(err.Error(), "8001") {
		t.Errorf("got %v", err)
	}
}

func TestDevicesGetAddressesInsideTheirSite(t *testing.T) {
	binds, err := appliance.ParseBinds([]string{"tiny=127.0.9.0/28"})
	if err != nil {
		t.Fatal(err)
	}
	server := netip.MustParseAddr("127.0.0.1")
	b := appliance.For(server, binds)
	for i, want := range []string{"127.0.2.11", "127.0.2.12"} {
		got, err := b.Next("branch2", server)
		if err != nil || got.String() != want {
			t.Errorf("address %d of branch2 is %v (%v), want %s", i, got, err, want)
		}
	}
	for range 4 {
		if _, err := b.Next("tiny", server); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := b.Next("tiny", server); err == nil {
		t.Errorf("a fifth host in a /28 that starts at 10: %s", got)
	}
	if _, err := appliance.ParseBinds([]string{"branch1"}); err == nil {
		t.Error("a pair without subnet was taken")
	}
}
