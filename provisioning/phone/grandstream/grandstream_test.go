package grandstream

import (
	"testing"

	"linehall/provisioning/phone"
	"linehall/provisioning/phone/phonetest"
)

func TestGoldenFiles(t *testing.T) {
	device := phone.File{Kind: phone.Device}
	phonetest.Golden(t, Brand{}, []phonetest.Case{
		phonetest.Of("grp2614_full", device, phonetest.Full("c0:74:ad:11:22:33", "GRP2614")),
		phonetest.Of("gxp2170_english_template", device, phonetest.English("c0:74:ad:11:22:34", "GXP2170", "account.1.dtmf.sendInSip = Yes\n")),
		phonetest.Of("gxp1625_full", device, phonetest.Full("00:0b:82:11:22:35", "GXP1625")),
		phonetest.Of("gxp1625_english", device, phonetest.English("00:0b:82:11:22:35", "GXP1625", "")),
		phonetest.Of("grp2612_bootstrap", device, phonetest.Bootstrap("c0:74:ad:11:22:36", "GRP2612")),
		phonetest.Of("unknown_model", device, phonetest.Enrolled("c0:74:ad:11:22:37", "", "5001", "云岭")),
	})
}

func TestFilesAreRecognisedByName(t *testing.T) {
	const mac = "c0:74:ad:11:22:33"
	for name, want := range map[string]phone.File{
		"cfgc074ad112233.xml": {Kind: phone.Device, MAC: mac},
		"CFGC074AD112233.XML": {Kind: phone.Device, MAC: mac},
		"cfgc074ad112233":     {Kind: phone.Boot, MAC: mac},
		"cfgc074ad112233.bin": {Kind: phone.Boot, MAC: mac},
		"cfggrp2614.xml":      {Kind: phone.Boot, Model: "GRP2614"},
		"cfg.xml":             {Kind: phone.Boot},
	} {
		if got, ok := (Brand{}).File(name); !ok || got != want {
			t.Errorf("%s: got %+v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "../x.cfg", "ca.crt", "phonebook.xml", "c074ad112233.cfg", "cfg0012.xml"} {
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
