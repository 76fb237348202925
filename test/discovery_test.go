package test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// branchPhones are phones of every brand at branch1, as unpackedPhones are at headquarters.
func branchPhones() []unpackedPhone {
	var phones []unpackedPhone
	for _, p := range unpackedPhones() {
		if p.brand == "snom" {
			p.find = "dhcp" // to have option 43 read as well
		}
		p.mac, p.extension = p.mac[:9]+"b1"+p.mac[11:], "2"+p.extension[1:]
		phones = append(phones, p)
	}
	return phones
}

// The site's DHCP server has what `terminal dhcp` writes for it, and phones of every brand that ask it find the appliance,
// fetch, enrol and register; a factory-fresh one that asks by multicast does so too.
func TestPhonesFindTheirFilesByDHCPAndMulticast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "branch1")
	a := startAppliance(t, w.configure, func(s settings, a *appliance) {
		s.set("listen.tftp", ":69")
		a.ports.tftp = 69
		s.set("terminals.ntp", []any{"10.98.1.1"})
		s.set("terminals.overrides", []any{map[string]any{"extension": "2076", "plain_secrets": true}})
		a.addPhones("branch1", branchPhones())
	})
	a.run("terminal", "open", "--site", "branch1")
	piece := filepath.Join(a.dir, "phones.conf")
	if err := os.WriteFile(piece, []byte(a.run("terminal", "dhcp", "--site", "branch1", "--address", "10.98.1.1", "--format", "dnsmasq")), 0o600); err != nil {
		t.Fatal(err)
	}
	server := startCommand(t, a.dir, commandAt(w.box, "dnsmasq", "--keep-in-foreground", "--conf-file="+piece, "--pid-file=", "--user=root", "--port=0",
		"--log-facility=-", "--bind-interfaces", "--interface="+w.links["branch1"].Device(w.box), "--dhcp-range=10.98.1.100,10.98.1.200,1h",
		"--dhcp-leasefile="+filepath.Join(a.dir, "leases"), "--dhcp-authoritative", "--no-ping"))
	a.eventually(5*time.Second, "dnsmasq serves", func() error {
		if !strings.Contains(server.output.String(), "DHCP, IP range") {
			return fmt.Errorf("it says: %s", server.output.String())
		}
		return nil
	})
	device := w.links["branch1"].Device(w.sites["branch1"])
	phones := map[string]*process{}
	unpack := func(i int, p unpackedPhone, find ...string) {
		at := fmt.Sprintf("10.98.1.%d", 20+i)
		w.sites["branch1"].Address(device, at+"/24")
		phones[p.extension] = startCommand(t, ".", commandAt(w.sites["branch1"], repository+"/bin/linesim", append([]string{
			"phone", "--once", "--brand", p.brand, "--model", p.model, "--mac", p.mac, "--bind", at, "--interface", device,
		}, find...)...))
	}
	for i, p := range branchPhones() {
		if p.find == "pnp" {
			unpack(i, p, "--find", "pnp")
			continue
		}
		unpack(i, p, "--find", "dhcp")
	}
	for extension, p := range phones {
		a.eventually(30*time.Second, extension+" is registered", func() error {
			if out := p.output.String(); !strings.Contains(out, extension+" registered") {
				return fmt.Errorf("it says: %s", out)
			}
			return nil
		})
	}
	if log := server.output.String(); strings.Count(log, "DHCPACK") < 7 {
		t.Errorf("the DHCP server gave %d leases:\n%s", strings.Count(log, "DHCPACK"), log)
	}
	for extension, scheme := range map[string]string{"2076": "http://10.98.1.1:8080/spa504G.cfg", "2074": "http://10.98.1.1:8080/", "2077": "http://10.98.1.1:8080/000000000000.cfg"} {
		if out := phones[extension].output.String(); !strings.Contains(out, "GET "+scheme) {
			t.Errorf("%s did not ask %s:\n%s", extension, scheme, out)
		}
	}

	// The clients of others get the same bytes by TFTP, in blocks of their size: several blocks, the last one short.
	const file = "64167fb10007-user.cfg"
	want, _, err := a.outside(w, "curl", "-s", "http://10.98.1.1:8080/"+file)
	if err != nil || len(want) < 2000 {
		t.Fatalf("by HTTP: %d bytes, %v", len(want), err)
	}
	for _, client := range [][]string{
		{"curl", "-s", "tftp://10.98.1.1/" + file},
		{"curl", "-s", "--tftp-blksize", "1400", "tftp://10.98.1.1/" + file},
		{"curl", "-s", "--tftp-no-options", "tftp://10.98.1.1/" + file},
		{"sh", "-c", "cd " + a.dir + " && tftp -m binary 10.98.1.1 69 -c get " + file + " got >&2 && cat got"},
	} {
		got, errOut, err := a.outside(w, client...)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %d bytes, want %d: %v %s", client, len(got), len(want), err, errOut)
		}
	}
	for _, name := range []string{"../linehall.db", "..%2flinehall.db", "/etc/passwd", "linehall.db", "no.cfg"} {
		if got, _, err := a.outside(w, "curl", "-s", "--path-as-is", "tftp://10.98.1.1/"+name); err == nil || len(got) > 0 {
			t.Errorf("%s was served by TFTP: %d bytes", name, len(got))
		}
	}
	if _, errOut, _ := a.outside(w, "sh", "-c", "cd "+a.dir+" && tftp -m binary 10.98.1.1 69 -c put linehall.yaml spa504G.cfg; cat"); strings.Contains(string(errOut), "Sent") {
		t.Errorf("a file was taken by TFTP: %s", errOut)
	}
}

// outside runs a program at branch1.
func (a *appliance) outside(w *world, command ...string) (stdout, stderr []byte, err error) {
	c := commandAt(w.sites["branch1"], command[0], command[1:]...)
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	err = c.Run()
	return out.Bytes(), errOut.Bytes(), err
}

// addPhones writes rows for phones out of their boxes.
func (a *appliance) addPhones(site string, phones []unpackedPhone) {
	a.t.Helper()
	list := filepath.Join(a.dir, "terminals.csv")
	rows, err := os.ReadFile(list)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, p := range phones {
		if !bytes.Contains(rows, []byte(","+p.extension+",")) {
			rows = fmt.Appendf(rows, "%s,%s,%s,%s,新话机,,active,\n", p.mac, p.model, site, p.extension)
			continue
		}
		lines := strings.Split(string(rows), "\n")
		for i, line := range lines {
			if strings.Contains(line, ","+p.extension+",") {
				lines[i] = fmt.Sprintf("%s,%s,%s,%s,新话机,,active,", p.mac, p.model, site, p.extension)
			}
		}
		rows = []byte(strings.Join(lines, "\n"))
	}
	if err := os.WriteFile(list, rows, 0o600); err != nil {
		a.t.Fatal(err)
	}
}
