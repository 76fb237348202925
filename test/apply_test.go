package test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// unpackedPhone is a phone that comes out of its box in a test.
type unpackedPhone struct {
	brand, model, mac, extension string
	find                         string // how it finds its files: pnp, or the DHCP option that it is given; BASE is our folder
}

func unpackedPhones() []unpackedPhone {
	return []unpackedPhone{
		{"yealink", "T54W", "80:5e:c0:58:c7:11", "8002", "pnp"},
		{"grandstream", "GRP2614", "c0:74:ad:00:00:01", "8071", "66=BASE"},
		{"grandstream", "GXP1625", "00:0b:82:00:00:02", "8072", "66=127.0.0.1"},
		{"fanvil", "X4U", "0c:38:3e:00:00:03", "8073", "pnp"},
		{"snom", "D785", "00:04:13:00:00:04", "8074", "pnp"},
		{"cisco", "8841", "00:0e:08:00:00:05", "8075", "160=BASE$PSN.xml"},
		{"cisco", "SPA504G", "00:02:fd:00:00:06", "8076", "150=0x7f000001"},
		{"poly", "VVX 450", "64:16:7f:00:00:07", "8077", "160=BASE000000000000.cfg"},
		{"htek", "UC924", "00:1f:c1:00:00:08", "8078", "66=BASE"},
	}
}

// finding are the arguments of a phone that finds its files so.
func (a *appliance) finding(how string) []string {
	if how == "pnp" {
		return []string{"phone", "--find", "pnp", "--interface", "lo", "--pnp-group", fmt.Sprintf("224.0.1.75:%d", a.ports.sip)}
	}
	base := fmt.Sprintf("http://127.0.0.1:%d/", a.ports.provisioning)
	return []string{"phone", "--find", "option", "--option", strings.Replace(how, "BASE", base, 1), "--tftp-port", fmt.Sprint(a.ports.tftp)}
}

