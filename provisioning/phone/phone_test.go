package phone_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linehall/provisioning/phone"
)

func TestDetectReadsTheUserAgentsOfEveryBrand(t *testing.T) {
	for agent, want := range map[string]phone.Hint{
		"Yealink SIP-T54W 96.86.0.45 80:5e:c0:11:22:33":                                                     {Brand: "yealink", Model: "T54W", Firmware: "96.86.0.45", MAC: "80:5e:c0:11:22:33"},
		"Yealink SIP-T38G  38.70.0.125 00:15:65:2f:c3:5e":                                                   {Brand: "yealink", Model: "T38G", Firmware: "38.70.0.125", MAC: "00:15:65:2f:c3:5e"},
		"Yealink SIP-T56A  58.80.0.25 001565f429a4":                                                         {Brand: "yealink", Model: "T56A", Firmware: "58.80.0.25", MAC: "00:15:65:f4:29:a4"},
		"Yealink SIP VP-T49G 51.80.0.10 00:15:65:aa:bb:cc":                                                  {Brand: "yealink", Model: "T49G", Firmware: "51.80.0.10", MAC: "00:15:65:aa:bb:cc"},
		"Yealink-T46G 28.71.0.81 28.1.0.128.0.0.0":                                                          {Brand: "yealink", Model: "T46G", Firmware: "28.71.0.81"},
		"W52P 25.30.0.2 00:15:65:00:00:01":                                                                  {Brand: "yealink", Model: "W52P", Firmware: "25.30.0.2", MAC: "00:15:65:00:00:01"},
		"Grandstream Model HW GXV3350  V1.3A SW 1.0.1.8 DevId c074ad150b88":                                 {Brand: "grandstream", Model: "GXV3350", Firmware: "1.0.1.8", MAC: "c0:74:ad:15:0b:88"},
		"Fanvil X6U Pro 0.0.10 0c383e2cd782":                                                                {Brand: "fanvil", Model: "X6U Pro", Firmware: "0.0.10", MAC: "0c:38:3e:2c:d7:82"},
		"Mozilla/4.0 (compatible; snomD785-SIP 10.1.33.33 2010.12-00004-g9ba52f5 000413922D24 SXM:0 UXM:0)": {Brand: "snom", Model: "D785", Firmware: "10.1.33.33", MAC: "00:04:13:92:2d:24"},
		"Cisco-CP-7832-3PCC/11.0.1 (00562b043615)":                                                          {Brand: "cisco", Model: "7832", Firmware: "11.0.1", MAC: "00:56:2b:04:36:15"},
		"Cisco/SPA504G-7.4.8a (0002FDFF2103)(CBT141400UK)":                                                  {Brand: "cisco", Model: "SPA504G", Firmware: "7.4.8a", MAC: "00:02:fd:ff:21:03"},
		"Linksys/SPA-942-6.1.5(a) (88019FA42805)":                                                           {Brand: "cisco", Model: "SPA-942", Firmware: "6.1.5(a)"},
		"FileTransport PolycomVVX-VVX_400-UA/4.1.4.7430 Type/Application":                                   {Brand: "poly", Model: "VVX_400", Firmware: "4.1.4.7430"},
		"Htek UC903 2.0.4.2 00:1f:c1:1c:22:a9":                                                              {Brand: "htek", Model: "UC903", Firmware: "2.0.4.2", MAC: "00:1f:c1:1c:22:a9"},
		"curl/8.14.1":                                                                                       {Brand: "other"},
		"":                                                                                                  {Brand: "other"},
		"Yealink SIP-T54W 96.86.0.45 80:5e:c0:11:22:33" + strings.Repeat(" ", 300):                          {Brand: "other"},
	} {
		if diff := cmp.Diff(want, phone.Detect(agent, "")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", agent, diff)
		}
	}
	if got := phone.Detect("curl/8.14.1", "64:16:7F:00:00:01").Brand; got != "poly" {
		t.Errorf("by the vendor's bytes: %s", got)
	}
}

func TestMACInName(t *testing.T) {
	for name, want := range map[string]string{
		"001565abcdef.cfg": "00:15:65:ab:cd:ef", "001565ABCDEF.boot": "00:15:65:ab:cd:ef", "001565abcdef-local.cfg": "00:15:65:ab:cd:ef",
		"cfgc074ad112233.xml": "c0:74:ad:11:22:33", "cfgc074ad112233": "c0:74:ad:11:22:33", "snomD785-000413AABBCC.htm": "00:04:13:aa:bb:cc",
		"y000000000000.boot": "", "000000000000.cfg": "", "y000000000096.cfg": "", "y000000000124.cfg": "", "001565abcde.cfg": "", "001565abcdef0.cfg": "", "": "",
	} {
		if got, ok := phone.MACInName(name); got != want || ok != (want != "") {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

func TestDialNowNeverCutsANumberShort(t *testing.T) {
	emergency := []string{"110", "119", "120"}
	for _, tc := range []struct{ numbers, want []string }{
		{[]string{"8001", "2001", "9000", "8000", "*8"}, []string{"110", "119", "120", "2xxx", "8xxx", "9xxx"}},
		{[]string{"8001", "80012", "2001"}, []string{"110", "119", "120", "2xxx", "8xxxx"}},
		{[]string{"13", "1300"}, []string{"110", "119", "120", "1xxx"}},
		{nil, emergency},
	} {
		if diff := cmp.Diff(tc.want, phone.DialNow(emergency, tc.numbers)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.numbers, diff)
		}
	}
}

func FuzzDetect(f *testing.F) {
	f.Add("Yealink SIP-T54W 96.86.0.45 80:5e:c0:11:22:33", "001565abcdef.cfg")
	f.Fuzz(func(t *testing.T, agent, name string) {
		hint := phone.Detect(agent, name)
		if hint.Brand == "" || (hint.MAC != "" && len(hint.MAC) != 17) {
			t.Errorf("%q: %+v", agent, hint)
		}
		if mac, ok := phone.MACInName(name); ok && len(mac) != 17 {
			t.Errorf("%q: %q", name, mac)
		}
	})
}
