package snom

import (
	"testing"

	"linehall/provisioning/phone"
	"linehall/provisioning/phone/phonetest"
)

func TestGoldenFiles(t *testing.T) {
	device := phone.File{Kind: phone.Device}
	phonetest.Golden(t, Brand{}, []phonetest.Case{
		phonetest.Of("d785_full", device, phonetest.Full("00:04:13:11:22:33", "D785")),
		phonetest.Of("d345_english", device, phonetest.English("00:04:13:11:22:34", "D345", "user_dtmf_info[1] = on\n")),
		phonetest.Of("d717_udp", device, phonetest.Enrolled("00:04:13:11:22:35", "snomD717", "3001", "河西")),
		phonetest.Of("d120_bootstrap", device, phonetest.Bootstrap("00:04:13:11:22:36", "D120")),
		phonetest.Of("unknown_model", device, phonetest.Enrolled("00:04:13:11:22:37", "", "5001", "云岭")),
		phonetest.Of("common", phone.File{Kind: phone.Common, Model: "D785"}, phonetest.Full("", "D785")),
	})
}

func TestFilesAreRecognisedByName(t *testing.T) {
	const mac = "00:04:13:aa:bb:cc"
	for name, want := range map[string]phone.File{
		"snomD785-000413AABBCC.htm": {Kind: phone.Device, MAC: mac, Model: "D785"},
		"snomd785-000413aabbcc.htm": {Kind: phone.Device, MAC: mac, Model: "D785"},
		"snomD785.htm":              {Kind: phone.Common, Model: "D785"},
		"snom720.htm":               {Kind: phone.Common, Model: "720"},
	} {
		if got, ok := (Brand{}).File(name); !ok || got != want {
			t.Errorf("%s: got %+v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "../x.cfg", "ca.crt", "phonebook.xml", "000413AABBCC.htm", "snom.htm"} {
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
