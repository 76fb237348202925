package yealink

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"linehall/provisioning/phone"
)

var update = flag.Bool("update", false, "rewrite golden files")

func bootstrap(mac, model string) phone.Settings {
	return phone.Settings{
		MAC: mac, Model: model, Language: "zh-CN", TimeZone: "Asia/Shanghai", NTP: []string{"10.0.0.10"},
		DialNow:      []string{"110", "119", "120", "2xxx", "8xxx", "9xxx"},
		Provisioning: phone.Provisioning{URL: "https://10.0.0.10:8443/prov/", CAURL: "http://10.0.0.10:8080/ca.crt", Every: 30 * time.Minute},
	}
}

func enrolled(mac, model, extension, name string) phone.Settings {
	s := bootstrap(mac, model)
	s.Account = &phone.Account{
		User: extension, AuthUser: extension, Password: "Kp7sVtYw2mNb4qRx8cDz", DisplayName: name, Domain: "linehall.test",
		Server: "10.0.0.10", Port: 5060, Transport: phone.UDP, SRTP: phone.SRTPOff, Expires: 5 * time.Minute,
		Codecs: []phone.Codec{phone.G722, phone.PCMA, phone.PCMU},
	}
	s.Provisioning.URL, s.Provisioning.CAURL = "https://10.0.0.10:8443/prov/t/mzxw6ytboi2gk3tdmjqxezlu/", "https://10.0.0.10:8443/prov/ca.crt"
	s.Provisioning.Every, s.Provisioning.Final = 24*time.Hour, true
	return s
}

func TestGoldenFiles(t *testing.T) {
	secure := enrolled("80:5e:c0:11:22:33", "T54W", "8001", "值班室1")
	secure.Account.Port, secure.Account.Transport, secure.Account.SRTP = 5061, phone.TLS, phone.SRTPRequired
	secure.AdminPassword = "Lindong2026"
	english := enrolled("00:15:65:00:00:02", "T46U", "2001", "Front desk")
	english.Language, english.TimeZone, english.NTP = "en", "Europe/Berlin", nil
	english.Extra = []byte("# louder\nphone_setting.ring_type = Ring2.wav\naccount.1.dtmf.type = 3\n")
	hostile := enrolled("00:15:65:00:00:04", "T31G", "4001", "王#\"\naccount.1.password = x %NULL% ")
	unknown := enrolled("00:15:65:00:00:05", "", "5001", "云岭")
	common := bootstrap("", "T54W")
	device := phone.File{Kind: phone.Device}
	for _, tc := range []struct {
		golden   string
		file     phone.File
		settings phone.Settings
	}{
		{"t54w_tls", device, secure},
		{"t46u_english_template", device, english},
		{"t33g_udp", device, enrolled("00:15:65:00:00:03", "T33G", "3001", "河西办公室")},
		{"t31g_hostile_name", device, hostile},
		{"unknown_model", device, unknown},
		{"t33g_bootstrap", device, bootstrap("00:15:65:00:00:03", "T33G")},
		{"common", phone.File{Kind: phone.Common, Model: "T54W"}, common},
	} {
		t.Run(tc.golden, func(t *testing.T) {
			content, err := Brand{}.Render(tc.file, tc.settings)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Brand{}.Render(tc.file, tc.settings)
			if err != nil || !bytes.Equal(content, again) {
				t.Errorf("rendered twice, the bytes differ: %v", err)
			}
			if _, err := Parse(content, true); err != nil {
				t.Errorf("the phone cannot read it: %v", err)
			}
			path := filepath.Join("testdata", tc.golden+".golden")
			if *update {
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(content)); diff != "" {
				t.Errorf("file (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFilesAreRecognisedByName(t *testing.T) {
	const mac = "00:15:65:ab:cd:ef"
	for name, want := range map[string]phone.File{
		"001565abcdef.cfg":       {Kind: phone.Device, MAC: mac},
		"001565ABCDEF.CFG":       {Kind: phone.Device, MAC: mac},
		"001565abcdef.boot":      {Kind: phone.Boot, MAC: mac},
		"001565abcdef-local.cfg": {Kind: phone.Local, MAC: mac},
		"y000000000000.boot":     {Kind: phone.Boot},
		"y000000000096.cfg":      {Kind: phone.Common, Model: "T54W"},
		"y000000000108.cfg":      {Kind: phone.Common, Model: "T46U"},
		"Y000000000123.cfg":      {Kind: phone.Common, Model: "T31G"},
	} {
		if got, ok := (Brand{}).File(name); !ok || got != want {
			t.Errorf("%s: got %+v, %v", name, got, ok)
		}
	}
	for _, name := range []string{
		"", "cfg001565abcdef.xml", "001565abcde.cfg", "001565abcdef.cfg.bak", "../001565abcdef.cfg", "000000000000.cfg",
		"y000000000099.cfg", "y0000000000.cfg", "ca.crt", "001565abcdef.cfg\n",
	} {
		if got, ok := (Brand{}).File(name); ok {
			t.Errorf("%q was taken for %+v", name, got)
		}
	}
}

func TestABootstrapHoldsNoSecretAndChangesNoAccount(t *testing.T) {
	settings := bootstrap("00:15:65:00:00:03", "T33G")
	settings.AdminPassword = "Lindong2026"
	content, err := Brand{}.Render(phone.File{Kind: phone.Device}, settings)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"password", "account.", "Lindong2026"} {
		if bytes.Contains(content, []byte(word)) {
			t.Errorf("%q is in the bootstrap", word)
		}
	}
}

func TestEveryLabelStaysInItsLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Draw(t, "name")
		content, err := Brand{}.Render(phone.File{Kind: phone.Device}, enrolled("00:15:65:00:00:03", "T33G", "3001", name))
		if err != nil {
			t.Fatal(err)
		}
		lines, err := Parse(content, true)
		if err != nil {
			t.Fatalf("name %q: %v", name, err)
		}
		at := slices.IndexFunc(lines, func(l Line) bool { return l.Key == "account.1.password" })
		if lines[at].Value != "Kp7sVtYw2mNb4qRx8cDz" {
			t.Errorf("name %q changed the password to %q", name, lines[at].Value)
		}
	})
}

func TestTemplatesAreChecked(t *testing.T) {
	settings := bootstrap("00:15:65:00:00:03", "T33G")
	settings.Extra = []byte("ring = 1\nring = 2\n")
	if _, err := (Brand{}).Render(phone.File{Kind: phone.Device}, settings); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(firstLine + "\naccount.1.enable = 1\n# x\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		lines, err := Parse(content, true)
		if err != nil {
			return
		}
		w := writer{lines: lines}
		again, err := w.finish(nil)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse(again, true)
		if err != nil || !slices.Equal(lines, back) {
			t.Errorf("%v read back as %v: %v", lines, back, err)
		}
	})
}
