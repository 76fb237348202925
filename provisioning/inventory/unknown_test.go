package inventory

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestUnknownPhonesAreListedWithAReadyRow(t *testing.T) {
	var unknown Unknown
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	first := Stranger{
		MAC: "00:15:65:00:00:09", Brand: "yealink", Model: "=T54W", UserAgent: "Yealink\x1b[31m SIP-T54W", Site: "branch1",
		Address: netip.MustParseAddr("127.0.1.20"),
	}
	if !unknown.Saw(first, at) || unknown.Saw(Stranger{MAC: first.MAC, Address: first.Address, Site: "branch1"}, at.Add(time.Minute)) {
		t.Error("new and old are mixed up")
	}
	want := []Stranger{{
		MAC: first.MAC, Brand: "yealink", Model: "T54W", Address: first.Address, Site: "branch1", FirstSeen: at,
		LastSeen: at.Add(time.Minute), Requests: 2,
	}}
	if diff := cmp.Diff(want, unknown.List(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	row := unknown.List()[0].CSV()
	if row != "00:15:65:00:00:09,T54W,branch1,,,,active," {
		t.Errorf("row %q", row)
	}
	rows, problems := Parse([]byte(header + row + "\n"))
	if len(rows) != 1 || len(problems) != 1 || problems[0].Column != 32 {
		t.Errorf("the row lacks more than its extension: %v", problems)
	}
	unknown.Forget(first.MAC)
	if len(unknown.List()) != 0 {
		t.Error("not forgotten")
	}
}

func TestTheListOfUnknownPhonesIsBounded(t *testing.T) {
	var unknown Unknown
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for i := range 3 * maxStrangers {
		unknown.Saw(Stranger{MAC: fmt.Sprintf("00:15:65:00:%02x:%02x", i/256, i%256)}, at.Add(time.Duration(i)*time.Second))
	}
	list := unknown.List()
	if len(list) != maxStrangers || !list[0].LastSeen.Equal(at.Add((3*maxStrangers-1)*time.Second)) {
		t.Errorf("%d entries, newest %s", len(list), list[0].LastSeen)
	}
}
