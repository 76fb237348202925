package discovery_test

import (
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linehall/provisioning/discovery"
	"linehall/provisioning/phone"
)

var update = flag.Bool("update", false, "write the golden files")

func branch1() discovery.Network {
	return discovery.Network{
		Site: "branch1", Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.20.0/24")}, Server: netip.MustParseAddr("10.1.0.10"), Base: "http://10.1.0.10:8080/",
		TFTP: true, NTP: []netip.Addr{netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.2")}, VLAN: 20, VLANPriority: 5,
	}
}

func TestPieces(t *testing.T) {
	for _, format := range discovery.Formats() {
		got, err := discovery.Write(discovery.Format(format), branch1())
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", "branch1."+format)
		if *update {
			if err := os.WriteFile(golden, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
}

// The servers themselves read what is for them.
func TestServersAcceptTheirPieces(t *testing.T) {
	bare := discovery.Network{Site: "hq", Subnets: branch1().Subnets, Server: branch1().Server, Base: "http://10.1.0.10:8080/", NUL: true}
	for _, tc := range []struct {
		format  discovery.Format
		command string
		args    func(file string) []string
	}{
		{discovery.Dnsmasq, "dnsmasq", func(file string) []string { return []string{"--test", "--conf-file=" + file} }},
		{discovery.Kea, "kea-dhcp4", func(file string) []string { return []string{"-t", file} }},
		{discovery.ISC, "dhcpd", func(file string) []string { return []string{"-t", "-cf", file} }},
	} {
		path, err := exec.LookPath(tc.command)
		if err != nil {
			if path = "/usr/sbin/" + tc.command; exec.CommandContext(t.Context(), path, "-v").Run() != nil {
				t.Logf("%s is not installed: its piece is compared with the golden file only", tc.command)
				continue
			}
		}
		for _, n := range []discovery.Network{branch1(), bare} {
			content, err := discovery.Write(tc.format, n)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "piece")
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), path, tc.args(file)...).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", tc.command, err, out)
			}
		}
	}
}

// There is no Windows here: every line must have the form of a command that is known, with its quotes closed.
func TestWindowsLines(t *testing.T) {
	content, err := discovery.Write(discovery.Windows, branch1())
	if err != nil {
		t.Fatal(err)
	}
	forms := regexp.MustCompile(`^(#.*|\$ErrorActionPreference = 'Stop'|` +
		`Add-DhcpServerv4OptionDefinition -OptionId [0-9]+ -Name '[^']+' -Type (String|IPv4Address -MultiValued) -ErrorAction SilentlyContinue|` +
		`Add-DhcpServerv4Class -Name '[^']+' -Type Vendor -Data '[^']+' -ErrorAction SilentlyContinue|` +
		`Add-DhcpServerv4Policy -ScopeId [0-9.]+ -Name '[^']+' -Condition OR( -VendorClass EQ(,'[^']+')+)?( -MacAddress EQ(,'[0-9A-F]{6}\*')+)?|` +
		`Set-DhcpServerv4OptionValue -ScopeId [0-9.]+ -PolicyName '[^']+' -OptionId [0-9]+ -Value ('[^']*'(,'[^']*')*|0x[0-9a-f]{2}(,0x[0-9a-f]{2})*))?$`)
	for line := range strings.SplitSeq(strings.ReplaceAll(string(content), "\r\n", "\n"), "\n") {
		if !forms.MatchString(line) {
			t.Errorf("line %q", line)
		}
	}
}

func TestWhatCannotBeWritten(t *testing.T) {
	if _, err := discovery.Write("bootp", branch1()); err == nil {
		t.Error("an unknown format was written")
	}
	long := branch1()
	long.Base = "http://" + strings.Repeat("a", 250) + "/"
	if _, err := discovery.Write(discovery.Kea, long); err == nil {
		t.Error("an option of more than 255 bytes was written")
	}
}

func TestPnPAddresses(t *testing.T) {
	for brand, want := range map[string]string{
		phone.Snom: "http://h/", phone.Grandstream: "http://h/", phone.Fanvil: "http://h/0c383e000001.cfg", phone.Yealink: "http://h/", "unheard": "http://h/",
	} {
		if got := discovery.PnP(brand, "http://h/", "0c:38:3e:00:00:01"); got != want {
			t.Errorf("%s: %s, want %s", brand, got, want)
		}
	}
}