// An admin changes the files, looks at the plan, applies it: the phones that it concerns are told, come for their files,
// and the next plan is empty. A phone of every brand plays along, each by what is known of the real one: it comes out of
// its box, enrols, registers, and fetches when told.
func TestAPlanIsLookedAtAndAppliedByPhonesOfEveryBrand(t *testing.T) {
	t.Parallel()
	a := startAppliance(t, func(s settings, a *appliance) {
		s.set("terminals.overrides", []any{map[string]any{"extension": "8076", "plain_secrets": true}})
		list := filepath.Join(a.dir, "terminals.csv")
		rows, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range unpackedPhones()[1:] {
			rows = fmt.Appendf(rows, "%s,%s,hq,%s,新话机,,active,\n", p.mac, p.model, p.extension)
		}
		rows = append(rows, ",,hq,8079,,,pool,\n# 待领 waits for its phone\n,,hq,8080,待领,,active,\n"...)
		if err := os.WriteFile(list, rows, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	list := filepath.Join(a.dir, "terminals.csv")
	rows, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, updated string) {
		t.Helper()
		text := strings.ReplaceAll(string(rows), old, updated)
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		rows = []byte(text)
	}
	plan := func(code int, parts ...string) string {
		t.Helper()
		out, errOut, got := a.try("plan")
		if got != code {
			t.Fatalf("plan: exit %d, want %d\n%.2000s%s", got, code, out, errOut)
		}
		for _, part := range parts {
			if !strings.Contains(out, part) {
				t.Errorf("the plan does not say %q:\n%.2000s", part, out)
			}
		}
		return out
	}
	plan(3, "+ 8001", "first file", "not registered", "128 of 128 phones")
	a.run("apply", "--batch", "100")
	plan(0, "no changes; 128 phones")
	plan(0, "no changes")

	a.run("terminal", "open", "--site", "hq")
	phones := map[string]*process{}
	for i, p := range unpackedPhones() {
		phones[p.extension] = startProcess(t, ".", repository+"/bin/linesim", append(a.finding(p.find),
			"--brand", p.brand, "--model", p.model, "--mac", p.mac, "--bind", fmt.Sprintf("127.0.0.%d", 71+i))...)
	}
	registered := func(extension string, times int) {
		t.Helper()
		a.eventually(30*time.Second, extension+" is registered", func() error {
			if out := phones[extension].output.String(); strings.Count(out, extension+" registered") < times {
				return fmt.Errorf("it says: %s", out)
			}
			return nil
		})
	}
	for extension := range phones {
		registered(extension, 1)
		if out := phones[extension].output.String(); !strings.Contains(out, "phone book: 1") && (extension != "8075" && extension != "8076" || !strings.Contains(out, "phone book: 32 ")) {
			t.Errorf("%s has no phone book:\n%s", extension, out)
		}
	}

	a.phonesAreAsTheirRowsSay()
	edit("新话机", "改名")
	plan(3, "8 of 128 phones", "~ 8071", "account.1.sip.subscriber.name: 新话机 -> 改名", "P3: 新话机 -> 改名", "reg.1.displayName: 新话机 -> 改名", "may restart")
	out := a.run("apply")
	if strings.Count(out, "fetched") != 8 {
		t.Errorf("apply says:\n%s", out)
	}
	plan(0)
	for extension := range phones {
		if extension != "8002" {
			registered(extension, 2)
		}
	}

	edit("值班室2", "财务室#1")
	saved := filepath.Join(a.dir, "saved.plan")
	if out, _, code := a.try("plan", "--out", saved); code != 3 || !strings.Contains(out, "account.1.display_name: 值班室2 -> 财务室＃1") || strings.Contains(out, "8003") {
		t.Fatalf("plan of a new name: exit %d\n%s", code, out)
	}
	edit("财务室#1", "财务室")
	if _, errOut, code := a.try("apply", saved); code != 1 || !strings.Contains(errOut, "stale") {
		t.Errorf("a stale plan: exit %d, %s", code, errOut)
	}
	if out, _, code := a.try("plan", "--limit", "site=branch1"); code != 0 {
		t.Errorf("plan of another site: exit %d\n%s", code, out)
	}
	plan(3, "~ 8002", "fetches again", "值班室2 -> 财务室")
	out = a.run("apply")
	if !strings.Contains(out, "8002") || !strings.Contains(out, "fetched") {
		t.Errorf("apply says:\n%s", out)
	}
	plan(0)
	registered("8002", 2)
	a.phonesAreClaimed(t, list)
	if rows, err = os.ReadFile(list); err != nil {
		t.Fatal(err)
	}
	a.aPhoneIsLockedOut("8002", unpackedPhones()[0].mac)
	edit("改名", "再改名")
	var others []string
	for _, p := range unpackedPhones()[1:] {
		others = append(others, p.extension)
	}
	a.anApplyIsKilled(others)
	a.anApplyIsTakenBack(list, "改名", "再改名")
	edit("再改名", "改名")
	a.maintenanceHoursCount(t)

	// A mistake changes nothing.
	edit("财务室", "财务室,,,,,")
	if stdout, errOut, code := a.try("apply"); code != 1 {
		t.Errorf("apply of broken files: exit %d\n%s%s", code, stdout, errOut)
	}
	if strings.Contains(a.output.String(), "SECRET") {
		t.Error("a mark got into the log")
	}
}

// status is what `terminal status --json` says of a phone.
type phoneStatus struct {
	Extension string   `json:"extension"`
	Enrolled  bool     `json:"enrolled"`
	Drift     []string `json:"drift"`
	Wanted    struct {
		Settings string `json:"settings"`
	} `json:"wanted"`
	Served *struct {
		Hash, Settings, Firmware, Address string
	} `json:"served"`
	Refusal *struct {
		Reason string `json:"reason"`
	} `json:"refusal"`
}

func (a *appliance) phoneStatuses() map[string]phoneStatus {
	a.t.Helper()
	var list struct{ Phones []phoneStatus }
	if err := json.Unmarshal([]byte(a.run("terminal", "status", "--json")), &list); err != nil {
		a.t.Fatal(err)
	}
	all := map[string]phoneStatus{}
	for _, p := range list.Phones {
		all[p.Extension] = p
	}
	return all
}

// The phones that came out of their box have what they are to have, and their firmware is known; the others have not enrolled.
func (a *appliance) phonesAreAsTheirRowsSay() {
	a.t.Helper()
	all := a.phoneStatuses()
	for _, p := range unpackedPhones() {
		got := all[p.extension]
		if len(got.Drift) > 0 || !got.Enrolled || got.Served == nil {
			a.t.Errorf("status of %s: %+v", p.extension, got)
			continue
		}
		if s := got.Served; len(s.Hash) != 64 || s.Settings != got.Wanted.Settings || s.Firmware == "" || !strings.HasPrefix(s.Address, "127.0.0.") {
			a.t.Errorf("served to %s: %+v, wanted %s", p.extension, s, got.Wanted.Settings)
		}
	}
	if got := all["8001"]; !slices.Equal(got.Drift, []string{"not_enrolled", "not_registered"}) || got.Served != nil {
		a.t.Errorf("a phone that never came: %+v", got)
	}
	if out := a.run("terminal", "status"); !strings.Contains(out, "96.86.0.100") || !strings.Contains(out, "not enrolled, not registered") {
		a.t.Errorf("status says:\n%.1500s", out)
	}
}

// A token that is taken away is worth nothing, and neither is a new try without a window.
func (a *appliance) aPhoneIsLockedOut(extension, mac string) {
	a.t.Helper()
	if out := a.run("terminal", "windows"); !strings.Contains(out, "hq") {
		a.t.Errorf("windows: %s", out)
	}
	a.run("terminal", "close", "--site", "hq")
	a.run("terminal", "revoke", extension)
	if out := a.run("terminal", "windows"); !strings.Contains(out, "no window is open") {
		a.t.Errorf("windows: %s", out)
	}
	a.try("apply") // nothing to tell
	url := fmt.Sprintf("https://127.0.0.1:%d/prov/%s.cfg", a.ports.https, strings.ReplaceAll(mac, ":", ""))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // as a phone out of its box
	defer client.CloseIdleConnections()
	res, err := client.Get(url) //nolint:noctx // the test's own deadline
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // nothing is written
	if got := a.phoneStatuses()[extension]; got.Enrolled || got.Refusal == nil || got.Refusal.Reason != "window_closed" {
		a.t.Errorf("locked out: %+v, refusal %+v", got, got.Refusal)
	}
	if out := a.run("terminal", "status", extension); !strings.Contains(out, "the window of its site is closed") {
		a.t.Errorf("status says:\n%s", out)
	}
}
