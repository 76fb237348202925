package site_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"linehall/internal/site"
)

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(texts))
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

func demo() []site.Site {
	return []site.Site{
		{ID: "hq", Main: true, Subnets: prefixes("127.0.0.0/24", "10.0.0.0/8", "fd00::/16")},
		{ID: "branch1", Subnets: prefixes("127.0.1.0/24", "10.1.0.0/16"), Line: &site.Line{Up: 2e6, Down: 2e6, OfficeReserve: 0.15}},
		{ID: "branch2", Subnets: prefixes("10.1.2.0/24", "fd00:2::/32"), Line: &site.Line{Up: 4e6, Down: 4e6, Overhead: site.PPPoE}},
	}
}

func TestLocateTakesTheLongestSubnet(t *testing.T) {
	table, err := site.NewTable(demo())
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		want site.ID
		ok   bool
	}{
		"127.0.0.11":         {"hq", true},
		"127.0.1.20":         {"branch1", true},
		"10.9.9.9":           {"hq", true},
		"10.1.9.9":           {"branch1", true},
		"10.1.2.9":           {"branch2", true},
		"::ffff:127.0.1.20":  {"branch1", true}, // how a wildcard IPv6 socket shows IPv4
		"fd00:2::1":          {"branch2", true},
		"fd00:2::1%eth0":     {"branch2", true},
		"fd00:3::1":          {"hq", true},
		"192.0.2.1":          {"", false},
		"2001:db8::1":        {"", false},
		"::":                 {"", false},
		"::ffff:192.168.1.1": {"", false},
	}
	for addr, tc := range tests {
		t.Run(addr, func(t *testing.T) {
			id, ok := table.Locate(netip.MustParseAddr(addr))
			if id != tc.want || ok != tc.ok {
				t.Errorf("Locate(%s) = %q, %v; want %q, %v", addr, id, ok, tc.want, tc.ok)
			}
		})
	}
	if id, ok := table.Locate(netip.Addr{}); ok {
		t.Errorf("the zero address is at %q", id)
	}
}

func TestLocateAgreesWithAScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "sites")
		owner := map[netip.Prefix]site.ID{}
		var sites []site.Site
		for i := range n {
			s := site.Site{ID: site.ID(rune('a' + i)), Main: i == 0}
			for range rapid.IntRange(0, 3).Draw(t, "subnets") {
				b := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "addr")
				p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, b[1] & 3, b[2] & 3, b[3]}), rapid.IntRange(8, 32).Draw(t, "bits")).Masked()
				if _, taken := owner[p]; taken {
					continue
				}
				owner[p] = s.ID
				s.Subnets = append(s.Subnets, p)
			}
			sites = append(sites, s)
		}
		table, err := site.NewTable(sites)
		if err != nil {
			t.Fatal(err)
		}
		b := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "probe")
		addr := netip.AddrFrom4([4]byte{10, b[1] & 3, b[2] & 3, b[3]})
		bits, want := -1, site.ID("")
		for p, id := range owner {
			if p.Contains(addr) && p.Bits() > bits {
				bits, want = p.Bits(), id
			}
		}
		if got, ok := table.Locate(addr); got != want || ok != (bits >= 0) {
			t.Fatalf("Locate(%s) = %q, want %q", addr, got, want)
		}
	})
}

func TestNewTableRefuses(t *testing.T) {
	line := &site.Line{Up: 1, Down: 1}
	tests := map[string]struct {
		sites []site.Site
		want  string
	}{
		"same subnet twice": {[]site.Site{
			{ID: "a", Main: true, Subnets: prefixes("10.0.0.0/8")}, {ID: "b", Subnets: prefixes("10.9.9.9/8")},
		}, "subnet 10.0.0.0/8 belongs to both site a and site b"},
		"same id":         {[]site.Site{{ID: "a", Main: true}, {ID: "a"}}, "site a is there twice"},
		"no id":           {[]site.Site{{Main: true, Name: "x"}}, `site "x" has no id`},
		"no main":         {[]site.Site{{ID: "a"}}, "no site is the main one"},
		"two mains":       {[]site.Site{{ID: "a", Main: true}, {ID: "b", Main: true}}, "a is the main site already"},
		"line at main":    {[]site.Site{{ID: "a", Main: true, Line: line}}, "has no line"},
		"line without up": {[]site.Site{{ID: "a", Main: true}, {ID: "b", Line: &site.Line{Down: 1}}}, "a rate above zero"},
		"all reserved":    {[]site.Site{{ID: "a", Main: true}, {ID: "b", Line: &site.Line{Up: 1, Down: 1, OfficeReserve: 1}}}, "office reserve"},
		"overhead":        {[]site.Site{{ID: "a", Main: true}, {ID: "b", Line: &site.Line{Up: 1, Down: 1, Overhead: "atm"}}}, `overhead "atm"`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := site.NewTable(tc.sites)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
	var overlap *site.OverlapError
	if _, err := site.NewTable(tests["same subnet twice"].sites); !errors.As(err, &overlap) || overlap.B != "b" {
		t.Errorf("no OverlapError in %v", err)
	}
}

func TestAtlasSwapsWholeTables(t *testing.T) {
	var atlas site.Atlas
	if _, ok := atlas.Locate(netip.MustParseAddr("127.0.0.1")); ok || atlas.Main() != "" {
		t.Error("an empty atlas knows a place")
	}
	table, err := site.NewTable(demo())
	if err != nil {
		t.Fatal(err)
	}
	atlas.Store(table)
	if atlas.Main() != "hq" || len(atlas.Sites()) != 3 {
		t.Errorf("main %q, %d sites", atlas.Main(), len(atlas.Sites()))
	}
	b2, ok := atlas.Site("branch2")
	if !ok || cmp.Diff(&site.Line{Up: 4e6, Down: 4e6, Overhead: site.PPPoE}, b2.Line) != "" {
		t.Errorf("branch2 = %+v", b2)
	}
	if _, ok := atlas.Site("nowhere"); ok {
		t.Error("found a site that is not there")
	}
}

func TestOverheadBytes(t *testing.T) {
	for o, want := range map[site.Overhead]int{"": 18, site.Ethernet: 18, site.PPPoE: 26, site.MPLS: 22} {
		if got := o.Bytes(); got != want {
			t.Errorf("%q: %d bytes, want %d", o, got, want)
		}
	}
}
