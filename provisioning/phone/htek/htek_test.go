package htek

import (
	"testing"

	"linehall/provisioning/phone"
	"linehall/provisioning/phone/phonetest"
)

func TestGoldenFiles(t *testing.T) {
	device := phone.File{Kind: phone.Device}
	phonetest.Golden(t, Brand{}, []phonetest.Case{
		phonetest.Of("uc924_full", device, phonetest.Full("00:1f:c1:11:22:33", "UC924")),
		phonetest.Of("uc903_english", device, phonetest.English("00:1f:c1:11:22:34", "UC903", "P64 = 10\n")),
		phonetest.Of("uc926_bootstrap", device, phonetest.Bootstrap("00:1f:c1:11:22:35", "UC926")),
		phonetest.Of("unknown_model", device, phonetest.Enrolled("00:1f:c1:11:22:36", "", "5001", "云岭")),
	})
}

func TestFilesAreRecognisedByName(t *testing.T) {
	const mac = "00:1f:c1:11:22:33"
	for name, want := range map[string]phone.File{
		"cfg001fc1112233.xml": {Kind: phone.Device, MAC: mac},
		"cfg001fc1112233":     {Kind: phone.Boot, MAC: mac},
		"cfg0012.xml":         {Kind: phone.Boot},
	} {
		if got, ok := (Brand{}).File(name); !ok || got != want {
			t.Errorf("%s: got %+v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "../x.cfg", "ca.crt", "phonebook.xml", "001fc1112233.cfg", "cfg.xml"} {
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
