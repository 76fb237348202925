package site

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"linehall/internal/setting"
)

func TestConfigBecomesASite(t *testing.T) {
	config := Config{
		ID: "branch1", Name: "林东", Subnets: []netip.Prefix{netip.MustParsePrefix("127.0.1.0/24")}, Prefix: "2",
		Line: &LineConfig{Up: 2e6, Down: 4e6, Overhead: PPPoE, OfficeReserve: 0.15},
	}
	if err := config.Validate(); err != nil {
		t.Fatal(err)
	}
	want := Site{
		ID: "branch1", Name: "林东", Subnets: config.Subnets, Prefix: "2",
		Line: &Line{Up: 2e6, Down: 4e6, Overhead: PPPoE, OfficeReserve: 0.15},
	}
	if diff := cmp.Diff(want, config.Site(), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("site (-want +got):\n%s", diff)
	}
}

func TestFloor(t *testing.T) {
	for text, want := range map[string]Floor{"auto": {}, "0%": {Fixed: true}, "6 %": {Fixed: true, Share: 0.06}} {
		var got Floor
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		written, _ := got.MarshalText()
		var again Floor
		if err := again.UnmarshalText(written); err != nil || again != want {
			t.Errorf("%q was written as %q", text, written)
		}
	}
	var f Floor
	if err := f.UnmarshalText([]byte("6")); err == nil {
		t.Error("a share without %")
	}
	line := LineConfig{Up: 2e6, Down: 2e6, ConferenceFloor: Floor{Fixed: true, Share: 0.06}, CallsMax: 3, DownAfter: time.Minute}
	s := Config{Line: &line, Overflow: OverflowConfig{Trunk: "pstn", Strip: 1, Prefix: "0531"}}.Site()
	if s.Line.ConferenceFloor == nil || *s.Line.ConferenceFloor != 0.06 || s.Line.CallsMax != 3 || s.Line.DownAfter != time.Minute {
		t.Errorf("%+v", s.Line)
	}
	if got := s.Overflow.Number("2001"); got != "0531001" {
		t.Errorf("2001 is dialled as %s", got)
	}
}

func TestConfigOfASiteIsChecked(t *testing.T) {
	for path, config := range map[string]Config{
		"id":                  {ID: "-x", Name: "x", Main: true, Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		"name":                {ID: "x", Main: true, Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		"subnets":             {ID: "x", Name: "x", Main: true},
		"subnets[0]":          {ID: "x", Name: "x", Main: true, Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}},
		"srtp":                {ID: "x", Name: "x", Main: true, Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, SRTP: "always"},
		"prefix":              {ID: "x", Name: "x", Main: true, Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Prefix: "a"},
		"main":                {ID: "x", Name: "x", Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		"line.up":             {ID: "x", Name: "x", Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Line: &LineConfig{Down: 2e6}},
		"line.overhead":       {ID: "x", Name: "x", Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Line: &LineConfig{Up: 2e6, Down: 2e6, Overhead: "atm"}},
		"line.office_reserve": {ID: "x", Name: "x", Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Line: &LineConfig{Up: 2e6, Down: 2e6, OfficeReserve: 1}},
	} {
		found := setting.Unfold(config.Validate())
		if len(found) != 1 || found[0].Path != path {
			t.Errorf("want one complaint about %s, got %v", path, found)
		}
	}
}
