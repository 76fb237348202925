package poly

import (
	"testing"

	"linehall/provisioning/phone"
	"linehall/provisioning/phone/phonetest"
)

func TestGoldenFiles(t *testing.T) {
	device := phone.File{Kind: phone.Device}
	phonetest.Golden(t, Brand{}, []phonetest.Case{
		phonetest.Of("vvx450_full", device, phonetest.Full("64:16:7f:11:22:33", "VVX 450")),
		phonetest.Of("vvx250_english", device, phonetest.English("64:16:7f:11:22:34", "VVX_250", "up.oneTouchVoiceMail = 1\n")),
		phonetest.Of("vvx150_udp", device, phonetest.Enrolled("64:16:7f:11:22:35", "VVX150", "3001", "河西")),
		phonetest.Of("vvx601_bootstrap", device, phonetest.Bootstrap("00:04:f2:11:22:36", "VVX_601")),
		phonetest.Of("unknown_model", device, phonetest.Enrolled("00:04:f2:11:22:37", "", "5001", "云岭")),
		phonetest.Of("master", phone.File{Kind: phone.Common}, phonetest.Full("", "")),
	})
}

func TestFilesAreRecognisedByName(t *testing.T) {
	const mac = "64:16:7f:11:22:33"
	for name, want := range map[string]phone.File{
		"64167f112233-user.cfg":      {Kind: phone.Device, MAC: mac},
		"64167f112233.cfg":           {Kind: phone.Local, MAC: mac},
		"64167f112233-phone.cfg":     {Kind: phone.Local, MAC: mac},
		"64167f112233-directory.xml": {Kind: phone.Local, MAC: mac},
		"000000000000.cfg":           {Kind: phone.Common},
		"000000000000-license.cfg":   {Kind: phone.Boot},
		"3111-48450-001.sip.ld":      {Kind: phone.Boot},
	} {
		if got, ok := (Brand{}).File(name); !ok || got != want {
			t.Errorf("%s: got %+v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "../x.cfg", "ca.crt", "phonebook.xml", "64167f112233.bin", "000000000000.xml"} {
		if got, ok := (Brand{}).File(name); ok {
			t.Errorf("%q was taken for %+v", name, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	content, err := Brand{}.Render(phone.File{Kind: phone.Device}, phonetest.Full("00:15:65:00:00:03", form.Models()[0].Name))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Fuzz(func(t *testing.T, content []byte) {
		lines, err := Brand{}.Parse(content)
		if err == nil && len(lines) > len(content) {
			t.Errorf("%d settings in %d bytes", len(lines), len(content))
		}
	})
}
