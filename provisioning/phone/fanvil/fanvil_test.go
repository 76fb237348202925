package fanvil

import (
	"testing"

	"linehall/provisioning/phone"
	"linehall/provisioning/phone/phonetest"
)

func TestGoldenFiles(t *testing.T) {
	device := phone.File{Kind: phone.Device}
	phonetest.Golden(t, Brand{}, []phonetest.Case{
		phonetest.Of("x4u_full", device, phonetest.Full("0c:38:3e:11:22:33", "X4U")),
		phonetest.Of("x3u_english", device, phonetest.English("0c:38:3e:11:22:34", "X3U", "sip/line[1]/DTMFMode = 2\nphone/EnableKeyLock = 1\n")),
		phonetest.Of("x6u_pro_udp", device, phonetest.Enrolled("0c:38:3e:11:22:35", "X6U Pro", "3001", "河西")),
		phonetest.Of("x1s_bootstrap", device, phonetest.Bootstrap("00:a8:59:11:22:36", "X1S")),
		phonetest.Of("unknown_model", device, phonetest.Enrolled("00:a8:59:11:22:37", "", "5001", "云岭")),
	})
}

func TestFilesAreRecognisedByName(t *testing.T) {
	const mac = "0c:38:3e:11:22:33"
	for name, want := range map[string]phone.File{
		"0c383e112233.cfg":         {Kind: phone.Device, MAC: mac},
		"f0X4hw1.100.cfg":          {Kind: phone.Boot},
		"F0V00X500000.cfg":         {Kind: phone.Boot},
		"fanvil_x4u_v2_hwv2_0.txt": {Kind: phone.Boot},
	} {
		if got, ok := (Brand{}).File(name); !ok || got != want {
			t.Errorf("%s: got %+v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "../x.cfg", "ca.crt", "phonebook.xml", "000000000000.cfg", "0c383e112233.xml"} {
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
