package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// 120 phones of all brands, spread over the sites, are unpacked in the same moment and find the appliance by DHCP options (also
// those that mean TFTP) and by PnP; then the power fails, and all come back at once, fetch by HTTPS and register.
func TestSoakAHundredAndTwentyPhonesAfterAPowerCut(t *testing.T) {
	if os.Getenv("LINEHALL_SOAK") == "" {
		t.Skip("120 phones at once want the whole machine: runs in `make soak`")
	}
	a := startAppliance(t, func(s settings, a *appliance) { writeFleet(t, s, a, 120) })
	for _, site := range []string{"hq", "branch1", "branch2", "branch3", "branch4", "branch5"} {
		a.run("terminal", "open", "--site", site)
	}
	var errOut bytes.Buffer
	command := exec.CommandContext(t.Context(), filepath.Join(repository, "bin", "linesim"), "unpack", filepath.Join(a.dir, "fleet.csv"), "--power-cut", "--json")
	command.Stderr = &errOut
	out, _ := command.Output() // the report says what failed
	var result struct {
		Unpacked, PowerCut struct {
			Registered, Fetches int
			Seconds             float64
			Times               map[string]any
			Errors              []string
		}
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(out, &raw); err != nil {
		t.Fatalf("%v\n%s%s", err, out, errOut.String())
	}
	if err := json.Unmarshal(raw["unpacked"], &result.Unpacked); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw["power_cut"], &result.PowerCut); err != nil {
		t.Fatal(err)
	}
	t.Logf("unpacked: %+v", result.Unpacked)
	t.Logf("after the power cut: %+v", result.PowerCut)
	const bound = 30 * time.Second
	if result.Unpacked.Registered != 120 || result.PowerCut.Registered != 120 || result.PowerCut.Seconds > bound.Seconds() || result.Unpacked.Seconds > bound.Seconds() {
		t.Errorf("%.4000s", out)
	}
}

// writeFleet writes a list of terminals of mixed brands at all sites, and the same phones for linesim.
func writeFleet(t *testing.T, s settings, a *appliance, count int) {
	t.Helper()
	base := fmt.Sprintf("http://127.0.0.1:%d/", a.ports.provisioning)
	rows := []byte("mac,model,site,extension,display_name,template,state,notes\n")
	fleet := []byte("brand,model,mac,bind,find\n")
	var plain []any
	for i := range count {
		p := unpackedPhones()[i%len(unpackedPhones())]
		site, extension := "hq", fmt.Sprintf("8%03d", i/6+1)
		if n := i % 6; n > 0 {
			site, extension = fmt.Sprintf("branch%d", n), fmt.Sprintf("%d%03d", n+1, i/6+1)
		}
		mac := fmt.Sprintf("%s%02x:%02x:%02x", p.mac[:9], 0xd0, i/256, i%256)
		rows = fmt.Appendf(rows, "%s,%s,%s,%s,,,active,\n", mac, p.model, site, extension)
		find := base
		switch {
		case p.find == "pnp":
			find = fmt.Sprintf("pnp:224.0.1.75:%d@lo", a.ports.sip)
		case p.model == "SPA504G" || p.model == "GXP1625":
			find = fmt.Sprintf("66=tftp://127.0.0.1:%d/", a.ports.tftp)
		}
		if p.model == "SPA504G" {
			plain = append(plain, map[string]any{"extension": extension, "plain_secrets": true})
		}
		fleet = fmt.Appendf(fleet, "%s,%s,%s,127.0.%d.%d,%s\n", p.brand, p.model, mac, i%6, 20+i, find)
	}
	s.set("terminals.overrides", plain)
	for name, content := range map[string][]byte{"terminals.csv": rows, "fleet.csv": fleet} {
		if err := os.WriteFile(filepath.Join(a.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
