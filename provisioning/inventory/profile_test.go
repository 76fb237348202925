package inventory

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTheNearestValueWinsAndSaysWhereItIsFrom(t *testing.T) {
	c := DefaultConfig()
	c.NTP = []string{"10.0.0.1"}
	c.Overrides = []Override{
		{Extension: "2001", VLAN: 30, LLDP: "off"},
		{Model: "t54w", VLAN: 20, Codecs: []string{"pcma"}},
		{Site: "branch1", VLAN: 10, NTP: []string{"10.1.0.1"}, Language: "en"},
		{Site: "branch2", Resync: time.Hour},
	}
	p := c.Profile("zh-CN", "Asia/Shanghai", "branch1", "T54W", "2001", strings.EqualFold)
	var got []string
	for _, o := range p.Origins {
		got = append(got, o.String()+" "+o.Path)
	}
	want := []string{
		"language = en (site branch1) terminals.overrides[2].language",
		"time_zone = Asia/Shanghai (organisation) appliance.time_zone",
		"transport = udp (organisation) terminals.transport",
		"srtp = off (organisation) terminals.srtp",
		"ntp = 10.1.0.1 (site branch1) terminals.overrides[2].ntp",
		"codecs = pcma (model T54W) terminals.overrides[1].codecs",
		"vlan_priority = 5 (organisation) terminals.vlan_priority",
		"lldp = off (terminal 2001) terminals.overrides[0].lldp",
		"web_page = off (organisation) terminals.web_page",
		"intercom_reply = on (organisation) terminals.intercom_reply",
		"resync = 24h (organisation) terminals.resync",
		"vlan = 30 (terminal 2001) terminals.overrides[0].vlan",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("origins (-want +got):\n%s", diff)
	}
	if p.VLAN != 30 || p.LLDP != "off" || p.Language != "en" || !slices.Equal(p.Codecs, []string{"pcma"}) || p.Resync != 24*time.Hour {
		t.Errorf("profile %+v", p.Override)
	}
}

func TestExportIsStable(t *testing.T) {
	rows, problems := Parse([]byte("# our phones\nExtension;MAC;Site;Display_Name;Lamps;Digest\n8001;0015.65AB.CDEF;hq;\"王,\"\"小\"\"\";8002 *8;sha-256\n\n8002;;hq;;;\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	first, err := Export(rows)
	if err != nil {
		t.Fatal(err)
	}
	want := "mac,model,site,extension,display_name,template,state,notes,digest,lamps\n" +
		"00:15:65:ab:cd:ef,,hq,8001,\"王,\"\"小\"\"\",,active,,SHA-256,8002 *8\n,,hq,8002,,,active,,,\n"
	if diff := cmp.Diff(want, string(first)); diff != "" {
		t.Errorf("export (-want +got):\n%s", diff)
	}
	again, problems := Parse(first)
	second, err := Export(again)
	if err != nil || len(problems) > 0 || !bytes.Equal(first, second) || !slices.EqualFunc(rows, again, Row.Same) {
		t.Errorf("exported again: %v %v\n%s", err, problems, second)
	}
}
