package cisco

import (
	"testing"

	"linehall/provisioning/phone"
	"linehall/provisioning/phone/phonetest"
)

func TestGoldenFiles(t *testing.T) {
	device := phone.File{Kind: phone.Device}
	phonetest.Golden(t, Brand{}, []phonetest.Case{
		phonetest.Of("8841_full", device, phonetest.Full("00:0e:08:ab:cd:ef", "8841")),
		phonetest.Of("7841_english", device, phonetest.English("00:56:2b:04:36:15", "CP-7841-3PCC", "Resync_At__HHmm_ = 0300\n")),
		phonetest.Of("spa504g_full", device, phonetest.Full("00:02:fd:ff:21:03", "SPA504G")),
		phonetest.Of("spa303_udp", device, phonetest.Enrolled("00:02:fd:ff:21:04", "SPA303", "3001", "河西")),
		phonetest.Of("8811_bootstrap", device, phonetest.Bootstrap("00:0e:08:ab:cd:f0", "8811")),
		phonetest.Of("unknown_model", device, phonetest.Enrolled("00:0e:08:ab:cd:f1", "", "5001", "云岭")),
		phonetest.Of("common", phone.File{Kind: phone.Common, Model: "SPA504G"}, phonetest.Full("", "SPA504G")),
	})
}

func TestFilesAreRecognisedByName(t *testing.T) {
	const mac = "00:0e:08:ab:cd:ef"
	for name, want := range map[string]phone.File{
		"000e08abcdef.xml":        {Kind: phone.Device, MAC: mac},
		"000E08ABCDEF.xml":        {Kind: phone.Device, MAC: mac},
		"spa504G.cfg":             {Kind: phone.Common, Model: "SPA504G"},
		"8841-3PCC.xml":           {Kind: phone.Common, Model: "8841"},
		"SEP000E08ABCDEF.cnf.xml": {Kind: phone.Boot},
		"CTLSEP000E08ABCDEF.tlv":  {Kind: phone.Boot},
		"init.cfg":                {Kind: phone.Boot},
	} {
		if got, ok := (Brand{}).File(name); !ok || got != want {
			t.Errorf("%s: got %+v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "../x.cfg", "ca.crt", "phonebook.xml", "000e08abcdef.cfg", "9999-3PCC.xml"} {
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
