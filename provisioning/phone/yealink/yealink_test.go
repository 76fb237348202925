package yealink

import (
	"slices"
	"testing"

	"linehall/provisioning/phone"
	"linehall/provisioning/phone/phonetest"
)

func TestGoldenFiles(t *testing.T) {
	device := phone.File{Kind: phone.Device}
	phonetest.Golden(t, Brand{}, []phonetest.Case{
		phonetest.Of("t54w_full", device, phonetest.Full("80:5e:c0:11:22:33", "T54W")),
		phonetest.Of("t46u_english_template", device, phonetest.English("00:15:65:00:00:02", "T46U", "# louder\nphone_setting.ring_type = Ring2.wav\naccount.1.dtmf.type = 3\n")),
		phonetest.Of("t33g_udp", device, phonetest.Enrolled("00:15:65:00:00:03", "T33G", "3001", "河西办公室")),
		phonetest.Of("t31g_hostile_name", device, phonetest.Enrolled("00:15:65:00:00:04", "T31G", "4001", "王#\"\naccount.1.password = x %NULL% ")),
		phonetest.Of("unknown_model", device, phonetest.Enrolled("00:15:65:00:00:05", "", "5001", "云岭")),
		phonetest.Of("t33g_bootstrap", device, phonetest.Bootstrap("00:15:65:00:00:03", "T33G")),
		phonetest.Of("common", phone.File{Kind: phone.Common, Model: "T54W"}, phonetest.Full("", "T54W")),
	})
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

func FuzzParse(f *testing.F) {
	f.Add([]byte(firstLine + "\naccount.1.enable = 1\n# x\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		lines, err := Brand{}.Parse(content)
		if err != nil {
			return
		}
		back, err := Brand{}.Parse(write("", lines))
		if err != nil || !slices.Equal(lines, back) {
			t.Errorf("%v read back as %v: %v", lines, back, err)
		}
	})
}
