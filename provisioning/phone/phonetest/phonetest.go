// Package phonetest checks brands of phones against golden files: settings in,
// exact file out, one file per model and situation in the brand's testdata.
// Every file is read back by the brand's strict parser and may hold only keys
// of testdata/keys.txt, which is written from the reference and not from our
// templates.
//
//	phonetest.Golden(t, Brand{}, []phonetest.Case{phonetest.Of("d785_full", device, phonetest.Full(mac, "D785"))})
//
// With -update the golden files are rewritten, to be read before they are
// committed.
package phonetest

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"linehall/provisioning/phone"
)

var update = flag.Bool("update", false, "rewrite golden files")

// Secret is the password in the files.
const Secret = "Kp7sVtYw2mNb4qRx8cDz"

// CA is a certificate in PEM's clothes.
const CA = "-----BEGIN CERTIFICATE-----\nTElORUhBTEw=\n-----END CERTIFICATE-----\n"

// Bootstrap is what a phone gets that has not proved anything.
func Bootstrap(mac, model string) phone.Settings {
	return phone.Settings{
		MAC: mac, Model: model, Language: "zh-CN", TimeZone: "Asia/Shanghai", NTP: []string{"10.0.0.10"},
		DialNow: []string{"110", "119", "120", "2xxx", "8xxx", "9xxx"},
		Network: phone.Network{LLDP: true, DSCPSignal: 24, DSCPVoice: 46},
		Provisioning: phone.Provisioning{
			URL: "https://10.0.0.10:8443/prov/", CAURL: "http://10.0.0.10:8080/ca.crt", CA: []byte(CA), Every: 10 * time.Minute,
		},
	}
}

// Enrolled is the whole file of a phone in the simplest case.
func Enrolled(mac, model, extension, name string) phone.Settings {
	s := Bootstrap(mac, model)
	s.Account = &phone.Account{
		User: extension, AuthUser: extension, Password: Secret, DisplayName: name, Domain: "linehall.test",
		Server: "10.0.0.10", Port: 5060, Transport: phone.UDP, SRTP: phone.SRTPOff, Expires: 5 * time.Minute,
		Codecs: []phone.Codec{phone.G722, phone.PCMA, phone.PCMU}, AutoAnswer: true,
	}
	s.Provisioning.URL, s.Provisioning.CAURL = "https://10.0.0.10:8443/prov/t/mzxw6ytboi2gk3tdmjqxezlu/", "https://10.0.0.10:8443/prov/ca.crt"
	s.Provisioning.Every, s.Provisioning.Final = 24*time.Hour, true
	return s
}

// Full is the whole file of a phone with everything that can be wished.
func Full(mac, model string) phone.Settings {
	s := Enrolled(mac, model, "8001", "值班室1")
	s.AdminPassword = "Lindong2026"
	s.Network.VLAN, s.Network.VLANPriority = 20, 5
	s.Keys = []phone.Key{{Number: "8002", Label: "财务室"}, {Number: "2001", Label: `A & "B" <c> $d;#`}}
	s.Directory = phone.Directory{Name: "局机关", URL: s.Provisioning.URL + "phonebook.xml"}
	s.Account.Port, s.Account.Transport, s.Account.SRTP = 5061, phone.TLS, phone.SRTPRequired
	s.Account.Backup, s.Account.Voicemail, s.Account.Pickup = "10.1.0.10", "*97", "**"
	return s
}

// English is a phone in a country with summer time and a template.
func English(mac, model string, extra string) phone.Settings {
	s := Enrolled(mac, model, "2001", "Front desk")
	s.Language, s.TimeZone, s.NTP, s.Extra = "en", "Europe/Berlin", nil, []byte(extra)
	s.Account.Transport, s.Account.Codecs, s.WebOpen = phone.TCP, []phone.Codec{phone.PCMA}, true
	s.Network.LLDP = false
	return s
}

// Case is one golden file.
type Case struct {
	Golden   string
	File     phone.File
	Settings phone.Settings
}

// Of is a Case.
func Of(golden string, file phone.File, settings phone.Settings) Case {
	return Case{Golden: golden, File: file, Settings: settings}
}

