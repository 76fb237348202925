package sheet

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linehall/provisioning/phone"
)

func TestZonesInThePhonesForms(t *testing.T) {
	type forms struct {
		Hours, Clock, POSIX, Start, End string
		Quarters                        int
	}
	for name, want := range map[string]forms{
		"Asia/Shanghai":     {Hours: "+8", Clock: "+08:00", POSIX: "UTC-8", Quarters: 32},
		"Asia/Kolkata":      {Hours: "+5:30", Clock: "+05:30", POSIX: "UTC-5:30", Quarters: 22},
		"America/New_York":  {Hours: "-5", Clock: "-05:00", POSIX: "STD5DST,M3.2.0/2,M11.1.0/2", Start: "3/8/7/2:0:0", End: "11/1/7/2:0:0", Quarters: -20},
		"Europe/Berlin":     {Hours: "+1", Clock: "+01:00", POSIX: "STD-1DST,M3.5.0/2,M10.5.0/3", Start: "3/-1/7/2:0:0", End: "10/-1/7/3:0:0", Quarters: 4},
		"America/Sao_Paulo": {Hours: "-3", Clock: "-03:00", POSIX: "UTC3", Quarters: -12},
	} {
		z := zoneOf(name)
		got := forms{Hours: z.Hours(), Clock: z.Clock(), POSIX: z.POSIX(), Quarters: z.Quarters()}
		if z.Summer {
			got.Start, got.End = z.Start.Cisco(), z.End.Cisco()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if z := zoneOf("Nowhere/At_All"); z.Name != "" {
		t.Errorf("an unknown zone is %+v", z)
	}
}

// A file with a variable that nothing fills must never leave the house.
func TestATemplateWithAHoleIsAnError(t *testing.T) {
	const models = "name,file,lines,keys,format,plain\nX1,,2,,,\n"
	same := func(text string) string { return text }
	for name, lines := range map[string]string{
		"unknown field": "a = {{.Nothing}}\n", "no account": "a = {{.Account.User}}\n", "unknown word": "a = {{word .Language \"en\" \"English\"}}\n",
		"no line": "a\n", "a key twice": "a = 1\na = 2\n",
	} {
		if got, err := Must(lines, models, same).Lines(phone.Settings{Model: "X1", Language: "zh-CN"}); err == nil {
			t.Errorf("%s gave %v", name, got)
		}
	}
}

func TestModelsAreRead(t *testing.T) {
	got, err := parseModels("# a note\nname,file,lines,keys,format,plain\nX1,10,2,,old,yes\n")
	if diff := cmp.Diff([]phone.Model{{Name: "X1", File: "10", Lines: 2, Format: "old", Plain: true}}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, text := range []string{"", "name\nX1\n", "name,file,lines,keys,format,plain\nX1,,two,,,\n", "name,file,lines,keys,format,plain\nX1\n"} {
		if _, err := parseModels(text); err == nil || !strings.Contains(err.Error(), "models") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