// Golden checks all cases, and what holds for every brand.
func Golden(t *testing.T, brand phone.Brand, cases []Case) {
	t.Helper()
	allowed := keys(t)
	for _, tc := range cases {
		t.Run(tc.Golden, func(t *testing.T) { check(t, brand, tc, allowed) })
	}
	t.Run("no secret in a bootstrap", func(t *testing.T) { bootstrap(t, brand) })
	t.Run("labels", func(t *testing.T) { labels(t, brand) })
	t.Run("templates", func(t *testing.T) {
		settings := Enrolled("00:15:65:00:00:03", brand.Models()[0].Name, "3001", "x")
		settings.Extra = []byte("ring = 1\nring = 2\n")
		if _, err := brand.Render(phone.File{Kind: phone.Device}, settings); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("a template with a key twice: %v", err)
		}
	})
}

func check(t *testing.T, brand phone.Brand, tc Case, allowed []*regexp.Regexp) {
	t.Helper()
	content := render(t, brand, tc.File, tc.Settings)
	if !bytes.Equal(content, render(t, brand, tc.File, tc.Settings)) {
		t.Error("rendered twice, the bytes differ")
	}
	lines, err := brand.Parse(content)
	if err != nil {
		t.Fatalf("the phone cannot read it: %v\n%s", err, content)
	}
	for _, line := range lines {
		known := false
		for _, form := range allowed {
			known = known || form.MatchString(line.Key)
		}
		if !known {
			t.Errorf("key %s is not in keys.txt", line.Key)
		}
	}
	path := filepath.Join("testdata", tc.Golden+".golden")
	if *update {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path) //nolint:gosec // a name in this test
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(content)); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
}

func render(t interface {
	Helper()
	Fatal(args ...any)
}, brand phone.Brand, file phone.File, settings phone.Settings,
) []byte {
	t.Helper()
	content, err := brand.Render(file, settings)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// keys reads testdata/keys.txt: a key a line, {n} for a number, # for notes.
func keys(t *testing.T) []*regexp.Regexp {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "keys.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var forms []*regexp.Regexp
	for line := range strings.Lines(string(content)) {
		text, _, _ := strings.Cut(line, "#")
		for key := range strings.FieldsSeq(text) {
			form := strings.ReplaceAll(regexp.QuoteMeta(key), `\{n\}`, "[0-9]+")
			forms = append(forms, regexp.MustCompile("^"+form+"$"))
		}
	}
	return forms
}

// bootstrap checks that nothing secret is in a file for a phone that has not
// proved itself, even if the caller's settings have some of it.
func bootstrap(t *testing.T, brand phone.Brand) {
	t.Helper()
	for _, model := range brand.Models() {
		settings := Bootstrap("00:15:65:00:00:03", model.Name)
		settings.AdminPassword = "Lindong2026"
		content := render(t, brand, phone.File{Kind: phone.Device}, settings)
		for _, word := range []string{settings.AdminPassword, Secret} {
			if bytes.Contains(content, []byte(word)) {
				t.Errorf("%s: %q is in the bootstrap", model.Name, word)
			}
		}
	}
}

// labels checks that no name can become anything but the text of a label: the
// file has the same keys, and the same password, whatever the name is.
func labels(t *testing.T, brand phone.Brand) {
	t.Helper()
	file := phone.File{Kind: phone.Device}
	model := brand.Models()[len(brand.Models())/2].Name
	want, err := brand.Parse(render(t, brand, file, Full("00:15:65:00:00:03", model)))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
			`"`, "<", "&", "a\nx = 1", "#", "%NULL%", "$PROXY", "{mac}", "🙂", strings.Repeat("好", 200), "\u202eabc", "]]>", "<!--", "a=b", "x;nme=y", "\x00\uffff",
		})).Draw(t, "name")
		settings := Full("00:15:65:00:00:03", model)
		settings.Account.DisplayName, settings.Keys[0].Label, settings.Directory.Name = text, text, text
		content := render(t, brand, file, settings)
		got, err := brand.Parse(content)
		if err != nil {
			t.Fatalf("name %q: %v", text, err)
		}
		if len(got) != len(want) {
			t.Fatalf("name %q: %d settings, want %d", text, len(got), len(want))
		}
		for i := range got {
			if got[i].Key != want[i].Key || want[i].Value == Secret && got[i].Value != Secret {
				t.Fatalf("name %q changed %s to %+v", text, want[i].Key, got[i])
			}
		}
	})
}
